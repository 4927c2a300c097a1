// Starts the page, and connects its parts.

import * as api from "./api.js";
import { showBranches } from "./branches.js";
import { Cards } from "./cards.js";
import { showCounters } from "./counters.js";
import { byId, html } from "./dom.js";
import { makeMap } from "./map.js";
import { makeReconstruction } from "./reconstruct.js";
import { makeSettings, markRefused, showDefaults } from "./settings.js";
import { Story } from "./story.js";

/** Milliseconds until a server that loads its models is asked again. */
const RETRY = 1000;
/** The panels have room for the settings from this width on. */
const WIDE = "(min-width: 64rem)";

/** Milliseconds between two views of a text that grows. */
const PAUSE = 40;

let models = [];
let shownNext = null;
/** The button that had the focus when it was disabled. */
let lostFocus = null;

const chosenModel = () => models.find((model) => model.id === byId("model").value);
const modelOf = (branch) => models.find((model) => model.id === branch?.model) ?? chosenModel();

const story = new Story({
  changed: show,
  piece: showSoon,
  sentence: (text) => cards.announce(text),
  failed,
  tell: (text) => {
    byId("status").textContent = text;
  },
});
const cards = new Cards({
  rewind: (number) => story.rewind(number).then(() => cards.focus(number)),
  fork: (number) => story.fork(number, modelOf(story.current)).then(() => cards.focus(number)),
});

/** Show what is generated, at most so often: a fast model has many sentences a second. */
function showSoon() {
  shownNext ??= setTimeout(show, PAUSE);
}

/** Show everything as it is. */
function show() {
  clearTimeout(shownNext);
  shownNext = null;
  const { current, busy, growing } = story;
  const ready = models.length > 0;
  const writing = growing !== null;
  cards.show(current, busy, growing);
  showCounters(current, modelOf(current));
  showBranches(story.forest, busy, {
    // What is said of one branch is not for another.
    choose: (branch) => {
      dismiss();
      story.choose(branch);
    },
    close: (branch) => {
      dismiss();
      return story.close(branch);
    },
  });
  byId("append-form").hidden = !current;
  enable({
    start: ready && !busy,
    continue: current && !busy,
    stop: writing,
    copy: current,
    download: current && !busy,
    restore: ready && !busy,
    "reconstruct-story": current,
    "map-story": current,
  });
}

/** Enable buttons. The focus of one that is disabled goes to Stop, back to it, or to Continue. */
function enable(buttons) {
  const focused = document.activeElement;
  for (const [id, enabled] of Object.entries(buttons)) {
    byId(id).disabled = !enabled;
  }
  if (focused?.disabled) {
    lostFocus = focused;
  } else if (focused !== document.body) {
    lostFocus = null;
  }
  if (lostFocus) {
    const next = [byId("stop"), lostFocus, byId("continue")].find((button) => !button.disabled);
    next?.focus();
    lostFocus = next ? null : lostFocus;
  }
}

/** Show an error, and what can be done. */
function failed(error) {
  if (error.status === undefined) {
    throw error;
  }
  if (error.status === 401) {
    byId("key-form").hidden = false;
    byId("key").focus();
  }
  const gone = error.sessionIsGone;
  const ttl = story.current?.info?.ttl;
  const kept = `The server has forgotten this session: it keeps one for ${ttl} seconds after its last use. The text is still here.`;
  byId("alert-text").textContent = gone ? kept : error.message;
  byId("again").hidden = !gone;
  byId("alert").hidden = false;
  markRefused(error.param);
}

function dismiss() {
  byId("alert").hidden = true;
  byId("alert-text").textContent = "";
}

/** Do the work of a button, which is disabled meanwhile. */
async function guard(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    failed(error);
  } finally {
    button.disabled = false;
  }
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  html("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), RETRY);
}

/** Copy a text. Browsers offer the clipboard only over HTTPS, and on the machine itself. */
async function copyText(text) {
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return true;
    }
    const area = html("textarea", { class: "unseen" }, text);
    byId("copy").after(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    byId("copy").focus();
    return copied;
  } catch {
    return false;
  }
}

/** Ask for the models, until the server has loaded them. */
async function load() {
  try {
    models = await api.models();
  } catch (error) {
    if (error.code === "loading") {
      byId("status").textContent = "The server is loading its models …";
      setTimeout(load, RETRY);
      return;
    }
    failed(error);
    return;
  }
  dismiss();
  byId("status").textContent = "";
  byId("key-form").hidden = true;
  const select = byId("model");
  select.replaceChildren(...models.map(({ id, variant }) => html("option", { value: id }, `${id} (${variant})`)));
  select.disabled = models.length < 2;
  showDefaults(chosenModel());
  enable({ reconstruct: true, draw: true });
  show();
}

function wire() {
  const listen = (id, event, listener) => byId(id).addEventListener(event, listener);
  listen("prompt-form", "submit", (event) => {
    event.preventDefault();
    dismiss();
    story.start(chosenModel(), byId("prompt").value);
  });
  listen("continue", "click", () => {
    dismiss();
    story.continue();
  });
  listen("stop", "click", () => story.stop());
  listen("append-form", "submit", async (event) => {
    event.preventDefault();
    if (await story.append(byId("append").value)) {
      byId("append").value = "";
    }
    byId("append").focus();
  });
  listen("copy", "click", async () => {
    const copied = await copyText(story.current.text());
    byId("status").textContent = copied ? "The text is copied." : "The browser does not allow copying.";
  });
  listen("download", "click", () => story.snapshot(save));
  listen("restore", "click", () => byId("restore-file").click());
  listen("restore-file", "change", async ({ target }) => {
    const [file] = target.files;
    if (file) {
      await story.restore(chosenModel(), file);
      target.value = "";
    }
  });
  listen("again", "click", async () => {
    if (await story.again()) {
      dismiss();
      byId("continue").focus();
    }
  });
  listen("dismiss", "click", () => {
    dismiss();
    byId("story").focus();
  });
  listen("model", "change", () => {
    showDefaults(chosenModel());
    show();
  });
  listen("key-form", "submit", (event) => {
    event.preventDefault();
    api.setKey(byId("key").value);
    byId("key").value = "";
    load();
  });
}

const panels = {
  model: () => chosenModel().id,
  guard,
};
makeSettings();
makeReconstruction({ ...panels, story: () => story.current.text() });
makeMap({ ...panels, story: () => story.current.path().map((node) => node.text) });
byId("sampling").open = matchMedia(WIDE).matches;
wire();
load();
