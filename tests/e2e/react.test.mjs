// `omega-sync/react` in Chromium, with the newest React and the oldest one it is for, on the real server:
// what a change of another device draws again is counted.
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { PKG, ROOT } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { titles } from "../js/titles.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { WAIT_MS } from "../js/until.mjs";
import { launchBrowser, uncaught } from "./browser.mjs";

/** Each part of the screen counts how often it is drawn, and keeps what its hook gave. */
const APP = `
  import { createElement as h, memo } from "react";
  import { createRoot } from "react-dom/client";
  import { open } from "ENTRY";
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
    const settings = { url, device, token: async () => token, storage: "memory" };
    window.client = await open({ ...settings, ...MORE });
    const root = createRoot(document.getElementById("root"));
    window.draw = (kids) =>
      root.render(
        h(sync.OmegaSyncProvider, { client: window.client },
          ...parts.map((Part, at) => h(Part, { key: at })), h(Rows),
          kids === undefined ? null : h(Kids, { profile: kids })),
      );
    window.draw();
  };`;

/** The same for what is recommended. */
const TASTE_APP = `
  import { createElement as h, memo } from "react";
  import { createRoot } from "react-dom/client";
  import { open } from "omega-sync/patterns";
  import { OmegaSyncProvider, useRecommendations } from "omega-sync/react";

  const counts = {};
  const shown = {};
  const Part = memo(({ name, count, genre, profile }) => {
    const options = { exclude: ["Drama:11"], ...(genre && { genre }), ...(profile && { profile }) };
    const list = useRecommendations(count, options);
    counts[name] = (counts[name] ?? 0) + 1;
    shown[name] = list;
    return h("p", { "data-testid": name }, list.map(({ content }) => content).join(" ") || "nothing");
  });
  window.counts = counts;
  window.shown = shown;
  window.begin = async (url, device, token) => {
    const settings = { url, device, token: async () => token, storage: "memory" };
    const wasm = "omega_sync_patterns_bg.wasm";
    const tables = "omega-sync-tables.bin";
    window.client = await open({ ...settings, wasm, taste: { tables } });
    const kids = await client.profiles.create("Kids");
    createRoot(document.getElementById("root")).render(
      h(OmegaSyncProvider, { client: window.client },
        h(Part, { name: "for you", count: 5 }),
        h(Part, { name: "crime", count: 5, genre: "Crime" }),
        h(Part, { name: "kids", count: 5, profile: kids })),
    );
    return kids;
  };`;

/** Where each React is: the package is built with the newest, the tests bring the oldest. */
const OLDEST = { version: "18", from: join(ROOT, "tests", "package.json") };
const NEWEST = { version: "19", from: join(PKG, "package.json") };
/** What is tried, and how its client is opened. */
const CASES = [
  { name: "React 18", react: OLDEST, entry: "omega-sync/inline", more: "{}" },
  { name: "React 19", react: NEWEST, entry: "omega-sync/inline", more: "{}" },
  {
    ...{ name: "React 19, engine in a Worker", react: NEWEST, entry: "omega-sync/worker" },
    more: '{ script: "omega-sync.iife.js" }',
  },
];
/** What these fetch. */
const FILES = ["omega-sync.iife.js", "omega_sync_patterns_bg.wasm", "omega-sync-tables.bin"];

const site = mkdtempSync(join(tmpdir(), "omega-react-"));
/** @type {Edge} */
let edge;
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  for (const file of FILES) copyFileSync(join(PKG, "dist", file), join(site, file));
  edge = await Edge.start("--static", site);
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await edge?.dispose();
  rmSync(site, { recursive: true, force: true });
});

/**
 * Builds an app with a React and opens it, as a device of a household.
 * @param {import("node:test").TestContext} context
 * @param {string} code @param {typeof OLDEST} react @param {string} household
 */
async function openApp(context, code, { version, from }, household) {
  const require = createRequire(from);
  assert.equal(require("react").version.split(".")[0], version);
  const at = (/** @type {string} */ module) => dirname(require.resolve(`${module}/package.json`));
  await build({
    stdin: { contents: code, resolveDir: join(ROOT, "tests") },
    outfile: join(site, "app.js"),
    bundle: true,
    format: "iife",
    alias: { react: at("react"), "react-dom": at("react-dom") },
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "silent",
  });
  const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
    <div id="root"></div><script src="app.js"></script>`;
  writeFileSync(join(site, "index.html"), html);
  const page = await browser.newPage();
  context.after(() => page.close());
  page.setDefaultTimeout(WAIT_MS);
  const errors = uncaught(page);
  await page.goto(`${edge.address}/`);
  const begun = await page.evaluate(
    (words) => Reflect.get(window, "begin")(...words),
    [edge.address, "tv", edge.token(household, "tv")],
  );
  return { page, errors, begun };
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

for (const { name, react, entry, more } of CASES) {
  test(`${name}: only what changed is drawn again`, {
    timeout: 3 * WAIT_MS,
  }, async (context) => {
    const household = newHousehold();
    const phone = await openTv(context, edge, household, "phone");
    const kids = await phone.profiles.create("Kids");
    for (const title of ["one", "two"]) {
      await phone.progress.set(title, { positionSeconds: 10, durationSeconds: 100 });
    }
    await phone.devices.describe({ name: "Phone" });
    await phone.flushed();
    const code = APP.replace("ENTRY", entry).replace("MORE", more);
    const { page, errors } = await openApp(context, code, react, household);
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

test("what is recommended is drawn again when it is something else", {
  timeout: 3 * WAIT_MS,
}, async (context) => {
  const household = newHousehold();
  const phone = await openTv(context, edge, household, "phone");
  const { page, errors, begun: kids } = await openApp(context, TASTE_APP, NEWEST, household);
  const known = titles("Drama", 1, 0, 20).concat(titles("Crime", 2, 0, 9));
  /** Runs in the page. @param {(client: any, value: any) => unknown} work @param {unknown} [value] */
  const inPage = (work, value) =>
    page.evaluate(`(${work})(client, ${JSON.stringify(value ?? null)})`);
  /** @returns {Promise<string[]>} */
  const list = async () => (await page.getByTestId("for you").innerText()).split(" ");

  const none = { "for you": 1, crime: 1, kids: 1 };
  await page.getByTestId("kids").filter({ hasText: "nothing" }).waitFor();
  assert.deepEqual(await page.evaluate("counts"), none);
  await inPage((client, value) => client.taste.learnTitles(value), known);
  assert.deepEqual(await page.evaluate("counts"), none, "nothing is known of anybody");
  const watch = () => inPage((client) => client.taste.record({ content: "Drama:0", watched: 1 }));
  assert.deepEqual(await drawn(page, "for you", "Drama:", watch), { "for you": 1, crime: 1 });
  const before = await list();
  assert.deepEqual(
    [before.length, before.includes("Drama:11"), before.includes("Drama:0")],
    [5, false, false],
  );
  await page.evaluate("Object.assign(window, { before: shown['for you'] })");
  // Of what another device begins to watch, only a title of the list makes it another one.
  const elsewhere = { positionSeconds: 5, durationSeconds: 50 };
  const begin = async (/** @type {string} */ content) => {
    await phone.progress.set(content, elsewhere);
    await page.evaluate(`new Promise((resolve) => {
      const look = () => client.progress.get("${content}") && resolve();
      client.on("change", look);
      look();
    })`);
  };
  assert.deepEqual(await drawn(page, "for you", String(before[0]), () => begin("elsewhere")), {});
  const own = () => inPage((client) => client.watchlist.add("Drama:3"));
  assert.deepEqual(await drawn(page, "for you", String(before[0]), own), {});
  const [first = "", second = ""] = before;
  assert.deepEqual(await drawn(page, "for you", second, () => begin(first)), { "for you": 1 });
  assert.equal((await list()).includes(first), false);
  assert.ok(
    await page.evaluate("shown['for you'][0] === before[1]"),
    "what stays is the same object",
  );
  // Another genre, another profile.
  const crime = () => inPage((client) => client.taste.record({ content: "Crime:1", watched: 1 }));
  const both = await drawn(page, "crime", "Crime:", crime);
  assert.deepEqual([both.crime, both.kids], [1, undefined]);
  const cartoon = () =>
    inPage(
      (client, profile) =>
        client.taste.forProfile(profile).record({ content: "Crime:2", watched: 1 }),
      kids,
    );
  assert.deepEqual(await drawn(page, "kids", "Crime:", cartoon), { kids: 1 });
  await page.evaluate("client.destroy()");
  for (const part of ["for you", "crime", "kids"]) {
    await page.getByTestId(part).filter({ hasText: "nothing" }).waitFor();
  }
  assert.deepEqual(errors, []);
});
