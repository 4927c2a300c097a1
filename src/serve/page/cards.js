// The sentences of a branch, as cards.

import { byId, count, html, keepChildren, milliseconds, percent, svg } from "./dom.js";

/** Announced sentences that stay for screen readers. */
const MAX_ANNOUNCED = 20;

/** The list of cards. `rewind` and `fork` take a number of sentences. */
export class Cards {
  constructor({ rewind, fork }) {
    this.list = byId("cards");
    this.actions = { rewind, fork };
    /** The card of each sentence. */
    this.made = new WeakMap();
    this.number = 0;
    this.open = null;
    this.busy = false;
    this.growing = html("li", { class: "card growing", "aria-hidden": "true" }, html("span", { class: "number" }), html("p", { class: "sentence" }));
  }

  /** Show the sentences of a branch, and the text of one that is being generated. */
  show(branch, busy, growing) {
    const nodes = branch?.path() ?? [];
    this.busy = busy;
    const cards = nodes.map((node, index) => this.card(node, index + 1, index + 1 === nodes.length));
    if (growing !== null) {
      this.growing.children[0].textContent = String(nodes.length + 1);
      this.growing.children[1].textContent = growing.trim();
      cards.push(this.growing);
    }
    const follow = isInView(this.list.lastElementChild);
    keepChildren(this.list, cards);
    if (growing !== null && follow) {
      this.growing.scrollIntoView({ block: "nearest" });
    }
  }

  /** Tell screen readers of a sentence. */
  announce(text) {
    const log = byId("finished");
    log.append(html("p", {}, text.trim()));
    while (log.children.length > MAX_ANNOUNCED) {
      log.firstChild.remove();
    }
  }

  /** Close the card that is open. */
  close() {
    this.toggle(this.open);
  }

  /** Put the focus on a card; the last one, if there are fewer. */
  focus(number) {
    const cards = this.list.querySelectorAll("button.sentence");
    cards[Math.min(number, cards.length) - 1]?.focus();
  }

  card(node, number, isLast) {
    let card = this.made.get(node);
    if (!card) {
      card = this.make(node, number);
      this.made.set(node, card);
    }
    const { facts, buttons } = card;
    if (card.tokens !== node.tokens) {
      card.tokens = node.tokens;
      facts.replaceChildren(...factsOf(node));
    }
    const [rewind, fork] = buttons.children;
    rewind.disabled = this.busy || isLast;
    fork.disabled = this.busy;
    return card.item;
  }

  make(node, number) {
    this.number += 1;
    const id = `actions-${this.number}`;
    const act = (name) => () => {
      this.close();
      this.actions[name](number);
    };
    const buttons = html(
      "div",
      { class: "line", id, hidden: true },
      html("button", { type: "button", onclick: act("rewind") }, "Rewind to here"),
      html("button", { type: "button", onclick: act("fork") }, "Fork here"),
    );
    const text = node.text.trim() || "(an empty sentence)";
    const sentence = html("button", { class: "sentence", type: "button", "aria-expanded": "false", "aria-controls": id }, text);
    const facts = html("p", { class: "facts" }, ...factsOf(node));
    const kind = node.generated ? "card" : "card given";
    const item = html("li", { class: kind }, html("span", { class: "number", "aria-hidden": "true" }, String(number)), sentence, facts, buttons);
    // The tokens of a given sentence are known later.
    const card = { item, sentence, facts, buttons, tokens: node.tokens };
    sentence.addEventListener("click", () => this.toggle(card));
    return card;
  }

  toggle(card) {
    const opening = card !== this.open ? card : null;
    for (const [one, expanded] of [[this.open, false], [opening, true]]) {
      if (one) {
        one.sentence.setAttribute("aria-expanded", String(expanded));
        one.buttons.hidden = !expanded;
      }
    }
    this.open = opening;
  }
}

/** Whether the reader is at the end of the story. */
function isInView(last) {
  return last !== null && last.getBoundingClientRect().top < innerHeight;
}

/** What is known of a sentence. */
function factsOf(node) {
  const facts = [];
  if (node.tokens !== null) {
    facts.push(html("span", {}, count(node.tokens, "token")));
  }
  if (!node.generated) {
    facts.push(html("span", { class: "stop" }, "given"));
  }
  if (node.stopProbability !== null) {
    const title = "Probability, before this sentence, that the text is over";
    facts.push(html("span", { class: "stop", title }, "stop ", meter(node.stopProbability), ` ${percent(node.stopProbability)}`));
  }
  if (node.milliseconds !== null) {
    facts.push(html("span", { class: "time" }, milliseconds(node.milliseconds)));
  }
  return facts;
}

function meter(part) {
  const rect = (name, width) => svg("rect", { class: name, width, height: 6, rx: 3 });
  return svg("svg", { class: "meter", viewBox: "0 0 40 6", width: 40, height: 6, "aria-hidden": "true" }, rect("track", 40), rect("part", 40 * part));
}
