// The golden messages of patterns on the oldest engine with WebAssembly: the codec that the measurement
// `patterns` uses, compiled like the package's own module, decodes them to the bits of the file.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { PATTERNS_END, ROOT } from "../../scripts/paths.mjs";
import { ENGINES } from "./engines.mjs";
import { runPage } from "./run.mjs";

const MODULE = join(PATTERNS_END, "omega_sync_patterns_bg");
const GOLDEN = join(ROOT, "tests", "vectors", "patterns", "golden.txt");
/** Loaded machines are slow. */
const TIMEOUT_S = 60;
const MESSAGES = 4;

let folder = "";

before(() => {
  const made = spawnSync(process.execPath, [join(ROOT, "scripts", "patterns.mjs"), "--module"], {
    encoding: "utf8",
  });
  assert.equal(made.status, 0, made.stderr + made.stdout);
  folder = mkdtempSync(join(tmpdir(), "omega-golden-"));
  writeGlue();
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** The codec's glue, with a function more: it makes its views of memory anew. */
function writeGlue() {
  const glue = readFileSync(`${MODULE}.js`, "utf8");
  const views = Array.from(glue.matchAll(/^let (cached\w+Memory0) = null;$/gm), ([, name]) => name);
  assert.ok(views.length > 0, "the glue keeps views of memory");
  const forget = views.map((name) => `${name} = null;`).join(" ");
  writeFileSync(join(folder, "glue.js"), `${glue}\nexport function forgetViews() { ${forget} }\n`);
}

/** A page that decodes the lines of a golden file. @param {string} name @param {string} golden */
async function page(name, golden) {
  const base64 = (/** @type {string} */ path) => readFileSync(path).toString("base64");
  const data = JSON.stringify({
    wasm: base64(`${MODULE}.wasm`),
    tables: base64(join(ROOT, "core", "tables", "default.bin")),
    lines: golden.trimEnd().split("\n"),
  });
  await build({
    stdin: {
      contents: `import * as glue from ${JSON.stringify(join(folder, "glue.js"))};
        import { decodeGolden } from "./golden.js";
        decodeGolden(glue, ${data});`,
      resolveDir: join(ROOT, "tests", "engines", "pages"),
    },
    bundle: true,
    format: "iife",
    target: "chrome63",
    outfile: join(folder, `${name}.js`),
  });
  const file = join(folder, `${name}.html`);
  writeFileSync(file, `<!doctype html><meta charset="utf-8"><script src="${name}.js"></script>`);
  return file;
}

test("the oldest engine decodes the golden file to the same bits, and notices one that differs", async () => {
  const [oldest] = ENGINES;
  assert.ok(oldest);
  const golden = readFileSync(GOLDEN, "utf8");
  const verdict = async (/** @type {string} */ name, /** @type {string} */ text) => {
    const target = await page(name, text);
    return runPage({ engine: oldest.name, target, timeoutS: TIMEOUT_S });
  };
  const same = await verdict("same", golden);
  assert.deepEqual(same, { outcome: "pass", text: `PASS ${MESSAGES} messages, 20 patterns` });
  const changed = golden.trimEnd().replace(/.$/, (last) => (last === "0" ? "1" : "0"));
  assert.equal((await verdict("changed", changed)).outcome, "fail");
});
