// The runner itself, on the oldest engine: a runner that cannot fail would prove nothing.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { engine, TESTED } from "./engines.mjs";
import { runPage } from "./run.mjs";

const folder = mkdtempSync(join(tmpdir(), "omega-runner-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** @param {string} script */
function page(script) {
  const file = join(folder, `${crypto.randomUUID()}.html`);
  writeFileSync(file, `<!doctype html><title>open</title><script>${script}</script>`);
  return file;
}

test("each engine is the version it is said to be", async () => {
  for (const name of TESTED) {
    const target = page(`document.title = "PASS " + navigator.userAgent`);
    const { outcome, text } = await runPage({ engine: name, target });
    assert.equal(outcome, "pass", text);
    assert.ok(text.includes(`/${engine(name).chromium}.`), text);
  }
});

test("a page that says FAIL fails, and its console is heard", async () => {
  /** @type {string[]} */
  const lines = [];
  const target = page(
    `console.log("seen", 3); window.__result = "FAIL wrong"; throw new Error("x")`,
  );
  const verdict = await runPage({ engine: "m64", target, log: (line) => lines.push(line) });
  assert.deepEqual(verdict, { outcome: "fail", text: "FAIL wrong" });
  assert.ok(lines.includes("[log] seen 3"), lines.join("\n"));
  assert.ok(
    lines.some((line) => line.startsWith("[exception] Error: x")),
    lines.join("\n"),
  );
});

test("a page that says nothing, hangs or is not there has no verdict", async () => {
  for (const script of ["", "for (;;) {}"]) {
    const verdict = await runPage({ engine: "m64", target: page(script), timeoutS: 2 });
    assert.equal(verdict.outcome, "none");
  }
  const verdict = await runPage({ engine: "m64", target: join(folder, "missing.html") });
  assert.equal(verdict.outcome, "none");
  assert.match(verdict.text, /ERR_FILE_NOT_FOUND/);
});

test("a kept profile keeps what the page stored", async () => {
  const profile = join(folder, "profile");
  const count = `
    localStorage.runs = Number(localStorage.runs || 0) + 1;
    document.title = "PASS " + localStorage.runs;`;
  const file = page(count);
  for (const runs of [1, 2]) {
    const { text } = await runPage({ engine: "m64", target: file, profile });
    assert.equal(text, `PASS ${runs}`);
  }
});
