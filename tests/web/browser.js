// The browser, and a page of it whose errors are watched.

import assert from "node:assert/strict";
import { access } from "node:fs/promises";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

import { startServer } from "./server.js";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const TIMEOUT = 30_000;

/** A browser with a new profile. */
async function launch() {
  await access(EXECUTABLE);
  return chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
}

/** All that goes wrong in a page, and the sessions that it makes. */
class Watch {
  constructor(page, origin) {
    this.problems = [];
    this.allowed = [];
    this.sessions = [];
    const note = (text) => this.problems.push(text);
    page.on("pageerror", (error) => note(`error: ${error.stack}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) {
        note(`console: ${message.text()} (${message.location().url})`);
      }
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${origin}/`) && !request.url().startsWith(`blob:${origin}/`)) {
        note(`request elsewhere: ${request.url()}`);
      }
    });
    page.on("requestfailed", (request) => note(`failed: ${request.failure().errorText} ${request.url()}`));
    page.on("response", async (response) => {
      const { pathname } = new URL(response.url());
      if (response.status() >= 400) {
        note(`status: ${response.status()} ${pathname}`);
      } else if (/^\/v1\/sessions(\/restore|\/[^/]+\/fork)?$/.test(pathname) && response.request().method() === "POST") {
        const made = await response.json().catch(() => null);
        if (made) {
          this.sessions.push(made.id);
        }
      }
    });
  }

  /** Problems that match are meant to happen. */
  allow(...patterns) {
    this.allowed.push(...patterns);
  }

  check() {
    const found = this.problems.filter((problem) => !this.allowed.some((pattern) => pattern.test(problem)));
    assert.deepEqual(found, []);
  }
}

/**
 * A browser and a server of these models for the tests of a file, and what declares a test with a
 * page, in which nothing may go wrong.
 */
export function pages(...models) {
  const shared = {
    browserTest(name, work, options) {
      test(name, async () => {
        const opened = await open(shared.browser, shared.server.address, options);
        try {
          await work(opened);
          opened.watch.check();
        } finally {
          await opened.context.close();
        }
      });
    },
  };
  before(async () => {
    const named = models.flatMap((model) => ["--model", model]);
    [shared.browser, shared.server] = await Promise.all([launch(), startServer(...named)]);
  });
  after(async () => {
    await Promise.all([shared.browser?.close(), shared.server?.stop()]);
  });
  return shared;
}

/** The page of a server, loaded. */
export async function open(browser, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT);
  const watch = new Watch(page, address);
  await page.goto(`${address}/`);
  await page.locator("#key-form:visible, #start:enabled").first().waitFor();
  return { page, watch, context };
}

/** Fill in settings, by the names of the fields. */
export async function set(page, settings) {
  await page.locator("#sampling").evaluate((details) => {
    details.open = true;
  });
  for (const [name, value] of Object.entries(settings)) {
    const field = page.locator(`#setting-${name}`);
    if (await field.evaluate((element) => element.tagName === "SELECT")) {
      await field.selectOption(String(value));
    } else {
      await field.fill(String(value));
    }
  }
}

/** Wait until nothing is being done. */
export function idle(page) {
  return page.locator("#start:enabled").waitFor();
}

/** Start a story of so many sentences, whatever the model thinks of its end, and wait for it. */
export async function tell(page, sentences, prompt = "Tom had a ball. He was happy.") {
  await set(page, { max_sentences: sentences, ignore_eos: true });
  await page.locator("#prompt").fill(prompt);
  await page.locator("#start").click();
  await page.locator("#cards .card").first().waitFor();
  await idle(page);
}

/** The texts of the cards. */
export function texts(page) {
  return page.locator("#cards button.sentence").allTextContents();
}

/** Expand the card of a sentence, and choose one of its actions. */
export async function act(page, number, action) {
  const card = page.locator("#cards .card").nth(number - 1);
  await card.locator("button.sentence").click();
  await card.getByRole("button", { name: action }).click();
  await idle(page);
}
