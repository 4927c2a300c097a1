// Who can use the page: by keyboard, on a narrow screen, with a screen reader, in light and dark,
// with an API key.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { act, idle, open, pages, tell, texts } from "./browser.js";
import { STORIES, startServer } from "./server.js";

const NARROW = { width: 400, height: 800 };
const CONTROLS = "a[href], button, input:not([hidden]), select, textarea, summary, [tabindex='0']";
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const shared = pages(STORIES);
const { browserTest } = shared;

/** Use all parts of the page. */
async function fill(page) {
  await tell(page, 3);
  await act(page, 3, "Fork here");
  await page.locator("#cards button.sentence").first().click();
  await page.locator("#reconstruct").click();
  await page.locator("#reconstructed li").first().waitFor();
  await page.locator("#draw").click();
  await page.locator("#figures:visible").waitFor();
  await page.locator("#nearest-part summary").click();
}

/** No part of the page is wider than the window. */
async function fits(page) {
  const { scroll, client } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth,
    client: document.documentElement.clientWidth,
  }));
  assert.ok(scroll <= client, `${scroll} pixels of ${client}`);
}

/** Each control can be brought into view, and is under the pointer there. */
async function allReachable(page) {
  const hidden = await page.evaluate((selector) => {
    const unreachable = [];
    for (const control of document.querySelectorAll(selector)) {
      if (!control.checkVisibility() || control.matches(".skip")) {
        continue;
      }
      control.scrollIntoView({ block: "center", behavior: "instant" });
      const { left, right, top, bottom } = control.getBoundingClientRect();
      const there = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
      if (left < 0 || right > innerWidth || !(control.contains(there) || there?.contains(control))) {
        unreachable.push(control.outerHTML.slice(0, 100));
      }
    }
    return unreachable;
  }, CONTROLS);
  assert.deepEqual(hidden, []);
}

/** What the rules of axe say: names, labels, roles, contrast. */
async function axe(page) {
  await page.evaluate(await readFile(AXE, "utf8"));
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const violations = found.violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html.slice(0, 120))]);
  assert.deepEqual(violations, []);
}

browserTest("all fits in 400 pixels", async ({ page, watch }) => {
  await fits(page);
  await fill(page);
  await fits(page);
  await allReachable(page);
  // A word that is longer than a line, and an error.
  await tell(page, 1, `${"Pneumono".repeat(20)}. Tom ran.`);
  await fits(page);
  watch.allow(/400/);
  await page.locator("#append").fill("It rained. ".repeat(200));
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("alert").getByText("sentences").waitFor();
  await fits(page);
  await allReachable(page);
}, { viewport: NARROW, hasTouch: true });

for (const colorScheme of ["light", "dark"]) {
  browserTest(`the ${colorScheme} page has names, labels and contrast`, async ({ page }) => {
    await axe(page);
    await fill(page);
    // Colours that change slowly would be measured in between.
    await axe(page);
    const [ground, ink] = await page.evaluate(() => {
      const { backgroundColor, color } = getComputedStyle(document.body);
      return [backgroundColor, color].map((value) => value.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));
    });
    assert.equal(ground > ink, colorScheme === "light", `${ground} ${ink}`);
  }, { colorScheme });
}

browserTest("the whole is used by keyboard", async ({ page }) => {
  // The values are set without the focus, which stays at the top.
  await page.evaluate(() => {
    document.getElementById("setting-max_sentences").value = "2";
    document.getElementById("setting-ignore_eos").value = "true";
    document.getElementById("prompt").value = "Tom had a ball. He was happy.";
  });
  const focused = () =>
    page.evaluate(() => {
      const { activeElement: active } = document;
      const { outlineStyle, outlineWidth } = getComputedStyle(active);
      return { id: active.id, text: active.textContent, ring: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
    });
  const tabTo = async (test, what) => {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press("Tab");
      const now = await focused();
      assert.ok(now.ring, `no focus ring on ${now.id} ${now.text}`);
      if (test(now)) {
        return;
      }
    }
    assert.fail(`Tab does not reach ${what}`);
  };
  await page.keyboard.press("Tab");
  assert.equal((await focused()).text, "Skip to the story");
  await page.keyboard.press("Enter");
  await tabTo(({ id }) => id === "prompt", "the beginning");
  await tabTo(({ id }) => id === "start", "New story");
  await page.keyboard.press("Enter");
  await page.getByText("Done: 2 sentences").waitFor();
  await idle(page);
  // The focus is where the story is continued.
  assert.equal((await focused()).id, "continue");
  const story = await texts(page);
  await tabTo(({ text }) => text === story[2], "the third card");
  await page.keyboard.press("Enter");
  await tabTo(({ text }) => text === "Rewind to here", "Rewind");
  await tabTo(({ text }) => text === "Fork here", "Fork");
  await page.keyboard.press("Space");
  await page.getByText("Branch 2 begins after 3 sentences.").waitFor();
  await idle(page);
  assert.equal((await focused()).text, story[2]);
  await tabTo(({ text }) => text.startsWith("Branch 1"), "the first branch");
  await page.keyboard.press("Enter");
  assert.deepEqual(await texts(page), story);
  assert.match((await focused()).text, /^Branch 1/);
  await tabTo(({ id }) => id === "setting-temperature", "the temperature");
  await tabTo(({ id }) => id === "reconstruct", "Reconstruct");
  await page.keyboard.press("Enter");
  await page.locator("#reconstructed li").first().waitFor();
  await tabTo(({ id }) => id === "draw", "Draw");
  await page.keyboard.press("Enter");
  await page.locator("#figures:visible").waitFor();
});

browserTest("Tab reaches every control, in the order of the page", async ({ page }) => {
  await fill(page);
  const expected = await page.evaluate((selector) => {
    const all = [...document.querySelectorAll(selector)].filter((control) => control.checkVisibility() && !control.disabled);
    window.controls = all;
    return all.length;
  }, CONTROLS);
  // From where the focus is, around the page: behind the last control the page itself has it.
  const order = [];
  for (let presses = 0; presses <= expected; presses += 1) {
    await page.keyboard.press("Tab");
    order.push(await page.evaluate(() => window.controls.indexOf(document.activeElement)));
  }
  const first = order.indexOf(0);
  const turned = [...order.slice(first), ...order.slice(0, first)];
  assert.deepEqual(turned, [...Array(expected).keys(), -1]);
});

browserTest("a screen reader hears of whole sentences", async ({ page }) => {
  await page.evaluate(() => {
    window.heard = [];
    const log = document.getElementById("finished");
    new MutationObserver((records) => {
      window.heard.push(...records.flatMap((record) => [...record.addedNodes].map((node) => node.textContent)));
    }).observe(log, { childList: true, subtree: true, characterData: true });
  });
  await tell(page, 3);
  const story = await texts(page);
  assert.deepEqual(await page.evaluate(() => window.heard), story.slice(2));
  assert.equal(await page.getByRole("log").getAttribute("aria-live"), null);
  assert.equal(await page.getByRole("status").first().textContent().then((text) => text.startsWith("Done: 3 sentences")), true);
});

test("an API key opens the page's functions", async () => {
  const folder = await mkdtemp(join(tmpdir(), "web-test-"));
  const file = join(folder, "keys");
  await writeFile(file, "the-key\n");
  const guarded = await startServer("--model", STORIES, "--api-key-file", file);
  const { page, watch, context } = await open(shared.browser, guarded.address);
  try {
    watch.allow(/401/);
    assert.equal(await page.locator("#start").isDisabled(), true);
    assert.equal(await page.evaluate(() => document.activeElement.id), "key");
    await page.getByLabel("API key", { exact: true }).fill("another");
    await page.getByRole("button", { name: "Use this key" }).click();
    await page.waitForFunction(() => document.getElementById("key").value === "");
    await page.getByRole("alert").getByText("key").waitFor();
    await page.getByLabel("API key", { exact: true }).fill("the-key");
    await page.keyboard.press("Enter");
    await idle(page);
    assert.equal(await page.locator("#key-form").isVisible(), false);
    assert.equal(await page.getByRole("alert").isVisible(), false);
    watch.check();
    const before = watch.problems.length;
    await tell(page, 2);
    await Promise.all([page.waitForEvent("download"), page.locator("#download").click()]);
    await page.reload();
    await idle(page);
    assert.equal(watch.problems.length, before);
    assert.deepEqual(await page.evaluate(() => [Object.keys(localStorage), document.cookie, location.href.includes("key")]), [[], "", false]);
    // Another tab asks again.
    const other = await context.newPage();
    await other.goto(`${guarded.address}/`);
    await other.locator("#key-form:visible").waitFor();
  } finally {
    await context.close();
    await guarded.stop();
    await rm(folder, { recursive: true });
  }
});
