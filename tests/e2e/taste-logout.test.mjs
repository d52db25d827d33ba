// Logout with taste in a real browser: all three databases are empty, in whatever way it was done.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { titles } from "../js/titles.mjs";
import { newHousehold } from "../js/tv.mjs";
import { openBrowser, uncaught } from "./browser.mjs";
import { left } from "./left.mjs";
import { TEST_MS_MAX } from "./tabs.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

const PAGE = `<!doctype html>
<link rel="icon" href="data:,">
<script type="module">
  import * as entry from "./package/patterns.js";
  window.wipe = entry.wipe;
  window.reopen = async (token) => {
    window.client = await entry.open({ url: location.origin, device: "tv", token: async () => token });
  };
</script>`;

/** A page that is hidden draws nothing, so it is asked by the clock. */
const POLLING = { polling: 50 };
const ERASED = "client.status().closeReason === 'destroyed'";

/** Teaches it. @param {Page} page */
async function learn(page) {
  await page.evaluate(
    async (known) => {
      const client = Reflect.get(window, "client");
      await client.taste.learnTitles(known);
      await client.taste.record({ content: "Drama:1", watched: 1 });
    },
    titles("Drama", 1, 0, 3),
  );
}

/** @param {Page} page @param {string} script @returns {Promise<string>} "done", or the error's code */
function saidOf(page, script) {
  return page.evaluate(`(async () => ${script})().then(() => "done", ({ code }) => code)`);
}

test("destroy in any order, and wipe, leave nothing of household or taste", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const site = mkdtempSync(join(tmpdir(), "omega-taste-"));
  context.after(() => rmSync(site, { recursive: true, force: true }));
  cpSync(join(PKG, "dist"), join(site, "package"), { recursive: true });
  writeFileSync(join(site, "index.html"), PAGE);
  const edge = await Edge.start("--static", site);
  context.after(() => edge.dispose());
  const browser = await openBrowser(context);
  const token = edge.token(newHousehold(), "tv");
  const [first, second] = [
    browser.pages()[0] ?? (await browser.newPage()),
    await browser.newPage(),
  ];
  const errors = [uncaught(first), uncaught(second)];
  for (const page of [first, second]) {
    await page.goto(`${edge.address}/`);
    await page.waitForFunction("window.reopen !== undefined", undefined, POLLING);
  }
  const logouts = [
    "client.destroy()",
    "client.close().then(() => client.destroy())",
    "Promise.all([client.destroy(), client.close()])",
    `wipe({ device: "tv" })`,
  ];
  for (const logout of logouts) {
    for (const page of [first, second]) await page.evaluate(`reopen(${JSON.stringify(token)})`);
    await learn(first);
    assert.notEqual(await left(first), 0);
    assert.equal(await saidOf(first, logout), "done", logout);
    for (const page of [second, first]) {
      await page.waitForFunction(ERASED, undefined, POLLING);
      assert.equal(await saidOf(page, "client.taste.patterns()"), "destroyed", logout);
      assert.equal(await saidOf(page, "client.destroy()"), "done", logout);
      assert.equal(await saidOf(page, "client.close()"), "done", logout);
    }
    assert.equal(await left(first), 0, logout);
  }
  assert.equal(await saidOf(first, `wipe({ device: "nobody" })`), "done");
  const names = "indexedDB.databases().then((all) => all.map(({ name }) => name).join())";
  assert.doesNotMatch(await first.evaluate(names), /nobody/);
  await first.evaluate(`reopen(${JSON.stringify(token)})`);
  assert.deepEqual(await first.evaluate("client.taste.patterns()"), []);
  assert.deepEqual(errors, [[], []]);
});
