// Which content security policy each engine needs, as docs/tv.md says it: no inline script and no eval of
// texts is ever needed, WebAssembly is named the way that the engine's age knows.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, it, test } from "node:test";
import { PKG } from "../../scripts/paths.mjs";
import { ENGINES } from "./engines.mjs";
import { DOCUMENT, Stage } from "./matrix.mjs";
import { OLD_ENGINES, problemOf } from "./old.mjs";
import { runPage } from "./run.mjs";

/** Since then `'wasm-unsafe-eval'` is a word of its own. */
const CHROMIUM_WITH_WASM_WORD = 97;
/** Loaded machines are slow. */
const TIMEOUT_S = 60;
const SIDE_BY_SIDE = 2;
/** What the documents call the server. */
const EXAMPLE_SERVER = "https://sync.example";
/** Tizen's own, beside the page's: "A trap of Tizen" in docs/tv.md. */
const TIZEN_OWN = "default-src *; script-src 'self'; style-src 'self'; object-src 'none';";
const SYNCED = "pass: PASS synced";
const REFUSED = "fail: FAIL wasm_failed";

/** What a page allows beside scripts of its own: nothing, or to compile WebAssembly. */
const WORDS = { none: "", old: " 'unsafe-eval'", present: " 'wasm-unsafe-eval'" };
/** @typedef {keyof typeof WORDS} Word @typedef {import("./matrix.mjs").Build} Build */

/** @param {string} engine @returns {boolean} */
function knowsWasmWord(engine) {
  const chromium = ENGINES.find(({ name }) => name === engine)?.chromium ?? "";
  return Number.parseInt(chromium, 10) >= CHROMIUM_WITH_WASM_WORD;
}

/** What that engine needs. @param {string} engine @returns {Word} */
function wordOf(engine) {
  return knowsWasmWord(engine) ? "present" : "old";
}

/** @param {Word} word @param {string} server where the page may connect to @param {Build} build */
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
});
after(() => stage.close());

/** Pages so far: each has a name of its own. */
let pages = 0;

/**
 * A page with these policies, all of which hold, in one engine.
 * @param {string} engine @param {string[]} policies @param {Build} build @param {"http" | "file"} way
 * @param {(target: string) => string} [elsewhere] another server's address of the page
 */
async function verdictUnder(engine, policies, build, way, elsewhere = (target) => target) {
  pages += 1;
  const file = `policy-${pages}.html`;
  const metas = policies.map(
    (rule) => `<meta http-equiv="Content-Security-Policy" content="${rule}">`,
  );
  const scripts = ["errors.js", "omega-sync.js", "policy.js"].map(
    (name) => `<script src="${name}"></script>`,
  );
  const page = ['<!doctype html><meta charset="utf-8">', ...metas, ...scripts].join("\n");
  writeFileSync(join(stage.folder, "site", build, file), page);
  const device = "tv-policy";
  const { edge } = stage;
  const household = `home-${crypto.randomUUID()}`;
  const settings = { url: edge.address, device, token: edge.token(household, device) };
  const target = elsewhere(stage.address(engine, way, settings, file, build));
  const { outcome, text } = await runPage({ engine, target, timeoutS: TIMEOUT_S });
  return `${outcome}: ${text}`;
}

/** @param {string} engine @param {Word} word @param {Build} build @param {"http" | "file"} way */
function verdictOf(engine, word, build, way) {
  return verdictUnder(engine, [policy(word, stage.edge.address, build)], build, way);
}

/** Why an engine can't run here, if so. @param {import("./engines.mjs").Engine} engine */
function skipOf(engine) {
  return (OLD_ENGINES.includes(engine) && problemOf(engine)) || false;
}

describe("policies", { concurrency: SIDE_BY_SIDE }, () => {
  for (const { name } of ENGINES) {
    const needed = wordOf(name);
    it(`${name} compiles WebAssembly with ${WORDS[needed]} alone`, async () => {
      for (const build of /** @type {const} */ (["iife", "worker"])) {
        for (const way of /** @type {const} */ (["http", "file"]))
          assert.equal(await verdictOf(name, needed, build, way), SYNCED);
      }
      assert.equal(await verdictOf(name, "none", "iife", "http"), REFUSED);
      if (needed === "present") return;
      assert.equal(await verdictOf(name, "present", "iife", "http"), REFUSED);
    });
  }

  for (const engine of [...OLD_ENGINES, ...ENGINES.slice(-1)]) {
    it(`${engine.name} runs the build without WebAssembly under the strictest policy`, {
      skip: skipOf(engine),
    }, async () => {
      for (const way of /** @type {const} */ (["http", "file"]))
        assert.equal(await verdictOf(engine.name, "none", "nowasm", way), SYNCED);
    });
  }

  for (const engine of ["m64", "m119"]) {
    it(`${engine}: the same policy as a header`, async () => {
      const needed = wordOf(engine);
      for (const build of /** @type {const} */ (["iife", "worker"])) {
        const rule = policy(needed, stage.edge.address, build);
        assert.equal(await verdictWithHeader(engine, rule, build), SYNCED);
      }
      const without = policy("none", stage.edge.address, "iife");
      assert.equal(await verdictWithHeader(engine, without, "iife"), REFUSED);
    });

    it(`${engine}: Tizen's own policy forbids WebAssembly, one in config.xml allows it`, async () => {
      const { address } = stage.edge;
      const both = [TIZEN_OWN, policy(wordOf(engine), address, "iife")];
      assert.equal(await verdictUnder(engine, both, "iife", "file"), REFUSED);
      const strict = [TIZEN_OWN, policy("none", address, "nowasm")];
      assert.equal(await verdictUnder(engine, strict, "nowasm", "file"), SYNCED);
      const named = [tizenElement(address), policy(wordOf(engine), address, "iife")];
      assert.equal(await verdictUnder(engine, named, "iife", "file"), SYNCED);
    });
  }

  for (const engine of OLD_ENGINES.filter(({ name }) => name === "m56")) {
    it("m56 runs the build without WebAssembly under Tizen's own policy", {
      skip: skipOf(engine),
    }, async () => {
      const both = [TIZEN_OWN, policy("none", stage.edge.address, "nowasm")];
      assert.equal(await verdictUnder(engine.name, both, "nowasm", "file"), SYNCED);
    });
  }

  it("a Worker without what its policy needs is one in the page", async () => {
    /** @param {string} engine @param {string} missing */
    const without = (engine, missing) => {
      const whole = policy(wordOf(engine), stage.edge.address, "worker");
      const rule = whole.replace(missing, "");
      assert.notEqual(rule, whole);
      return verdictUnder(engine, [rule], "worker", "file");
    };
    assert.equal(await without("m79", " file:"), `${SYNCED}, in the page`);
    assert.equal(await without("m85", " file:"), SYNCED);
    for (const engine of ["m79", "m119"])
      assert.equal(await without(engine, "; worker-src blob:"), `${SYNCED}, in the page`);
  });
});

/** From a server that sends it. @param {string} engine @param {string} rule @param {Build} build */
async function verdictWithHeader(engine, rule, build) {
  const { edge } = stage;
  const server = createServer(async (request, response) => {
    const answer = await fetch(edge.address + request.url);
    const type = answer.headers.get("content-type") ?? "";
    response.writeHead(answer.status, { "Content-Type": type, "Content-Security-Policy": rule });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  try {
    return await verdictUnder(engine, [], build, "http", (target) =>
      target.replace(edge.address, `http://127.0.0.1:${port}`),
    );
  } finally {
    server.close();
  }
}

/** The policy that docs/tv.md names for config.xml. @param {string} server */
function tizenElement(server) {
  const element = /<tizen:content-security-policy>(.*?)<\/tizen:content-security-policy>/;
  const written = element.exec(readFileSync(DOCUMENT, "utf8"));
  assert.ok(written, "docs/tv.md has no such element");
  const config = readFileSync(join(PKG, "examples", "tv", "config.xml"), "utf8");
  assert.equal(element.exec(config)?.[0], written[0], "config.xml of the example");
  const [, rule = ""] = written;
  return rule
    .replace(EXAMPLE_SERVER, server)
    .replace(EXAMPLE_SERVER.replace(/^http/, "ws"), server.replace(/^http/, "ws"));
}

test("docs/tv.md has these very policies, and the engines that they were tried on", () => {
  const text = readFileSync(DOCUMENT, "utf8");
  for (const word of /** @type {Word[]} */ (["old", "present"])) {
    for (const build of /** @type {const} */ (["iife", "worker"])) {
      const rule = policy(word, EXAMPLE_SERVER, build);
      assert.ok(text.includes(`\`${rule}\``), rule);
    }
  }
  assert.ok(text.includes(policy("none", EXAMPLE_SERVER, "nowasm")));
  assert.ok(text.includes(TIZEN_OWN));

  /** @param {string} row what it begins with @returns {string} */
  const tried = (row) => text.split(`| ${row} (tried: `)[1]?.split(")")[0] ?? "";
  /** @param {import("./engines.mjs").Engine[]} engines */
  const versions = (engines) =>
    engines.map(({ chromium }) => Number.parseInt(chromium, 10)).join(", ");
  const present = ENGINES.filter(({ name }) => knowsWasmWord(name));
  const before = ENGINES.filter(({ name }) => !knowsWasmWord(name));
  assert.equal(tried("before Chromium 97"), versions(before));
  assert.equal(tried("from Chromium 97 on"), versions(present));
  const last = ENGINES.slice(-1);
  const nowasm = tried("any, with `omega-sync.nowasm.js`");
  assert.equal(nowasm, versions([...OLD_ENGINES, ...last]));
});
