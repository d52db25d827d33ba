// The README's example as a newcomer would run it: an ES module in a browser, with the package's
// files beside it and nothing configured.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { transform } from "esbuild";
import { PKG, ROOT } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { openBrowser, uncaught } from "./browser.mjs";

/** Lines a newcomer reads before giving up. */
const LINES_MAX = 15;

const PAGE = `<!doctype html>
<link rel="icon" href="data:,">
<script type="importmap">{ "imports": { "omega-sync": "/omega-sync/index.js" } }</script>
<script type="module" src="example.js"></script>`;

/** The first example of a document. @param {string} file */
function exampleOf(file) {
  const [, example = ""] = /^```ts\n(.*?)^```$/ms.exec(readFileSync(file, "utf8")) ?? [];
  return example;
}

test("the README's example runs, and another TV sees what it does", async (context) => {
  const example = exampleOf(join(ROOT, "README.md"));
  assert.notEqual(example, "");
  assert.ok(example.trimEnd().split("\n").length <= LINES_MAX, "the example has grown too long");
  const site = mkdtempSync(join(tmpdir(), "omega-readme-"));
  context.after(() => rmSync(site, { recursive: true, force: true }));
  mkdirSync(join(site, "omega-sync"));
  cpSync(join(PKG, "dist"), join(site, "omega-sync"), { recursive: true });
  const { code } = await transform(example, { loader: "ts" });
  writeFileSync(join(site, "example.js"), code);
  writeFileSync(join(site, "index.html"), PAGE);

  const edge = await Edge.start("--dev", "--static", site);
  context.after(() => edge.dispose());
  const browser = await openBrowser(context);
  const page = browser.pages()[0] ?? (await browser.newPage());
  const errors = uncaught(page);
  const done = page.waitForEvent("console", (message) => message.text() === "754 live");
  await page.goto(edge.address);
  await done;
  assert.deepEqual(errors, []);

  const other = await openTv(context, edge, "home", "tv-bedroom");
  await eventually(other, "the title", () => other.watchlist.has("tmdb:603"));
  await eventually(other, "the position", () => other.progress.resume("tmdb:603") === 754);
});
