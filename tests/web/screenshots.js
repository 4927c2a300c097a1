// Renews the screenshots of the documentation: a test, as they need a page without errors.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { act, idle, pages, set, tell } from "./browser.js";
import { shrink } from "./png.js";
import { ROOT, STORIES } from "./server.js";

const MAX_BYTES = 300_000;
const PROMPT = "Once upon a time, there was a little fox named Tim. Tim lived in a big forest with his mom. One day, Tim found a shiny red ball.";

const TEXT = "The little fox was happy. A small bird sat on the old apple tree. The professor explained the theory of relativity.";

const { browserTest } = pages(STORIES);

for (const [name, viewport, scheme] of [
  ["page.png", { width: 1200, height: 900 }, "light"],
  ["page-narrow.png", { width: 400, height: 800 }, "dark"],
]) {
  browserTest(`screenshot ${name}`, async ({ page }) => {
    await tell(page, 6, PROMPT);
    await act(page, 5, "Fork here");
    await set(page, { max_sentences: 4, temperature: 0.8, seed: 7 });
    await page.locator("#continue").click();
    await idle(page);
    await act(page, 7, "Fork here");
    await set(page, { max_sentences: 3, seed: 11 });
    await page.locator("#continue").click();
    await idle(page);
    await page.locator("#cards button.sentence").nth(6).click();
    if (viewport.width > 1000) {
      await page.locator("#reconstruct-text").fill(TEXT);
      await page.locator("#reconstruct").click();
      await page.locator("#reconstructed li").first().waitFor();
      await page.locator("#map-story").click();
      await page.locator("#draw").click();
      await page.locator("#figures:visible").waitFor();
    } else {
      await page.locator("#sampling").evaluate((details) => {
        details.open = false;
      });
    }
    await page.mouse.move(0, 0);
    const whole = await page.evaluate(() => document.documentElement.scrollHeight);
    const height = Math.min(whole, viewport.width * 4);
    await page.setViewportSize({ ...viewport, height });
    await page.evaluate(() => {
      document.activeElement.blur();
      scrollTo(0, 0);
    });
    const picture = shrink(await page.screenshot());
    assert.ok(picture.length < MAX_BYTES, `${name} has ${picture.length} bytes`);
    await writeFile(join(ROOT, "docs", name), picture);
  }, { viewport, colorScheme: scheme });
}
