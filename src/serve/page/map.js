// The map of sentence vectors: a heat map of cosines, and a projection.

import * as api from "./api.js";
import { byId, count, html, svg } from "./dom.js";
import { cosines, principalComponents } from "./vectors.js";

/** More would be too small to see. */
const MAX_SENTENCES = 96;
const SIZE = 320;
const MARGIN = 22;
/** Opacity of the cell with the lowest cosine. */
const PALEST = 0.06;

/** Wire the panel. `model` and `story` give the model's name and the story's sentences. */
export function makeMap({ model, story, guard }) {
  const text = byId("map-text");
  const status = byId("map-status");
  byId("map-story").addEventListener("click", () => {
    text.value = story().map((sentence) => sentence.trim().replaceAll(/\s+/g, " ")).join("\n");
    text.focus();
    text.setSelectionRange(0, 0);
    text.scrollTop = 0;
  });
  byId("map-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guard(byId("draw"), async () => {
      const lines = text.value.split("\n").map((line) => line.trim()).filter(Boolean);
      if (lines.length < 2) {
        status.textContent = "Enter at least two sentences.";
        return;
      }
      const sentences = lines.slice(0, MAX_SENTENCES);
      status.textContent = "Encoding …";
      try {
        draw(sentences, await api.embed(model(), sentences));
        const part = lines.length > sentences.length ? `The first ${sentences.length} of ${lines.length}` : "";
        status.textContent = `${part || count(sentences.length, "sentence")} drawn.`;
      } catch (error) {
        status.textContent = "";
        throw error;
      }
    });
  });
}

function draw(sentences, vectors) {
  const similarity = cosines(vectors);
  const { points, shares } = principalComponents(vectors);
  const tell = teller(sentences, similarity);
  byId("figures").hidden = false;
  byId("pointed").textContent = "Point at a cell or a dot to see its sentences.";
  byId("heat").replaceChildren(heatMap(similarity, tell));
  byId("projection").replaceChildren(projection(points, tell));
  const [x, y] = shares.map((share) => `${Math.round(share * 100)} %`);
  byId("projection-shares").textContent = `First two principal components, with ${x} and ${y} of the variance. A line joins the sentences in their order.`;
  byId("heat-scale").textContent = `From ${lowest(similarity).toFixed(2)} (pale) to 1 (strong).`;
  byId("nearest").replaceChildren(...nearest(sentences, similarity));
}

/** Shows the sentences of a cell or a dot. */
function teller(sentences, similarity) {
  const line = byId("pointed");
  return (i, j) => {
    const one = `${i + 1}. ${sentences[i]}`;
    const other = `${j + 1}. ${sentences[j]}`;
    line.textContent = i === j ? one : `${similarity[i][j].toFixed(2)}: ${one} / ${other}`;
  };
}

/** Numbers at the edges: all, or every fifth, or every tenth. */
function labelled(index, number) {
  const step = [1, 5, 10].find((step) => number / step <= 16) ?? 10;
  return step === 1 || (index + 1) % step === 0;
}

const lowest = (similarity) => Math.min(...similarity.flat());

function heatMap(similarity, tell) {
  const number = similarity.length;
  const cell = (SIZE - MARGIN) / number;
  const least = lowest(similarity);
  const strength = (value) => (PALEST + (1 - PALEST) * ((value - least) / (1 - least || 1))).toFixed(3);
  const cells = similarity.flatMap((row, i) =>
    row.map((value, j) =>
      svg("rect", {
        class: "cell",
        x: MARGIN + j * cell,
        y: MARGIN + i * cell,
        width: cell,
        height: cell,
        "fill-opacity": strength(value),
        "data-row": i,
        "data-column": j,
      }),
    ),
  );
  const edge = similarity.flatMap((_, index) => {
    if (!labelled(index, number)) {
      return [];
    }
    const middle = MARGIN + (index + 0.5) * cell;
    return [
      svg("text", { x: middle, y: MARGIN - 7, "text-anchor": "middle" }, String(index + 1)),
      svg("text", { x: MARGIN - 6, y: middle + 4, "text-anchor": "end" }, String(index + 1)),
    ];
  });
  const label = `Heat map of the cosines of ${number} sentences; the table has the highest of each`;
  const image = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": label }, ...cells, ...edge);
  image.addEventListener("pointerover", ({ target }) => {
    if (target.dataset.row) {
      tell(Number(target.dataset.row), Number(target.dataset.column));
    }
  });
  return image;
}

function projection(points, tell) {
  const scales = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return { middle: (least + most) / 2, size: most - least };
  });
  // Both axes have one scale.
  const scale = (SIZE - 2 * MARGIN) / (Math.max(...scales.map(({ size }) => size)) || 1);
  const place = (point) => point.map((value, axis) => SIZE / 2 + (value - scales[axis].middle) * scale);
  const places = points.map(place);
  const path = svg("polyline", { class: "order", points: places.map((place) => place.join(",")).join(" ") });
  const dots = places.flatMap(([x, y], index) => [
    svg("circle", { class: "dot", cx: x, cy: y, r: 4.5, "data-index": index }),
    svg("text", { x: x + 7, y: y - 5 }, labelled(index, points.length) ? String(index + 1) : ""),
  ]);
  const label = `Projection of ${points.length} sentence vectors to a plane; a line joins them in their order`;
  const image = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": label }, path, ...dots);
  image.addEventListener("pointerover", ({ target }) => {
    if (target.dataset.index) {
      tell(Number(target.dataset.index), Number(target.dataset.index));
    }
  });
  return image;
}

function nearest(sentences, similarity) {
  return similarity.map((row, i) => {
    const others = row.map((value, j) => ({ value, j })).filter(({ j }) => j !== i);
    const best = others.reduce((one, other) => (other.value > one.value ? other : one));
    const cells = [i + 1, sentences[i], `${best.j + 1}. ${sentences[best.j]}`, best.value.toFixed(2)];
    return html("tr", {}, ...cells.map((cell) => html("td", {}, String(cell))));
  });
}
