// Requests that fail half way, and a server that holds other sentences than the page shows.

import assert from "node:assert/strict";

import { act, idle, pages, tell, texts } from "./browser.js";
import { STORIES, ask } from "./server.js";

const shared = pages(STORIES);
const { browserTest } = shared;

const request = (id, path, options) => ask(shared.server.address, `/v1/sessions/${id}${path}`, options);

/** How many sessions the server has. */
async function sessions() {
  const metrics = await fetch(`${shared.server.address}/metrics`);
  return Number((await metrics.text()).match(/^sllm_sessions (\d+)$/m)[1]);
}

/** Let the server seem to refuse all requests of a path. */
async function refuse(page, watch, path) {
  watch.allow(/429/);
  const error = { message: "Try again later.", type: "rate_limit_error", param: null, code: "queue_full" };
  await page.route(path, (route) => route.fulfill({ status: 429, json: { error } }));
}

browserTest("a rewind goes by what the server holds", async ({ page, watch }) => {
  await tell(page, 4);
  const before = await texts(page);
  const [id] = watch.sessions;
  // As if the answer of a rewind had been lost.
  await request(id, "/rewind", { method: "POST", body: { sentences: 3 } });
  await act(page, 2, "Rewind to here");
  assert.deepEqual(await texts(page), before.slice(0, 2));
  assert.equal((await request(id, "")).json.sentences.length, 2);
});

browserTest("a fork that fails leaves no session", async ({ page, watch }) => {
  await tell(page, 3);
  const before = await sessions();
  await refuse(page, watch, "**/rewind");
  await act(page, 2, "Fork here");
  await page.getByRole("alert").getByText("Try again later.").waitFor();
  assert.equal(await sessions(), before);
  assert.equal(await page.locator("#tree button.branch").count(), 1);
  assert.equal(await page.locator("#status").textContent(), "");
});

browserTest("counts of tokens that fail stop nothing", async ({ page, watch }) => {
  await refuse(page, watch, "**/segment");
  await tell(page, 2);
  assert.equal((await texts(page)).length, 4);
  await page.locator("#append").fill("Then it rained.");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByText("1 sentence added.").waitFor();
  await idle(page);
  assert.equal(await page.locator("#append").inputValue(), "");
  assert.equal((await request(watch.sessions[0], "")).json.sentences.length, 5);
  assert.equal(await page.getByRole("alert").isVisible(), false);
});

browserTest("an alert of one branch is not for another", async ({ page, watch }) => {
  await tell(page, 1);
  await tell(page, 1, "It rained. Sue was sad.");
  await request(watch.sessions[1], "", { method: "DELETE" });
  watch.allow(/404/);
  await page.locator("#continue").click();
  await page.getByRole("button", { name: "Start again from the text" }).waitFor();
  await page.locator("#tree button.branch").first().click();
  assert.equal(await page.getByRole("alert").isVisible(), false);
  await page.locator("#continue").click();
  await page.getByText("Done: 1 sentence").waitFor();
  assert.equal(watch.sessions.length, 2);
});
