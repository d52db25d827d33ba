// Which content security policy each engine needs, as docs/tv.md says it: no inline script and no eval of
// texts is ever needed, WebAssembly is named the way that the engine's age knows.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it, test } from "node:test";
import { ENGINES } from "./engines.mjs";
import { BUILDS, DOCUMENT, Stage } from "./matrix.mjs";
import { OLD_ENGINES, problemOf } from "./old.mjs";
import { runPage } from "./run.mjs";

/** Since then `'wasm-unsafe-eval'` is a word of its own. */
const CHROMIUM_WITH_WASM_WORD = 97;
/** Loaded machines are slow. */
const TIMEOUT_S = 60;
const SIDE_BY_SIDE = 2;

/** What a page allows beside scripts of its own: nothing, or to compile WebAssembly. */
const WORDS = { none: "", old: " 'unsafe-eval'", present: " 'wasm-unsafe-eval'" };
/** @typedef {keyof typeof WORDS} Word */

/**
 * @param {Word} word @param {string} server where the page may connect to
 * @param {import("./matrix.mjs").Build} build
 */
function policy(word, server, build) {
  const to = `${server} ${server.replace(/^http/, "ws")}`;
  const least = `default-src 'none'; script-src 'self'${WORDS[word]}; connect-src ${to}`;
  if (build !== "worker") return least;
  // The Worker is a text of the page's own; that page's `'self'` means nothing in it from `file://`.
  return `${least.replace("; connect-src", " file:; connect-src")}; worker-src blob:`;
}

/** @type {Stage} */
let stage;

before(async () => {
  stage = await Stage.open();
  for (const build of BUILDS) {
    for (const word of /** @type {Word[]} */ (Object.keys(WORDS))) {
      const rule = policy(word, stage.edge.address, build);
      const page = `<!doctype html><meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="${rule}">
        <script src="errors.js"></script><script src="omega-sync.js"></script>
        <script src="policy.js"></script>`;
      writeFileSync(join(stage.folder, "site", build, `policy-${word}.html`), page);
    }
  }
});
after(() => stage.close());

/** @param {string} engine @param {Word} word @param {import("./matrix.mjs").Build} build @param {"http" | "file"} way */
async function verdictOf(engine, word, build, way) {
  const device = "tv-policy";
  const { edge } = stage;
  const household = `home-${crypto.randomUUID()}`;
  const settings = { url: edge.address, device, token: edge.token(household, device) };
  const target = stage.address(engine, way, settings, `policy-${word}.html`, build);
  const { outcome, text } = await runPage({ engine, target, timeoutS: TIMEOUT_S });
  return `${outcome}: ${text}`;
}

describe("policies", { concurrency: SIDE_BY_SIDE }, () => {
  for (const { name, chromium } of ENGINES) {
    const knows = Number.parseInt(chromium, 10) >= CHROMIUM_WITH_WASM_WORD;
    it(`${name} compiles WebAssembly with ${knows ? WORDS.present : WORDS.old} alone`, async () => {
      const needed = knows ? "present" : "old";
      for (const way of /** @type {const} */ (["http", "file"]))
        assert.equal(await verdictOf(name, needed, "iife", way), "pass: PASS synced");
      for (const way of /** @type {const} */ (["http", "file"]))
        assert.equal(await verdictOf(name, needed, "worker", way), "pass: PASS synced");
      assert.equal(await verdictOf(name, "none", "iife", "http"), "fail: FAIL wasm_failed");
      if (knows) return;
      assert.equal(await verdictOf(name, "present", "iife", "http"), "fail: FAIL wasm_failed");
    });
  }

  for (const engine of [...OLD_ENGINES, ...ENGINES.slice(-1)]) {
    const skip = (OLD_ENGINES.includes(engine) && problemOf(engine)) || false;
    it(`${engine.name} runs the build without WebAssembly under the strictest policy`, {
      skip,
    }, async () => {
      for (const way of /** @type {const} */ (["http", "file"]))
        assert.equal(await verdictOf(engine.name, "none", "nowasm", way), "pass: PASS synced");
    });
  }
});

test("docs/tv.md has these very policies", () => {
  const text = readFileSync(DOCUMENT, "utf8");
  for (const word of /** @type {Word[]} */ (Object.keys(WORDS))) {
    for (const build of word === "none" ? [] : /** @type {const} */ (["iife", "worker"])) {
      const rule = policy(word, "https://sync.example", build);
      assert.ok(text.includes(rule), rule);
    }
  }
  assert.ok(text.includes(policy("none", "https://sync.example", "nowasm")));
});
