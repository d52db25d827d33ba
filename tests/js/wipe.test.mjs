// Erasing by name where there is nothing to erase; `tests/e2e/logout.test.mjs` does it in a browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { wipe } from "omega-sync";
import { codeOf } from "./tv.mjs";

test("without IndexedDB there is nothing to erase", async () => {
  await wipe({ device: "tv" });
  await wipe({ name: "ours" });
});

test("without a name nothing is erased, and it says so", async () => {
  for (const wrong of [{}, { device: undefined }, { device: "" }, { device: 5 }, { name: "" }]) {
    await assert.rejects(
      wipe(/** @type {any} */ (wrong)),
      (error) => codeOf(error) === "invalid_option",
      JSON.stringify(wrong),
    );
  }
});
