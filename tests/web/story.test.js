// A story: it streams, is stopped, rewound, forked, saved and restored.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { act, idle, open, pages, set, tell, texts } from "./browser.js";
import { STORIES, ask, startServer } from "./server.js";

/** More sentences than are waited for. */
const LONG = 110;

const shared = pages(STORIES);
const { browserTest } = shared;

const session = (id) => ask(shared.server.address, `/v1/sessions/${id}`);
const generated = (page) => page.locator("#cards .card:not(.given):not(.growing)");

browserTest("a story grows while it streams, and stops", async ({ page, watch }) => {
  await set(page, { max_sentences: LONG, ignore_eos: true });
  watch.allow(/^failed: net::ERR_ABORTED .*\/generate$/);
  // Stop as soon as there is a whole sentence. The model may be fast.
  await page.evaluate(() => {
    const stop = document.getElementById("stop");
    const observer = new MutationObserver(() => {
      const whole = document.querySelector("#cards .card:not(.given):not(.growing)");
      if (whole && !stop.disabled && document.getElementById("continue").disabled) {
        observer.disconnect();
        stop.click();
      }
    });
    observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  });
  await page.locator("#start").click();
  await page.getByText("Stopped.").waitFor();
  await idle(page);
  const stopped = await texts(page);
  const given = await page.locator("#cards .given").count();
  assert.ok(stopped.length > given && stopped.length < given + LONG, String(stopped.length));
  assert.equal(await page.locator(".growing").count(), 0);
  assert.ok((await page.locator("#finished p").count()) > 0);
  const { json } = await session(watch.sessions[0]);
  assert.deepEqual(stopped, json.sentences.map((text) => text.trim() || "(an empty sentence)"));

  await set(page, { max_sentences: 2 });
  await page.locator("#continue").click();
  await page.getByText("Done: 2 sentences").waitFor();
  await idle(page);
  assert.deepEqual((await texts(page)).slice(0, -2), stopped);
});

browserTest("a sentence grows while its text comes", async ({ page }) => {
  // A stream that goes on when the test says so.
  await page.evaluate(() => {
    const { fetch } = window;
    let stream;
    window.tell = (piece) => stream.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(piece)}\n\n`));
    window.fetch = (path, options) => {
      if (!path.endsWith("/generate")) {
        return fetch(path, options);
      }
      const body = new ReadableStream({ start: (controller) => (stream = controller) });
      options.signal.addEventListener("abort", () => stream.error(options.signal.reason));
      return Promise.resolve(new Response(body));
    };
  });
  await page.locator("#start").click();
  const growing = page.locator("#cards .growing .sentence");
  await growing.waitFor({ state: "attached" });
  for (const [piece, text] of [["The fo", "The fo"], ["x ran", "The fox ran"]]) {
    await page.evaluate((said) => window.tell({ type: "text", text: said }), piece);
    await growing.getByText(text, { exact: true }).waitFor();
  }
  await page.locator("#stop").click();
  await page.getByText("Stopped.").waitFor();
});

browserTest("cards and counters show figures", async ({ page, watch }) => {
  await tell(page, 4);
  const facts = await generated(page).locator(".facts").allTextContents();
  assert.equal(facts.length, 4);
  for (const text of facts) {
    assert.match(text, /^\d+ tokens?stop .*[\d.]+ %[\d.]+ m?s$/);
  }
  for (const text of await page.locator("#cards .given .facts").allTextContents()) {
    assert.match(text, /^\d+ tokens?given$/);
  }
  const { json } = await session(watch.sessions[0]);
  const [speed, sentences, tokens] = await page.locator("#counters dd").allTextContents();
  assert.ok(Number(speed) > 0, speed);
  assert.equal(sentences, `${json.sentences.length} of 128`);
  assert.equal(tokens, String(json.tokens - json.sentences.length));
  const memory = await page.locator("#memory").textContent();
  assert.ok(memory.includes(`${(Number(tokens) / json.sentences.length).toFixed(1)} times smaller`), memory);
  await page.locator("#status").getByText("Done: 4 sentences").waitFor();
});

browserTest("a story is rewound to a card", async ({ page, watch }) => {
  await tell(page, 4);
  const before = await texts(page);
  await act(page, 3, "Rewind to here");
  assert.deepEqual(await texts(page), before.slice(0, 3));
  assert.equal((await session(watch.sessions[0])).json.sentences.length, 3);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), before[2]);
  // With the same settings the same sentences come again.
  await set(page, { max_sentences: 3, temperature: 0 });
  await page.locator("#continue").click();
  await page.getByText("Done: 3 sentences").waitFor();
  assert.equal((await texts(page)).length, 6);
});

browserTest("branches are forked, shown as a tree, switched and closed", async ({ page, watch }) => {
  await tell(page, 4);
  const first = await texts(page);
  await act(page, 4, "Fork here");
  assert.deepEqual(await texts(page), first.slice(0, 4));
  await set(page, { max_sentences: 3, temperature: 1.5, seed: 5 });
  await page.locator("#continue").click();
  await page.getByText("Done: 3 sentences").waitFor();
  await idle(page);
  const second = await texts(page);
  assert.equal(second.length, 7);

  const branches = page.locator("#tree button.branch");
  assert.deepEqual(await branches.allTextContents(), ["Branch 16 sentences", "Branch 27 sentencesfrom 4 of branch 1"]);
  assert.deepEqual(await page.locator("#tree g.lane").evaluateAll((lanes) => lanes.map((lane) => lane.querySelectorAll(".dot").length)), [6, 3]);
  assert.equal(await branches.nth(1).getAttribute("aria-current"), "true");
  await branches.nth(0).click();
  assert.deepEqual(await texts(page), first);
  assert.equal(await branches.nth(0).getAttribute("aria-current"), "true");

  // What the one loses the other keeps.
  await act(page, 2, "Rewind to here");
  assert.deepEqual(await page.locator("#tree g.lane").evaluateAll((lanes) => lanes.map((lane) => lane.querySelectorAll(".dot").length)), [2, 5]);
  await branches.nth(1).click();
  assert.deepEqual(await texts(page), second);
  const [one, two] = watch.sessions;
  assert.equal((await session(one)).json.sentences.length, 2);
  assert.equal((await session(two)).json.sentences.length, 7);

  await page.getByRole("button", { name: "Close branch 2" }).click();
  await idle(page);
  assert.equal(await branches.count(), 1);
  assert.equal((await session(two)).status, 404);
  assert.deepEqual(await texts(page), first.slice(0, 2));
});

browserTest("another beginning is another session", async ({ page, watch }) => {
  await tell(page, 1);
  await tell(page, 1, "It rained. Sue was sad.");
  assert.equal((await texts(page))[0], "It rained.");
  assert.equal(watch.sessions.length, 2);
  assert.deepEqual(await page.locator("#tree button.branch span").allTextContents(), ["Branch 1", "Branch 2"]);
  assert.doesNotMatch(await page.locator("#tree ul").textContent(), /from/);
});

browserTest("sentences of one's own are added", async ({ page, watch }) => {
  await tell(page, 1);
  await page.locator("#append").fill("Then it rained. Tom ran home.");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByText("2 sentences added.").waitFor();
  assert.deepEqual((await texts(page)).slice(3), ["Then it rained.", "Tom ran home."]);
  assert.equal((await session(watch.sessions[0])).json.sentences.length, 5);
});

browserTest("a session is downloaded and restored, and its text copied", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await tell(page, 3);
  const before = await texts(page);
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#download").click()]);
  assert.equal(download.suggestedFilename(), "story-1.session");
  const file = await download.path();
  assert.ok((await readFile(file)).length > 1000);
  await idle(page);
  await act(page, 1, "Rewind to here");
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.locator("#restore").click()]);
  await chooser.setFiles(file);
  await page.getByText("Branch 2 is restored: 5 sentences.").waitFor();
  assert.deepEqual(await texts(page), before);
  await page.locator("#continue").click();
  await page.getByText("Done: 3 sentences").waitFor();
  await page.locator("#copy").click();
  await page.getByText("The text is copied.").waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(copied.startsWith("Tom had a ball. He was happy. "), copied);
  // Over HTTP from elsewhere there is no clipboard.
  await page.evaluate(async () => {
    await navigator.clipboard.writeText("");
    Object.defineProperty(navigator, "clipboard", { value: undefined, configurable: true });
    document.getElementById("status").textContent = "";
  });
  await page.locator("#copy").click();
  await page.getByText("The text is copied.").waitFor();
  await page.evaluate(() => delete navigator.clipboard);
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), copied);
});

browserTest("a session that the server has forgotten starts again from its text", async ({ page, watch }) => {
  await tell(page, 2);
  const before = await texts(page);
  await ask(shared.server.address, `/v1/sessions/${watch.sessions[0]}`, { method: "DELETE" });
  watch.allow(/404/);
  await page.locator("#continue").click();
  await page.getByRole("alert").getByText("The server has forgotten this session").waitFor();
  assert.deepEqual(await texts(page), before);
  await page.getByRole("button", { name: "Start again from the text" }).click();
  await page.getByText("The text is in a new session.").waitFor();
  assert.equal(await page.getByRole("alert").isVisible(), false);
  assert.equal((await texts(page)).join(" "), before.join(" "));
  await page.locator("#continue").click();
  await page.getByText("Done: 2 sentences").waitFor();
  assert.equal(watch.sessions.length, 2);
});

test("a connection that breaks off is told, and the text stays", async () => {
  const other = await startServer("--model", STORIES);
  const { page, watch, context } = await open(shared.browser, other.address);
  try {
    await tell(page, 2);
    watch.check();
    // A stream without an end.
    const sentence = { type: "sentence", index: 4, text: "It rained. ", token_ids: [1], stop_probability: 0.25, milliseconds: 1 };
    const body = `data: ${JSON.stringify(sentence)}\n\n`;
    await page.route("**/generate", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    await page.locator("#continue").click();
    await page.getByRole("alert").getByText("The connection to the server broke off.").waitFor();
    await idle(page);
    // What the server does not have is no part of the story.
    assert.equal((await texts(page)).length, 4);
    watch.check();
    await page.unroute("**/generate");
    await other.stop();
    await page.locator("#continue").click();
    await page.getByRole("alert").getByText("The server does not answer.").waitFor();
    await idle(page);
    assert.equal((await texts(page)).length, 4);
    assert.deepEqual(watch.problems.filter((problem) => problem.startsWith("error:")), []);
  } finally {
    await context.close();
    await other.stop();
  }
});

browserTest("an error of the server is shown, and nothing is lost", async ({ page, watch }) => {
  await tell(page, 1);
  const before = await texts(page);
  watch.allow(/400/);
  await page.locator("#append").fill("It rained. ".repeat(200));
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("alert").getByText("sentences").waitFor();
  assert.deepEqual(await texts(page), before);
  await page.getByRole("button", { name: "Dismiss" }).click();
  assert.equal(await page.getByRole("alert").isVisible(), false);
  // A value that no request may have is not sent.
  const sent = [];
  page.on("request", (request) => sent.push(request.url()));
  await set(page, { temperature: -1 });
  await page.locator("#continue").click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "setting-temperature");
  assert.deepEqual(sent, []);
});
