// What the buttons of the story do.

import * as api from "./api.js";
import { count } from "./dom.js";
import { isGreedy, readSettings } from "./settings.js";
import { Forest } from "./tree.js";

/** Why a continuation has ended. */
const ENDS = {
  stop: "The model ended the text",
  stop_text: "A stop text came",
  max_sentences: "Done",
  max_tokens: "The limit of tokens is reached",
  context_full: "The context is full",
  shut_down: "The server is shutting down",
};

/** A text that another sentence can follow. */
const ended = (text) => (/\s$/.test(text) ? text : `${text} `);

/** The branches, and one request at a time on them. */
export class Story {
  /**
   * `changed` is called when an action begins and ends, `piece` when there is more text, `sentence`
   * with the text of a whole sentence, `failed` with an error, and `tell` with a line of status.
   */
  constructor({ changed, piece, sentence, failed, tell }) {
    this.on = { changed, piece, sentence, failed, tell };
    this.forest = new Forest();
    this.busy = false;
    /** The text of the sentence that is being generated; null if none is. */
    this.growing = null;
    this.abort = null;
  }

  get current() {
    return this.forest.current;
  }

  /** Do one thing at a time. Returns whether it succeeded. */
  async act(work) {
    if (this.busy) {
      return false;
    }
    this.busy = true;
    this.on.changed();
    try {
      await work();
      return true;
    } catch (error) {
      this.on.tell("");
      this.on.failed(error);
      return false;
    } finally {
      this.busy = false;
      this.on.changed();
    }
  }

  /** Make a session of a text, and continue it. */
  start(model, text) {
    const settings = readSettings();
    if (!settings) {
      return;
    }
    this.act(async () => {
      this.on.tell("Reading the text …");
      const info = await api.create(model.id, ended(text));
      const branch = this.forest.add(info);
      await this.countTokens(branch, 0);
      await this.generate(branch, settings);
    });
  }

  continue() {
    const settings = readSettings();
    if (settings) {
      this.act(() => this.generate(this.current, settings));
    }
  }

  /** End the continuation. The session keeps the sentences that are whole. */
  stop() {
    this.abort?.abort();
  }

  async generate(branch, settings) {
    this.abort = new AbortController();
    this.growing = "";
    branch.run = { tokens: 0, milliseconds: 0 };
    this.on.tell("Writing …");
    this.on.changed();
    let told = "";
    try {
      for await (const piece of api.generate(branch.id, settings, this.abort.signal)) {
        told = this.take(branch, piece) ?? told;
      }
    } catch (error) {
      if (error.name !== "AbortError") {
        // Where another request uses the session, nothing was done.
        if (error.code !== "session_busy") {
          await this.describe(branch).catch(() => {});
        }
        throw error;
      }
      told = "Stopped.";
    } finally {
      this.abort = null;
      this.growing = null;
    }
    await this.describe(branch);
    this.on.tell(told);
  }

  /** Take over what the server has of a branch. */
  async describe(branch) {
    branch.update(await api.describe(branch.id));
  }

  /** Take a piece of a continuation; returns what to tell at the end. */
  take(branch, piece) {
    if (piece.type === "text") {
      this.growing += piece.text;
      this.on.piece();
      return null;
    }
    if (piece.type === "end") {
      const seed = piece.seed === null ? "" : ` Seed ${piece.seed}.`;
      return `${ENDS[piece.finish_reason] ?? piece.finish_reason}: ${count(piece.sentences, "sentence")}, ${count(piece.tokens, "token")}.${seed}`;
    }
    const tokens = piece.token_ids.length;
    branch.grow(piece.text, {
      generated: true,
      tokens,
      stopProbability: piece.stop_probability,
      milliseconds: piece.milliseconds,
    });
    branch.run.tokens += tokens;
    branch.run.milliseconds += piece.milliseconds;
    if (branch.info) {
      branch.info.tokens += tokens;
    }
    this.growing = "";
    this.on.sentence(piece.text);
    this.on.piece();
    return null;
  }

  /** Ask for the numbers of tokens of the sentences from one on. Without them all works as well. */
  async countTokens(branch, from) {
    const nodes = branch.path().slice(from);
    let sentences = [];
    try {
      ({ sentences } = await api.segment(branch.model, nodes.map((node) => node.text).join("")));
    } catch (error) {
      if (!(error instanceof api.ServerError)) {
        throw error;
      }
    }
    if (sentences.length === nodes.length) {
      nodes.forEach((node, index) => {
        node.tokens ??= sentences[index].token_ids.length;
      });
    }
  }

  /** Forget all sentences of the branch after so many. */
  rewind(number) {
    return this.act(async () => {
      const branch = this.current;
      // An answer may have been lost: the session may have other sentences than are shown.
      await this.describe(branch);
      const gone = Math.max(0, branch.path().length - number);
      if (gone > 0) {
        branch.update(await api.rewind(branch.id, gone));
      }
      this.on.tell(`Rewound by ${count(gone, "sentence")}.`);
    });
  }

  /** Make a branch of the first sentences. */
  fork(number, model) {
    return this.act(async () => {
      const from = this.current;
      let info = await api.fork(from.id);
      const gone = info.sentences.length - number;
      if (gone > 0) {
        try {
          info = await api.rewind(info.id, gone);
        } catch (error) {
          await api.forget(info.id).catch(() => {});
          throw error;
        }
      }
      const branch = this.forest.add(info, from);
      const same = isGreedy(model) ? " With temperature 0 it continues with the same text: choose a higher one." : "";
      this.on.tell(`Branch ${branch.number} begins after ${count(number, "sentence")}.${same}`);
    });
  }

  /** Append sentences of the user's own. */
  append(text) {
    return this.act(async () => {
      const branch = this.current;
      const before = branch.path().length;
      branch.update(await api.append(branch.id, ended(text)));
      await this.countTokens(branch, before);
      this.on.tell(`${count(branch.path().length - before, "sentence")} added.`);
    });
  }

  choose(branch) {
    this.forest.current = branch;
    this.on.tell(`Branch ${branch.number}.`);
    this.on.changed();
  }

  /** Forget a branch, here and on the server. */
  close(branch) {
    return this.act(async () => {
      try {
        await api.forget(branch.id);
      } catch (error) {
        if (!error.sessionIsGone) {
          throw error;
        }
      }
      this.forest.remove(branch);
      this.on.tell(`Branch ${branch.number} is closed.`);
    });
  }

  /** The session file of the branch. */
  snapshot(save) {
    return this.act(async () => {
      const { id, number } = this.current;
      save(await api.snapshot(id), `story-${number}.session`);
      this.on.tell("The session file is downloaded.");
    });
  }

  /** Make a branch of a session file. */
  restore(model, file) {
    return this.act(async () => {
      const branch = this.forest.add(await api.restore(model.id, file));
      await this.countTokens(branch, 0);
      this.on.tell(`Branch ${branch.number} is restored: ${count(branch.path().length, "sentence")}.`);
    });
  }

  /** Make a new session of the text of a branch whose session the server has forgotten. */
  again() {
    return this.act(async () => {
      const branch = this.current;
      branch.update(await api.create(branch.model, branch.text()));
      this.on.tell("The text is in a new session. Continue it.");
    });
  }
}
