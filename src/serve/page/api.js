// Requests to the server.

const KEY = "sllm-ort-key";

/** What the server refuses, or that there is no server. */
export class ServerError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.param = error.param;
  }

  /** Whether the server has forgotten the session. */
  get sessionIsGone() {
    return this.code === "session_not_found";
  }
}

/** The API key, which this tab alone keeps, until it is closed. */
export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function request(method, path, { body, type, signal } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) {
    headers.authorization = `Bearer ${key}`;
  }
  if (body !== undefined) {
    headers["content-type"] = type ?? "application/json";
  }
  const sent = type || body === undefined ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, { method, headers, body: sent, signal });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new ServerError(0, { message: "The server does not answer.", code: "no_answer" });
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    const error = answer.error ?? { message: `The server answers with status ${response.status}.` };
    throw new ServerError(response.status, error);
  }
  return response;
}

async function json(method, path, options) {
  return (await request(method, path, options)).json();
}

const post = (path, body) => json("POST", path, { body });
const session = (id, part = "") => `v1/sessions/${encodeURIComponent(id)}${part}`;
const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

export const models = async () => (await json("GET", "v1/models")).data;
export const segment = (model, text) => post("v1/sentences/segment", { model, text });
export const reconstruct = (model, text) => post("v1/sentences/reconstruct", { model, text });

/** The sentence vectors of texts; of a text of several sentences their mean. */
export async function embed(model, input) {
  const { data } = await post("v1/embeddings", { model, input, pooling: "mean" });
  return data.map((item) => item.embedding);
}

export const create = (model, text) => post("v1/sessions", { model, text });
export const append = (id, text) => post(session(id, "/append"), { text });
export const fork = (id) => post(session(id, "/fork"), {});
export const rewind = (id, sentences) => post(session(id, "/rewind"), { sentences });
export const forget = (id) => json("DELETE", session(id));

/** Describe a session. One that a stopped request still uses is asked for again. */
export async function describe(id) {
  for (let tries = 1; tries <= 20; tries += 1) {
    const info = await json("GET", session(id));
    if (!info.busy) {
      return info;
    }
    await sleep(100 * tries);
  }
  throw new ServerError(409, { message: "Another request uses the session.", code: "session_busy" });
}

export async function snapshot(id) {
  return (await request("GET", session(id, "/snapshot"))).blob();
}

export function restore(model, file) {
  const path = `v1/sessions/restore?model=${encodeURIComponent(model)}`;
  return json("POST", path, { body: file, type: "application/octet-stream" });
}

/** The pieces of a continuation: objects of the types `text`, `sentence` and `end`. */
export async function* generate(id, options, signal) {
  const response = await request("POST", session(id, "/generate"), { body: options, signal });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") {
      return;
    }
    const piece = JSON.parse(data);
    if (piece.error) {
      throw new ServerError(response.status, piece.error);
    }
    yield piece;
  }
  throw broken();
}

const broken = () => new ServerError(0, { message: "The connection to the server broke off.", code: "broken" });

/** The data of server-sent events. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : broken();
    });
    if (done) {
      return;
    }
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ")) {
        yield line.slice("data: ".length);
      }
    }
  }
}
