// The golden messages of patterns, decoded by the second decoder, which is Python without packages.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../../scripts/paths.mjs";

const TABLES = join(ROOT, "core", "tables", "default.bin");
const GOLDEN = join(ROOT, "tests", "vectors", "patterns", "golden.txt");

/** @param {string} golden */
function decode(golden) {
  const program = join(ROOT, "tests", "decoder", "patterns", "golden.py");
  return spawnSync("python3", [program, TABLES, golden], { encoding: "utf8" });
}

test("the Python decoder gets the same bits, and notices one that differs", () => {
  const { status, stdout, stderr } = decode(GOLDEN);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^4 messages, 20 patterns: the same bits/);

  const folder = mkdtempSync(join(tmpdir(), "omega-golden-"));
  try {
    const text = readFileSync(GOLDEN, "utf8").trimEnd();
    const last = text.endsWith("0") ? "1" : "0";
    const changed = join(folder, "golden.txt");
    writeFileSync(changed, text.slice(0, -1) + last);
    assert.notEqual(decode(changed).status, 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
