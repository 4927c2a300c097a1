// The form of sampling settings.

import { byId, html } from "./dom.js";

/** Name of the field of a request, label, and allowed values. */
const NUMBERS = [
  ["temperature", "Temperature", { min: 0, max: 100, step: "any" }],
  ["guidance_scale", "Guidance scale", { min: 1, max: 10, step: "any" }],
  ["top_p", "Top-p", { min: 0, max: 1, step: "any" }],
  ["top_k", "Top-k", { min: 1, step: 1 }],
  ["min_p", "Min-p", { min: 0, max: 1, step: "any" }],
  ["repetition_penalty", "Repetition penalty", { min: 1, max: 10, step: "any" }],
  ["dry_multiplier", "DRY multiplier", { min: 0, max: 10, step: "any" }],
  ["seed", "Seed", { min: 0, step: 1 }],
  ["max_sentences", "Sentences", { min: 1, step: 1 }],
  ["max_tokens", "Max tokens", { min: 1, step: 1 }],
];
const CHOICES = [
  ["avoid_repeats", "Avoid repeated sentences"],
  ["ignore_eos", "Continue past the end"],
];
/** What stands for a default that is no number. */
const NO_DEFAULT = { top_k: "all", seed: "random", max_tokens: "no limit" };

const field = (name) => byId(`setting-${name}`);

/** Make the fields. */
export function makeSettings() {
  const numbers = NUMBERS.map(([name, label, limits]) => {
    const id = `setting-${name}`;
    const input = html("input", { id, name, type: "number", inputmode: "decimal", autocomplete: "off", ...limits });
    return html("p", {}, html("label", { for: id }, label), input);
  });
  const choices = CHOICES.map(([name, label]) => {
    const id = `setting-${name}`;
    const options = [["", "default"], ["true", "yes"], ["false", "no"]];
    const select = html("select", { id, name }, ...options.map(([value, text]) => html("option", { value }, text)));
    return html("p", { class: "wide" }, html("label", { for: id }, label), select);
  });
  const reset = html("button", { type: "reset" }, "Back to defaults");
  const form = byId("settings");
  form.append(...numbers, ...choices, html("p", { class: "wide" }, reset));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => event.target.removeAttribute("aria-invalid"));
}

/** Show the defaults of a model. */
export function showDefaults(model) {
  const defaults = model.generation;
  for (const [name] of NUMBERS) {
    const value = defaults[name];
    field(name).placeholder = value === null || value === undefined ? NO_DEFAULT[name] : shown(name, value);
  }
  const greedy = defaults.temperature === 0;
  const avoid = { true: "yes", false: "no" }[defaults.avoid_repeats] ?? (greedy ? "no" : "yes");
  field("avoid_repeats").options[0].text = `default (${avoid})`;
  field("ignore_eos").options[0].text = "default (no)";
}

function shown(name, value) {
  // The server's numbers have 32 bits.
  const number = String(Number(value.toPrecision(6)));
  return name === "temperature" && value === 0 ? `${number} (greedy)` : number;
}

/** The fields of a request; null if a field holds no such number, which then has the focus. */
export function readSettings() {
  const request = {};
  for (const [name] of NUMBERS) {
    const input = field(name);
    if (!input.checkValidity()) {
      byId("sampling").open = true;
      input.reportValidity();
      return null;
    }
    if (input.value !== "") {
      request[name] = Number(input.value);
    }
  }
  for (const [name] of CHOICES) {
    const { value } = field(name);
    if (value !== "") {
      request[name] = value === "true";
    }
  }
  return request;
}

/** Whether the next continuation is the same each time. */
export function isGreedy(model) {
  const { value } = field("temperature");
  return (value === "" ? model.generation.temperature : Number(value)) === 0;
}

/** Mark the field that the server refused. */
export function markRefused(name) {
  const refused = name && field(name);
  if (refused) {
    byId("sampling").open = true;
    refused.setAttribute("aria-invalid", "true");
    refused.focus();
  }
}
