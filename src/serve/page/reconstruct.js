// The panel that encodes sentences and decodes them again.

import * as api from "./api.js";
import { changedWords, difference } from "./diff.js";
import { byId, count, html } from "./dom.js";

const MARKS = { removed: "del", added: "ins" };
const SPOKEN = { removed: "removed: ", added: "added: " };

/** Wire the panel. `model` and `story` give the model's name and the story's text. */
export function makeReconstruction({ model, story, guard }) {
  const text = byId("reconstruct-text");
  const status = byId("reconstruct-status");
  byId("reconstruct-story").addEventListener("click", () => {
    text.value = story();
    text.focus();
    text.setSelectionRange(0, 0);
    text.scrollTop = 0;
  });
  byId("reconstruct-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guard(byId("reconstruct"), async () => {
      status.textContent = "Reconstructing …";
      byId("reconstructed").replaceChildren();
      try {
        const found = await api.reconstruct(model(), text.value);
        status.textContent = `${found.exact} of ${count(found.sentences.length, "sentence")} exact.`;
        byId("reconstructed").replaceChildren(...found.sentences.map(item));
      } catch (error) {
        status.textContent = "";
        throw error;
      }
    });
  });
}

function item({ input, output, exact, input_ids: ids }) {
  const [before, after] = [input.trim(), output.trim()];
  const parts = difference(before, after);
  const changed = changedWords(parts);
  const verdict = exact || before === after ? "exact" : `${count(changed, "word")} differ${changed === 1 ? "s" : ""}`;
  return html(
    "li",
    { class: exact ? "exact" : "differs" },
    html("p", { class: "text" }, ...parts.map(marked)),
    html("p", { class: "facts" }, html("span", { class: "verdict" }, verdict), html("span", {}, `${count(ids.length, "token")} in one vector`)),
  );
}

function marked({ type, text }) {
  if (type === "same") {
    return text;
  }
  // The white space is outside of the mark.
  const [, space, rest] = text.match(/^(\s*)([^]*)$/);
  const mark = html(MARKS[type], {}, html("span", { class: "unseen" }, SPOKEN[type]), rest);
  return html("span", {}, space, mark);
}
