// What `npm run bench -- size` says, and that no entry of the package costs more than its budget.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../../scripts/paths.mjs";
import { budget } from "../bench/size/budget.mjs";

/** Entries, in the order that CONTRIBUTING.md says. */
const NAMES = ["default", "patterns", "inline", "iife", "patterns-iife", "worker", "nowasm"];
/** The most that brotli could make of a script. */
const RATIO_MAX = 10;

test("the measurement is one JSON object, and every entry is within its size budget", () => {
  const program = join(ROOT, "tests", "bench", "size.mjs");
  const { stdout, stderr, status } = spawnSync(process.execPath, [program], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines.length, 1, stdout);
  const result = JSON.parse(/** @type {string} */ (lines[0]));
  assert.deepEqual(Object.keys(result), NAMES);
  const allowed = budget();
  assert.deepEqual(Object.keys(allowed), NAMES, "an entry without a budget");
  for (const name of NAMES) {
    const { raw, brotli, ...more } = result[name];
    assert.deepEqual(more, {});
    assert.ok(Number.isInteger(raw) && Number.isInteger(brotli), name);
    assert.ok(brotli > 0 && raw > brotli && raw < RATIO_MAX * brotli, `${name}: ${raw} ${brotli}`);
    const most = allowed[name] ?? 0;
    assert.ok(
      brotli <= most,
      `${name}: ${brotli} bytes of ${most}; make it smaller, or say why it grew and write a new ` +
        `budget: npm run bench -- size --write\n${stderr}`,
    );
  }
});
