// `omega-sync/react` in Chromium, with the newest React and the oldest one it is for, on the real server:
// what a change of another device draws again is counted.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { PKG, ROOT } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { WAIT_MS } from "../js/until.mjs";
import { launchBrowser, uncaught } from "./browser.mjs";

/** Each part of the screen counts how often it is drawn, and keeps what its hook gave. */
const APP = `
  import { createElement as h, memo } from "react";
  import { createRoot } from "react-dom/client";
  import { open } from "omega-sync/inline";
  import * as sync from "omega-sync/react";

  const counts = {};
  const shown = {};
  function draw(name, value) {
    counts[name] = (counts[name] ?? 0) + 1;
    shown[name] = value;
    return h("p", { "data-testid": name }, JSON.stringify(value) ?? "nothing");
  }
  const part = (name, hook) => memo(() => draw(name, hook()));
  const parts = [
    part("watchlist", () => sync.useWatchlist()),
    part("listed one", () => sync.useOnWatchlist("one")),
    part("listed two", () => sync.useOnWatchlist("two")),
    part("progress one", () => sync.useProgress("one")),
    part("progress two", () => sync.useProgress("two")),
    part("completed", () => sync.useCompleted()),
    part("profiles", () => sync.useProfiles()),
    part("devices", () => sync.useDevices()),
    part("rejected", () => sync.useRejected()),
    part("state", () => sync.useStatus(({ state }) => state)),
    part("client", () => sync.useClient().constructor.name.length),
  ];
  const Row = memo(({ progress }) => draw("row " + progress.content, progress));
  const Rows = memo(() => {
    const list = sync.useInProgress();
    const rows = list.map((progress) => h(Row, { key: progress.content, progress }));
    return h("div", null, draw("rows", list), rows);
  });
  const Kids = memo(({ profile }) => draw("kids", sync.useWatchlist(profile)));

  window.counts = counts;
  window.shown = shown;
  window.begin = async (url, device, token) => {
    window.client = await open({ url, device, token: async () => token, storage: "memory" });
    const root = createRoot(document.getElementById("root"));
    window.draw = (kids) =>
      root.render(
        h(sync.OmegaSyncProvider, { client: window.client },
          ...parts.map((Part, at) => h(Part, { key: at })), h(Rows),
          kids === undefined ? null : h(Kids, { profile: kids })),
      );
    window.draw();
  };`;

/** Where each React is: the package is built with the newest, the tests bring the oldest. */
const REACTS = [
  { name: "18", from: join(ROOT, "tests", "package.json") },
  { name: "19", from: join(PKG, "package.json") },
];

const site = mkdtempSync(join(tmpdir(), "omega-react-"));
/** @type {Edge} */
let edge;
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  edge = await Edge.start("--static", site);
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await edge?.dispose();
  rmSync(site, { recursive: true, force: true });
});

/** @param {string} name @param {string} from whose React @returns its version, major */
async function bundle(name, from) {
  const require = createRequire(from);
  const at = (/** @type {string} */ module) => dirname(require.resolve(`${module}/package.json`));
  await build({
    stdin: { contents: APP, resolveDir: join(ROOT, "tests") },
    outfile: join(site, `react-${name}.js`),
    bundle: true,
    format: "iife",
    alias: { react: at("react"), "react-dom": at("react-dom") },
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "silent",
  });
  const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
    <div id="root"></div><script src="react-${name}.js"></script>`;
  writeFileSync(join(site, `react-${name}.html`), page);
  return require("react").version.split(".")[0];
}

/** @typedef {Record<string, number>} Counts */

/**
 * Which parts were drawn while `change` happened and until `name` shows `text`, and how often.
 * @param {import("playwright-core").Page} page @param {string} name @param {string} text
 * @param {() => Promise<unknown>} change
 */
async function drawn(page, name, text, change) {
  const before = /** @type {Counts} */ (await page.evaluate("({ ...counts })"));
  await change();
  await page.getByTestId(name).filter({ hasText: text }).waitFor();
  const now = /** @type {Counts} */ (await page.evaluate("({ ...counts })"));
  const more = Object.entries(now).map(([part, count]) => [part, count - (before[part] ?? 0)]);
  return Object.fromEntries(more.filter(([, count]) => count !== 0));
}

for (const { name, from } of REACTS) {
  test(`React ${name}: only what changed is drawn again`, {
    timeout: 4 * WAIT_MS,
  }, async (context) => {
    assert.equal(await bundle(name, from), name);
    const household = newHousehold();
    const phone = await openTv(context, edge, household, "phone");
    const kids = await phone.profiles.create("Kids");
    for (const title of ["one", "two"]) {
      await phone.progress.set(title, { positionSeconds: 10, durationSeconds: 100 });
    }
    await phone.devices.describe({ name: "Phone" });
    await phone.flushed();
    const page = await browser.newPage();
    context.after(() => page.close());
    page.setDefaultTimeout(WAIT_MS);
    const errors = uncaught(page);
    await page.goto(`${edge.address}/react-${name}.html`);
    await page.evaluate(
      (words) => Reflect.get(window, "begin")(...words),
      [edge.address, "tv", edge.token(household, "tv")],
    );
    await page.getByTestId("state").filter({ hasText: "live" }).waitFor();
    await page.getByTestId("row two").waitFor();
    await page.getByTestId("devices").filter({ hasText: '"isOnline":true' }).waitFor();
    await page.evaluate("Object.assign(window, { before: { ...shown } })");

    const watch = () => phone.progress.set("one", { positionSeconds: 20, durationSeconds: 100 });
    const watched = { "progress one": 1, rows: 1, "row one": 1 };
    assert.deepEqual(await drawn(page, "progress one", '"positionSeconds":20', watch), watched);
    const list = () => phone.watchlist.add("two");
    const listed = { watchlist: 1, "listed two": 1 };
    assert.deepEqual(await drawn(page, "watchlist", '"two"', list), listed);
    const own = () => page.evaluate("client.watchlist.add('one')");
    assert.deepEqual(await drawn(page, "listed one", "true", own), {
      watchlist: 1,
      "listed one": 1,
    });
    const finish = () =>
      phone.progress.set("one", { positionSeconds: 100, durationSeconds: 100, state: "finished" });
    assert.deepEqual(await drawn(page, "completed", '"one"', finish), {
      ...{ "progress one": 1, completed: 1, rows: 1 },
    });
    const describe = () => phone.devices.describe({ name: "Mine" });
    assert.deepEqual(await drawn(page, "devices", '"Mine"', describe), { devices: 1 });
    // What others showed all the time is the same object.
    for (const part of ["progress two", "row two", "profiles"]) {
      assert.ok(
        await page.evaluate((key) => {
          const [before, shown] = [Reflect.get(window, "before"), Reflect.get(window, "shown")];
          return before[key] !== undefined && before[key] === shown[key];
        }, part),
        part,
      );
    }

    // Another profile's list is another list.
    await page.evaluate((profile) => Reflect.get(window, "draw")(profile), kids);
    await page.getByTestId("kids").filter({ hasText: "[]" }).waitFor();
    const cartoon = () => phone.forProfile(kids).watchlist.add("cartoon");
    assert.deepEqual(await drawn(page, "kids", '"cartoon"', cartoon), { kids: 1 });

    // After a logout nothing of the household is to be seen.
    await page.evaluate("client.destroy()");
    await page.getByTestId("state").filter({ hasText: "stopped" }).waitFor();
    for (const part of ["watchlist", "rows", "completed", "profiles", "devices", "kids"]) {
      await page
        .getByTestId(part)
        .filter({ hasText: /^\[\]$/ })
        .waitFor();
    }
    await page.getByTestId("progress two").filter({ hasText: "nothing" }).waitFor();
    assert.deepEqual(errors, []);
  });
}
