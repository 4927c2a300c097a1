// The tree of branches, a lane each, and the buttons that switch between them.

import { byId, count, html, svg } from "./dom.js";

const WIDTH = 140;
const ROW = 60;
const MARGIN = 10;
const MAX_STEP = 18;
const MAX_DOT = 4.5;

/** The button that has the focus, or had it when it was disabled. */
let focused = null;

/** Show the branches. `choose` and `close` take one of them. */
export function showBranches(forest, busy, { choose, close }) {
  const lanes = forest.lanes();
  byId("no-branches").hidden = lanes.length > 0;
  const tree = byId("tree");
  const { activeElement } = document;
  if (activeElement !== document.body) {
    focused = activeElement?.closest("#tree button")?.dataset.focus ?? null;
  }
  const items = lanes.map((lane) => item(lane, lanes, forest.current, busy, { choose, close }));
  tree.replaceChildren(
    ...(lanes.length > 0 ? [drawing(lanes, forest.current), html("ul", { "aria-label": "Branches" }, ...items)] : []),
  );
  if (focused && !busy) {
    const same = tree.querySelector(`[data-focus="${focused}"]`);
    (same ?? tree.querySelector("[aria-current]"))?.focus();
  }
}

function item(lane, lanes, current, busy, { choose, close }) {
  const { branch, start, end, parent } = lane;
  const from = parent === null ? null : html("small", {}, `from ${start} of branch ${lanes[parent].branch.number}`);
  const name = `Branch ${branch.number}`;
  return html(
    "li",
    {},
    html(
      "button",
      {
        class: "branch",
        type: "button",
        disabled: busy,
        "aria-current": branch === current ? "true" : null,
        "data-focus": `choose-${branch.number}`,
        onclick: () => choose(branch),
      },
      html("span", {}, name),
      html("small", {}, count(end, "sentence")),
      from,
    ),
    html(
      "button",
      {
        class: "quiet",
        type: "button",
        disabled: busy,
        "aria-label": `Close ${name.toLowerCase()}`,
        "data-focus": `close-${branch.number}`,
        onclick: () => close(branch),
      },
      "Close",
    ),
  );
}

/** The buttons say the same in words. */
function drawing(lanes, current) {
  const longest = Math.max(2, ...lanes.map((lane) => lane.end));
  const step = Math.min(MAX_STEP, (WIDTH - 2 * MARGIN) / (longest - 1));
  const radius = Math.min(MAX_DOT, step * 0.42);
  const x = (depth) => MARGIN + Math.max(0, depth - 1) * step;
  const y = (lane) => (lane + 0.5) * ROW;
  const drawn = lanes.map((lane, row) => {
    const own = lane.end - lane.start;
    const parts = [];
    if (lane.parent !== null) {
      const [left, top, bottom] = [x(lane.start), y(lane.parent), y(row)];
      const bend = Math.min(step, ROW / 3);
      const right = own > 0 ? x(lane.start + 1) : left + bend;
      parts.push(
        svg("path", { d: `M${left} ${top}V${bottom - bend}Q${left} ${bottom} ${left + bend} ${bottom}H${Math.max(right, left + bend)}` }),
      );
    }
    if (own > 1) {
      parts.push(svg("path", { d: `M${x(lane.start + 1)} ${y(row)}H${x(lane.end)}` }));
    }
    const nodes = lane.branch.path().slice(lane.start);
    nodes.forEach((node, index) => {
      const kind = node.generated ? "dot" : "dot given";
      parts.push(svg("circle", { class: kind, cx: x(lane.start + 1 + index), cy: y(row), r: radius }));
    });
    const tip = own > 0 ? x(lane.end) : x(lane.start) + Math.min(step, ROW / 3);
    parts.push(svg("circle", { class: "tip", cx: tip, cy: y(row), r: radius + 2.5 }));
    return svg("g", { class: lane.branch === current ? "lane current" : "lane" }, ...parts);
  });
  const height = ROW * lanes.length;
  return svg("svg", { class: "lanes", width: WIDTH, height, viewBox: `0 0 ${WIDTH} ${height}`, "aria-hidden": "true" }, ...drawn);
}
