// How fast the text is generated, and how much memory it takes.

import { byId, bytes, count, html, svg } from "./dom.js";

const WIDTH = 100;
const HEIGHT = 8;

/** Show the figures of a branch, or none. */
export function showCounters(branch, model) {
  const path = branch?.path() ?? [];
  const run = branch?.run;
  const speed = run && run.milliseconds > 0 ? (run.tokens / run.milliseconds) * 1000 : null;
  const tokens = textTokens(branch, path.length);
  const most = model?.max_sentences;
  const items = [
    ["Tokens per second", speed === null ? "–" : speed.toFixed(speed < 100 ? 1 : 0)],
    ["Sentences", most ? `${path.length} of ${most}` : String(path.length)],
    ["Tokens", tokens === null ? "–" : tokens.toLocaleString("en")],
  ];
  byId("counters").replaceChildren(
    ...items.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))),
  );
  byId("memory").replaceChildren(...memory(branch, model, path.length, tokens));
}

/** Tokens of the text: bos of each sentence, which the session counts, is none. */
function textTokens(branch, sentences) {
  if (!branch?.info) {
    return null;
  }
  return Math.max(0, branch.info.tokens - sentences);
}

/** The KV cache, an entry a sentence, beside one with an entry a token. */
function memory(branch, model, sentences, tokens) {
  const entry = model?.kv_bytes_per_position;
  if (!entry || model.kind !== "sllm" || !tokens) {
    return [html("p", { class: "help" }, "The KV cache has one entry for each sentence. A token-level model needs one for each token.")];
  }
  const [here, there] = [sentences * entry, tokens * entry];
  const row = (name, size) =>
    html(
      "div",
      { class: "bar" },
      html("span", {}, name),
      html("span", { class: "value" }, bytes(size)),
      bar(size / Math.max(here, there)),
    );
  const times = there / here;
  return [
    html("h3", {}, "KV cache"),
    row(`Sentence-level: ${count(sentences, "entry", "entries")}`, here),
    row(`Token-level: ${count(tokens, "entry", "entries")}`, there),
    html("p", { class: "help" }, `${times.toFixed(1)} times smaller than that of a token-level model with the same backbone. The server has reserved ${bytes(branch.info.memory)} for this session.`),
  ];
}

function bar(part) {
  const rect = (name, width) => svg("rect", { class: name, width, height: HEIGHT, rx: 1 });
  const view = `0 0 ${WIDTH} ${HEIGHT}`;
  const attributes = { viewBox: view, preserveAspectRatio: "none", "aria-hidden": "true" };
  return svg("svg", attributes, rect("track", WIDTH), rect("part", WIDTH * part));
}
