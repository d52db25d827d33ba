// The runner itself, on the oldest engines with WebAssembly and without: a runner that cannot fail would
// prove nothing.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ENGINES } from "./engines.mjs";
import { OLD_ENGINES, problemOf } from "./old.mjs";
import { runPage } from "./run.mjs";

const folder = mkdtempSync(join(tmpdir(), "omega-runner-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** @param {string} script */
function page(script) {
  const file = join(folder, `${crypto.randomUUID()}.html`);
  writeFileSync(file, `<!doctype html><title>open</title><script>${script}</script>`);
  return file;
}

for (const { name, chromium } of [...OLD_ENGINES, ...ENGINES]) {
  const old = OLD_ENGINES.find((one) => one.name === name);
  const skip = (old && problemOf(old)) ?? false;
  test(`${name} is the version it is said to be`, { skip }, async () => {
    const target = page(`document.title = "PASS " + navigator.userAgent`);
    const { outcome, text } = await runPage({ engine: name, target });
    assert.equal(outcome, "pass", text);
    assert.ok(text.includes(`/${chromium}.`), text);
  });
}

/** The oldest engine of each kind. */
const OLDEST = [
  { name: "m64", skip: false },
  ...OLD_ENGINES.filter(({ name }) => name === "m53").map((old) => ({
    name: old.name,
    skip: problemOf(old) ?? false,
  })),
];

for (const { name, skip } of OLDEST) {
  test(`${name}: a page that says FAIL fails, and its console is heard`, { skip }, async () => {
    /** @type {string[]} */
    const lines = [];
    const target = page(
      `console.log("seen " + 3); window.__result = "FAIL wrong"; throw new Error("x")`,
    );
    const verdict = await runPage({ engine: name, target, log: (line) => lines.push(line) });
    assert.deepEqual(verdict, { outcome: "fail", text: "FAIL wrong" });
    assert.ok(lines.includes("[log] seen 3"), lines.join("\n"));
    assert.ok(
      lines.some((line) => /^\[exception\] (Uncaught )?Error: x/.test(line)),
      lines.join("\n"),
    );
  });

  test(`${name}: a page that says nothing, hangs or is not there has no verdict`, {
    skip,
  }, async () => {
    for (const script of ["", "for (;;) {}"]) {
      const verdict = await runPage({ engine: name, target: page(script), timeoutS: 2 });
      assert.deepEqual(verdict, { outcome: "none", text: "TIMEOUT after 2 s" });
    }
    const verdict = await runPage({ engine: name, target: join(folder, "missing.html") });
    assert.equal(verdict.outcome, "none");
    assert.match(verdict.text, /ERR_FILE_NOT_FOUND|LOAD ERROR/);
  });

  test(`${name}: a kept profile keeps what the page stored`, { skip }, async () => {
    const profile = join(folder, `profile-${name}`);
    const count = `
      localStorage.runs = Number(localStorage.runs || 0) + 1;
      document.title = "PASS " + localStorage.runs;`;
    const file = page(count);
    for (const runs of [1, 2]) {
      const { text } = await runPage({ engine: name, target: file, profile });
      assert.equal(text, `PASS ${runs}`);
    }
  });

  test(`${name}: a power cut ends the engine at the line that asks for it`, { skip }, async () => {
    const target = page(`let n = 0; setInterval(() => console.log("line " + ++n), 10)`);
    /** @type {string[]} */
    const lines = [];
    const verdict = await runPage({
      engine: name,
      target,
      log: (line) => lines.push(line),
      killAt: (line) => line.endsWith("line 3"),
    });
    assert.deepEqual(verdict, { outcome: "killed", text: "[log] line 3" });
    assert.ok(lines.includes("[log] line 3"));
  });
}
