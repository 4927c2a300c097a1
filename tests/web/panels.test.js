// Reconstruction, the map of vectors, and what the page may load.

import assert from "node:assert/strict";
import { test } from "node:test";

import { open, pages, set, tell, texts } from "./browser.js";
import { STORIES, TINY, ask } from "./server.js";

const shared = pages(STORIES, TINY);
const { browserTest } = shared;

const imported = (page, name, work, value) =>
  page.evaluate(`import("/page/${name}").then((module) => (${work})(module, ${JSON.stringify(value)}))`);

browserTest("a text is reconstructed, and its differences are marked", async ({ page }) => {
  // What the server answers depends on the model: once its own answer, once a fixed one.
  const text = "The fox was happy. It rained.";
  await page.locator("#reconstruct-text").fill(text);
  await page.locator("#reconstruct").click();
  await page.locator("#reconstruct-status").getByText(/^\d of 2 sentences exact\.$/).waitFor();
  const { json } = await ask(shared.server.address, "/v1/sentences/reconstruct", { method: "POST", body: { model: "sllm-stories", text } });
  const items = page.locator("#reconstructed li");
  assert.equal(await items.count(), 2);
  for (const [index, { input, output }] of json.sentences.entries()) {
    const side = (other) => items.nth(index).locator(".text").evaluate((line, other) => {
      const copy = line.cloneNode(true);
      copy.querySelectorAll(`${other}, .unseen`).forEach((node) => node.remove());
      return copy.textContent.replaceAll(/\s+/g, " ").trim();
    }, other);
    assert.equal(await side("ins"), input.trim());
    assert.equal(await side("del"), output.trim());
  }

  const sentence = { input: "Tom had a red ball. ", output: "Tom had a blue ball. ", exact: false, input_ids: [1, 2], output_ids: [1, 3] };
  const same = { input: "It rained. ", output: "It rained. ", exact: true, input_ids: [4], output_ids: [4] };
  await page.route("**/v1/sentences/reconstruct", (route) => route.fulfill({ json: { model: "x", exact: 1, sentences: [sentence, same] } }));
  await page.locator("#reconstruct").click();
  await page.getByText("1 of 2 sentences exact.").waitFor();
  await page.getByText("1 word differs").waitFor();
  assert.equal(await items.nth(0).locator("del").textContent(), "removed: red");
  assert.equal(await items.nth(0).locator("ins").textContent(), "added: blue");
  assert.equal(await items.nth(1).locator("del, ins").count(), 0);
  assert.equal(await items.nth(1).locator(".verdict").textContent(), "exact");
});

browserTest("differences are the fewest words", async ({ page }) => {
  const cases = [
    ["", "", []],
    ["a b", "a b", [["same", "a b"]]],
    ["a b c", "a c", [["same", "a"], ["removed", " b"], ["same", " c"]]],
    ["He ran.", "He ran!", [["same", "He ran"], ["removed", "."], ["added", "!"]]],
    ["one", "two three", [["removed", "one"], ["added", "two three"]]],
    ["Zoë’s dog", "Zoë’s dog sat", [["same", "Zoë’s dog"], ["added", " sat"]]],
  ];
  for (const [first, second, expected] of cases) {
    const parts = await imported(page, "diff.js", "({ difference }, [a, b]) => difference(a, b)", [first, second]);
    assert.deepEqual(parts.map(({ type, text }) => [type, text]), expected);
  }
});

browserTest("the map shows cosines and a projection", async ({ page }) => {
  const input = ["The fox was happy.", "The fox was sad.", "It rained.", "The fox was happy."];
  await page.locator("#map-text").fill(`${input.join("\n")}\n\n`);
  await page.locator("#draw").click();
  await page.getByText("4 sentences drawn.").waitFor();
  const { json } = await ask(shared.server.address, "/v1/sentences/similarity", { method: "POST", body: { model: "sllm-stories", input } });
  const cells = page.locator("#heat .cell");
  assert.equal(await cells.count(), 16);
  const opacities = await cells.evaluateAll((cells) => cells.map((cell) => Number(cell.getAttribute("fill-opacity"))));
  const cosines = json.similarity.flat();
  const least = Math.min(...cosines);
  opacities.forEach((opacity, index) => {
    const expected = 0.06 + (0.94 * (cosines[index] - least)) / (1 - least);
    assert.ok(Math.abs(opacity - expected) < 0.01, `${index}: ${opacity} is not ${expected}`);
  });
  // Sentences 1 and 4 are the same, and so are their dots.
  const dots = await page.locator("#projection .dot").evaluateAll((dots) => dots.map((dot) => ["cx", "cy"].map((name) => Number(dot.getAttribute(name)))));
  assert.equal(dots.length, 4);
  assert.ok(Math.hypot(dots[0][0] - dots[3][0], dots[0][1] - dots[3][1]) < 0.1);
  assert.ok(Math.hypot(dots[0][0] - dots[2][0], dots[0][1] - dots[2][1]) > 10);
  await cells.nth(2).hover();
  assert.equal(await page.locator("#pointed").textContent(), `${json.similarity[0][2].toFixed(2)}: 1. ${input[0]} / 3. ${input[2]}`);
  await page.locator("#nearest-part summary").click();
  const row = await page.locator("#nearest tr").first().locator("td").allTextContents();
  assert.deepEqual(row, ["1", input[0], `4. ${input[3]}`, "1.00"]);

  await tell(page, 3);
  await page.locator("#map-story").click();
  await page.locator("#draw").click();
  await page.getByText("5 sentences drawn.").waitFor();
  await page.locator("#reconstruct-story").click();
  assert.ok((await page.locator("#reconstruct-text").inputValue()).startsWith("Tom had a ball. He was happy. "));
});

browserTest("principal components are those of the vectors", async ({ page }) => {
  // Points on a plane in three dimensions: their distances stay.
  const plane = [[0, 0], [3, 0], [3, 1], [0, 2]];
  const vectors = plane.map(([x, y]) => [x * 0.6, x * 0.8, y]);
  const { points, shares } = await imported(page, "vectors.js", "({ principalComponents }, vectors) => principalComponents(vectors)", vectors);
  assert.ok(Math.abs(shares[0] + shares[1] - 1) < 1e-6, String(shares));
  assert.ok(shares[0] > shares[1]);
  for (const i of plane.keys()) {
    for (const j of plane.keys()) {
      const there = Math.hypot(plane[i][0] - plane[j][0], plane[i][1] - plane[j][1]);
      const here = Math.hypot(points[i][0] - points[j][0], points[i][1] - points[j][1]);
      assert.ok(Math.abs(there - here) < 1e-6, `${there} ${here}`);
    }
  }
});

browserTest("the model is chosen, and its defaults are shown", async ({ page }) => {
  const { json } = await ask(shared.server.address, "/v1/models");
  const field = page.locator("#setting-max_sentences");
  assert.equal(await field.getAttribute("placeholder"), String(json.data[0].generation.max_sentences));
  const temperature = json.data[0].generation.temperature;
  const placeholder = await page.locator("#setting-temperature").getAttribute("placeholder");
  assert.equal(placeholder, temperature === 0 ? "0 (greedy)" : String(Number(temperature.toPrecision(6))));
  await page.locator("#model").selectOption("tiny-causal");
  await set(page, { max_sentences: 2, ignore_eos: true });
  await page.locator("#prompt").fill("hello world. ");
  const [request] = await Promise.all([page.waitForRequest("**/v1/sessions"), page.locator("#start").click()]);
  assert.equal(request.postDataJSON().model, "tiny-causal");
  await page.getByText("Done: 2 sentences").waitFor();
  assert.equal((await texts(page)).length, 3);
  assert.equal((await page.locator("#counters dd").allTextContents())[1], "3 of 12");
});

browserTest("what is set is sent, and what is empty is not", async ({ page }) => {
  await set(page, { temperature: 0.7, guidance_scale: 1.5, top_p: 0.9, top_k: 40, min_p: 0.05, repetition_penalty: 1.1, dry_multiplier: 0.5, seed: 3, max_sentences: 2, max_tokens: 50, avoid_repeats: true });
  const first = page.waitForRequest("**/generate");
  await page.locator("#start").click();
  assert.deepEqual((await first).postDataJSON(), {
    temperature: 0.7,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.05,
    guidance_scale: 1.5,
    repetition_penalty: 1.1,
    dry_multiplier: 0.5,
    seed: 3,
    max_sentences: 2,
    max_tokens: 50,
    avoid_repeats: true,
  });
  await page.getByText("Seed 3.").waitFor();
  await page.getByRole("button", { name: "Back to defaults" }).click();
  await page.locator("#continue:enabled").waitFor();
  const second = page.waitForRequest("**/generate");
  await page.locator("#continue").click();
  assert.deepEqual((await second).postDataJSON(), {});
  await page.locator("#start:enabled").waitFor();
});

test("the page may load and send nothing elsewhere", async () => {
  const { page, watch, context } = await open(shared.browser, shared.server.address);
  watch.check();
  const policy = (await page.request.get(`${shared.server.address}/`)).headers()["content-security-policy"];
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; /);
  assert.doesNotMatch(policy, /unsafe|\*|http/);
  // The browser obeys it.
  const tried = await page.evaluate(async () => {
    const blocked = [];
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => blocked.push(effectiveDirective));
    await fetch("http://127.0.0.1:9/").catch(() => {});
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
    await new Promise((resolve) => setTimeout(resolve));
    return { blocked, ran: Boolean(window.ran) };
  });
  assert.deepEqual(tried, { blocked: ["connect-src", "script-src-elem"], ran: false });
  await context.close();
});
