// Starts the program as a server on a free port.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BINARY = process.env.SLLM_ORT_BINARY ?? "target/debug/sllm-ort";
export const STORIES = "models/sllm-stories";
export const TINY = "tests/golden/bundle";

/** The address of a server with these arguments, and how to stop it. */
export async function startServer(...args) {
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith("SLLM_ORT_"));
  const child = spawn(BINARY, ["serve", "--port", "0", ...args], {
    cwd: ROOT,
    env: Object.fromEntries(env),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const failed = new Promise((_, reject) => {
    child.once("error", reject);
    child.once("exit", (status) => reject(new Error(`the server ended with status ${status}`)));
  });
  failed.catch(() => {});
  const line = new Promise((resolve) => createInterface(child.stdout).once("line", resolve));
  const address = (await Promise.race([line, failed])).match(/^listening on (http:\/\/\S+)$/)[1];
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  return { address, stop };
}

/** The JSON of an answer of the server. */
export async function ask(address, path, { method = "GET", body, key } = {}) {
  const headers = body ? { "content-type": "application/json" } : {};
  if (key) {
    headers.authorization = `Bearer ${key}`;
  }
  const response = await fetch(address + path, { method, headers, body: body && JSON.stringify(body) });
  return { status: response.status, json: await response.json() };
}
