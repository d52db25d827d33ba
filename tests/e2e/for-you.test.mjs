// The row "For you" of the demo: learned on the TV from what was watched there, also without a server.
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DEMO_DIST } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { filesKept, openBrowser, uncaught } from "./browser.mjs";

/** The first of all titles, an action film of 152 minutes. */
const WATCHED = "the-dark-knight";
/** Steps of five minutes, enough to reach its end. */
const STEPS_TO_THE_END = 31;

test("a film that was watched to its end fills the row, with a reason", async (context) => {
  const edge = await Edge.start("--dev", "--static", DEMO_DIST);
  context.after(() => edge.dispose());
  const browser = await openBrowser(context);
  const page = browser.pages()[0] ?? (await browser.newPage());
  const errors = uncaught(page);
  await page.bringToFront();
  await page.goto(`${edge.address}/tv.html?device=tv-living`);
  await page.getByTestId(`tile-${WATCHED}`).waitFor();
  const row = page.getByTestId("row-foryou");
  assert.ok(await row.isHidden(), "nothing is known yet");

  const press = async (/** @type {string[]} */ ...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await press("Enter");
  await page.getByTestId("details").waitFor();
  await press("Enter");
  await page.getByTestId("player").waitFor();
  await press(...Array.from({ length: STEPS_TO_THE_END }, () => "ArrowRight"));
  // It ends by itself.
  await page.getByTestId("details").waitFor();
  await press("Backspace");
  await row.locator(".tile").first().waitFor();
  const tiles = () =>
    row.locator(".tile").evaluateAll((all) => all.map((tile) => tile.textContent));
  const shown = await tiles();
  assert.ok(shown.length >= 4, `${shown.length} titles`);
  for (const text of shown) {
    assert.match(text ?? "", /(Because you watched The Dark Knight|Close to what you like)$/);
  }
  const because = shown.filter((text) => text?.endsWith("Because you watched The Dark Knight"));
  assert.ok(because.length >= 2, shown.join());
  assert.equal(await row.getByTestId(`tile-${WATCHED}`).count(), 0, "not what was watched");
  const picture = join(mkdtempSync(join(tmpdir(), "omega-pictures-")), "for-you.png");
  await page.screenshot({ path: picture });
  context.diagnostic(`picture: ${picture}`);

  await filesKept(page.mainFrame());
  await edge.kill();
  await page.reload();
  await row.locator(".tile").first().waitFor();
  assert.deepEqual(await tiles(), shown, "from this TV's storage, in the same order");
  await press("ArrowUp", "Enter");
  await page.getByTestId("details").waitFor();
  assert.deepEqual(errors, []);
});
