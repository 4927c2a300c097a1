// Differences of two texts, word by word.

/** Words with the white space before them, and punctuation marks. */
function words(text) {
  return text.match(/\s*[\p{L}\p{N}'’]+|\s*[^\p{L}\p{N}\s]|\s+$/gu) ?? [];
}

/**
 * The parts of two texts: `{ type, text }` with the type `same`, `removed` (only in the first) or
 * `added` (only in the second). The parts are the longest common subsequence of words.
 */
export function difference(first, second) {
  const [a, b] = [words(first), words(second)];
  const width = b.length + 1;
  // Length of the longest common subsequence from each pair of positions on.
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const both = lengths[(i + 1) * width + j + 1] + 1;
      const one = Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
      lengths[i * width + j] = a[i] === b[j] ? both : one;
    }
  }
  const parts = [];
  const add = (type, text) => {
    const last = parts.at(-1);
    if (last?.type === type) {
      last.text += text;
    } else {
      parts.push({ type, text });
    }
  };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add("same", a[i]);
      i += 1;
      j += 1;
    } else if (j === b.length || (i < a.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) {
      add("removed", a[i]);
      i += 1;
    } else {
      add("added", b[j]);
      j += 1;
    }
  }
  return parts;
}

/** How many words are removed, or added in another's place: the larger of both numbers, summed. */
export function changedWords(parts) {
  let total = 0;
  let [removed, added] = [0, 0];
  for (const { type, text } of [...parts, { type: "same", text: "" }]) {
    if (type === "removed") {
      removed += words(text).length;
    } else if (type === "added") {
      added += words(text).length;
    } else {
      total += Math.max(removed, added);
      [removed, added] = [0, 0];
    }
  }
  return total;
}
