// The single-file build on old TV engines, as a packaged app (file://) and over http, against the
// real server: open, write, sync with another TV, and start again from IndexedDB without a server.
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PKG } from "../../scripts/paths.mjs";
import { Edge, freePort } from "../js/edge.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { TESTED } from "./engines.mjs";
import { runPage } from "./run.mjs";

const PAGES = fileURLToPath(new URL("pages/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "omega-engines-"));
const site = join(folder, "site");
/** @type {Edge} */
let edge;

before(async () => {
  mkdirSync(site);
  for (const name of ["household.html", "household.js"])
    copyFileSync(PAGES + name, join(site, name));
  copyFileSync(join(PKG, "dist", "omega-sync.iife.js"), join(site, "omega-sync.iife.js"));
  edge = await Edge.start("--static", site);
});
after(async () => {
  await edge.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** @param {object} settings */
function writeSettings(settings) {
  writeFileSync(join(site, "settings.js"), `window.settings = ${JSON.stringify(settings)};\n`);
}

/**
 * @param {import("node:test").TestContext} context
 * @param {string} engine @param {string} target @param {boolean} fileAccess
 */
async function visitTwice(context, engine, target, fileAccess) {
  const household = newHousehold();
  const device = "tv-old";
  const settings = { device, household, token: edge.token(household, device) };
  const profile = mkdtempSync(join(folder, "profile-"));
  /** @type {string[]} */
  const lines = [];
  const visit = async () => {
    const log = (/** @type {string} */ line) => lines.push(line);
    const verdict = await runPage({ engine, target, fileAccess, profile, log });
    assert.equal(verdict.outcome, "pass", [verdict.text, ...lines].join("\n"));
    return verdict.text;
  };

  const other = await openTv(context, edge, household, "tv-new");
  const answered = eventually(other, "the old TV's title", () => other.watchlist.has("tmdb:603"))
    .then(() => eventually(other, "its progress", () => other.progress.resume("tmdb:603") === 754))
    .then(() => other.watchlist.add("tmdb:answer"));
  writeSettings({ ...settings, url: edge.address, visit: 1 });
  const [first] = await Promise.all([visit(), answered]);

  const nowhere = `http://127.0.0.1:${await freePort()}`;
  writeSettings({ ...settings, url: nowhere, visit: 2 });
  const second = await visit();
  assert.equal(second, first, "the same replica");
}

for (const engine of TESTED) {
  test(`${engine} from file://`, async (context) => {
    await visitTwice(context, engine, join(site, "household.html"), false);
  });

  test(`${engine} from file:// with file access`, async (context) => {
    await visitTwice(context, engine, join(site, "household.html"), true);
  });

  test(`${engine} over http`, async (context) => {
    await visitTwice(context, engine, `${edge.address}/household.html`, false);
  });
}
