// No entry of the package costs more than its budget; see `npm run bench -- size`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { budget } from "../bench/size/budget.mjs";
import { ENTRY_NAMES, measureEntries } from "../bench/size/entries.mjs";

test("every entry is within its size budget", async () => {
  const allowed = budget();
  assert.deepEqual(
    Object.keys(allowed).sort(),
    ENTRY_NAMES.toSorted(),
    "an entry without a budget",
  );
  for (const [name, { brotli, files }] of await measureEntries(ENTRY_NAMES)) {
    const most = allowed[name] ?? 0;
    const fetched = files.map((file) => `${file.path} ${file.brotli}`).join(", ");
    assert.ok(
      brotli <= most,
      `${name}: ${brotli} bytes of ${most} (${fetched}); make it smaller, or say why it grew and ` +
        "write a new budget: npm run bench -- size --write",
    );
  }
});
