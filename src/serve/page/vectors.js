// Sentence vectors: how similar they are, and a plane to see them in.

const STEPS = 200;

const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);

/** The cosine of each two vectors, -1 to 1. */
export function cosines(vectors) {
  const lengths = vectors.map((vector) => Math.sqrt(dot(vector, vector)));
  return vectors.map((one, i) =>
    vectors.map((other, j) => {
      const scale = lengths[i] * lengths[j];
      return scale > 0 ? Math.max(-1, Math.min(1, dot(one, other) / scale)) : 0;
    }),
  );
}

/**
 * The first two principal components: `points`, and the share of the variance that each axis has.
 *
 * They come from the matrix of dot products of the centred vectors, by power iteration.
 */
export function principalComponents(vectors) {
  const rows = vectors.length;
  const mean = vectors[0].map((_, index) => vectors.reduce((sum, v) => sum + v[index], 0) / rows);
  const centred = vectors.map((vector) => vector.map((value, index) => value - mean[index]));
  const products = centred.map((one) => centred.map((other) => dot(one, other)));
  const total = products.reduce((sum, row, index) => sum + row[index], 0);
  const axes = [0, 1].map(() => {
    const axis = largest(products);
    products.forEach((row, i) =>
      row.forEach((_, j) => {
        row[j] -= axis.value * axis.vector[i] * axis.vector[j];
      }),
    );
    return axis;
  });
  const along = (axis, row) => axis.vector[row] * Math.sqrt(Math.max(0, axis.value));
  return {
    points: vectors.map((_, row) => axes.map((axis) => along(axis, row))),
    shares: axes.map((axis) => (total > 0 ? Math.max(0, axis.value) / total : 0)),
  };
}

/** The largest eigenvalue of a symmetric matrix, and its vector. */
function largest(matrix) {
  // The start is fixed, so that the same vectors give the same picture.
  let vector = unit(matrix.map((_, index) => Math.cos(index * index + 1)));
  for (let step = 0; step < STEPS; step += 1) {
    vector = unit(matrix.map((row) => dot(row, vector)));
  }
  const value = dot(vector, matrix.map((row) => dot(row, vector)));
  return { value, vector };
}

function unit(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return length > 0 ? vector.map((value) => value / length) : vector;
}
