// The React example of the package, built by Vite as its README says, on two pages that are two devices.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { build } from "vite";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { newHousehold } from "../js/tv.mjs";
import { WAIT_MS } from "../js/until.mjs";
import { launchBrowser, uncaught } from "./browser.mjs";

const EXAMPLE = join(PKG, "examples", "react");

/** Builds a copy of it. @param {import("node:test").TestContext} context @returns {Promise<string>} where it is */
async function built(context) {
  const folder = mkdtempSync(join(tmpdir(), "omega-react-example-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(EXAMPLE, folder, { recursive: true });
  // What `npm install` would bring.
  const require = createRequire(join(PKG, "package.json"));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(PKG, join(folder, "node_modules", "omega-sync"));
  for (const name of ["react", "react-dom"]) {
    const from = dirname(require.resolve(`${name}/package.json`));
    symlinkSync(from, join(folder, "node_modules", name));
  }
  await build({ root: folder, logLevel: "error" });
  return join(folder, "dist");
}

test("the React example shows on one device what another one adds", {
  timeout: 3 * WAIT_MS,
}, async (context) => {
  const edge = await Edge.start("--static", await built(context));
  context.after(() => edge.dispose());
  const browser = await launchBrowser();
  context.after(() => browser.close());
  const household = newHousehold();
  const errors = [];
  const pages = [];
  for (const device of ["tv-one", "tv-two"]) {
    // Pages of one origin would be two tabs of one device.
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(WAIT_MS);
    errors.push(uncaught(page));
    const words = new URLSearchParams({ device, token: edge.token(household, device) });
    await page.goto(`${edge.address}/#${words}`);
    await page.getByText("live", { exact: true }).waitFor();
    pages.push(page);
  }
  const [one, two] = pages;
  assert.ok(one && two);
  await one.getByRole("button", { name: "+ The Matrix" }).click();
  for (const page of pages) {
    await page.getByRole("button", { name: "✓ The Matrix", pressed: true }).waitFor();
    await page.getByRole("heading", { name: "Watchlist: 1" }).waitFor();
  }
  await two.getByRole("button", { name: "✓ The Matrix" }).click();
  for (const page of pages) {
    await page.getByRole("button", { name: "+ The Matrix", pressed: false }).waitFor();
  }
  assert.deepEqual(errors, [[], []]);
});
