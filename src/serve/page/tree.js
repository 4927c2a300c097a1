// The stories as trees of sentences. Each branch is a session of the server, and ends at a node.

/** A sentence. What is not known of it is null. */
export class Node {
  constructor(parent, text, known = {}) {
    this.parent = parent;
    this.text = text;
    /** Whether the model generated it. */
    this.generated = known.generated ?? false;
    this.tokens = known.tokens ?? null;
    this.stopProbability = known.stopProbability ?? null;
    this.milliseconds = known.milliseconds ?? null;
  }
}

/** A session, and what it is made of. */
export class Branch {
  constructor(number, id, model) {
    this.number = number;
    this.id = id;
    this.model = model;
    /** The last sentence; null if there is none. */
    this.tip = null;
    /** What the server reports of the session: its tokens and memory. */
    this.info = null;
    /** What was generated last: tokens and milliseconds. */
    this.run = null;
  }

  /** Its sentences, the first one first. */
  path() {
    const nodes = [];
    for (let node = this.tip; node; node = node.parent) {
      nodes.push(node);
    }
    return nodes.reverse();
  }

  text() {
    return this.path().map((node) => node.text).join("");
  }

  /** Append a sentence. */
  grow(text, known) {
    this.tip = new Node(this.tip, text, known);
    return this.tip;
  }

  /** Make its sentences those that the server reports. Those that it knows stay. */
  update(info) {
    const { sentences } = info;
    const path = this.path();
    let same = 0;
    while (same < path.length && path[same].text === sentences[same]) {
      same += 1;
    }
    this.tip = same === 0 ? null : path[same - 1];
    for (const text of sentences.slice(same)) {
      this.grow(text);
    }
    this.id = info.id;
    this.model = info.model;
    this.info = { tokens: info.tokens, memory: info.memory_bytes, ttl: info.ttl };
  }
}

/** All branches, and the one that is shown. */
export class Forest {
  constructor() {
    this.branches = [];
    this.current = null;
    this.made = 0;
  }

  /** A branch of a session that the server has just made. `from` is what it was copied from. */
  add(info, from = null) {
    this.made += 1;
    const branch = new Branch(this.made, info.id, info.model);
    branch.tip = from?.tip ?? null;
    branch.update(info);
    this.branches.push(branch);
    this.current = branch;
    return branch;
  }

  remove(branch) {
    const index = this.branches.indexOf(branch);
    this.branches.splice(index, 1);
    if (this.current === branch) {
      this.current = this.branches[Math.max(0, index - 1)] ?? null;
    }
  }

  /**
   * How to draw the branches, a lane each: `start` is the number of sentences that it shares, with
   * the lane `parent` (null for a story of its own), and `end` the number of all its sentences.
   */
  lanes() {
    const owners = new Map();
    return this.branches.map((branch, lane) => {
      const path = branch.path();
      let start = 0;
      while (start < path.length && owners.has(path[start])) {
        start += 1;
      }
      path.slice(start).forEach((node) => owners.set(node, lane));
      const parent = start === 0 ? null : owners.get(path[start - 1]);
      return { branch, start, end: path.length, parent };
    });
  }
}
