// Two pages of one origin on one storage, in a real browser and on the real server: one leads at a
// time. What a page was promised to be stored is neither lost nor doubled, however they take turns.
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { newHousehold, openTv, titles } from "../js/tv.mjs";
import { eventually, WAIT_MS } from "../js/until.mjs";
import { openBrowser, uncaught } from "./browser.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

const DEVICE = "tv-living";
const SCRIPT = "omega-sync.iife.js";
/** A test that takes longer waits for what will not come. */
const TEST_MS_MAX = 3 * WAIT_MS;
/** Titles that each page adds while the other one does the same. */
const TITLES = 25;

/** A page with the package and one client, and a way to write that takes the storage back if need be. */
const PAGE = `<!doctype html>
<link rel="icon" href="data:,">
<script src="${SCRIPT}"></script>
<script>
  const household = new URLSearchParams(location.search).get("household");
  let client;
  async function token() {
    const query = new URLSearchParams({ household, device: "${DEVICE}" });
    return (await (await fetch("/dev/token?" + query)).json()).token;
  }
  async function reopen() {
    if (client) await client.close();
    client = await OmegaSync.open({ url: location.origin, device: "${DEVICE}", household, token });
  }
  async function add(title) {
    try {
      await client.watchlist.add(title);
      return "stored";
    } catch (error) {
      return error.code === "superseded" ? error.code : String(error) + String(error.cause);
    }
  }
  async function addAll(titles) {
    let takenOver = 0;
    for (const title of titles) {
      for (;;) {
        const said = await add(title);
        if (said === "stored") break;
        if (said !== "superseded") throw new Error(said);
        takenOver += 1;
        await reopen();
      }
      // Leaves the other page a moment in which it can take over.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return takenOver;
  }
</script>`;

/** @param {import("node:test").TestContext} context */
async function twoPages(context) {
  const site = mkdtempSync(join(tmpdir(), "omega-tabs-"));
  context.after(() => rmSync(site, { recursive: true, force: true }));
  copyFileSync(join(PKG, "dist", SCRIPT), join(site, SCRIPT));
  writeFileSync(join(site, "index.html"), PAGE);
  const edge = await Edge.start("--dev", "--static", site);
  context.after(() => edge.dispose());
  const browser = await openBrowser(context);
  const household = newHousehold();
  const address = `${edge.address}/?household=${household}`;
  const first = browser.pages()[0] ?? (await browser.newPage());
  const second = await browser.newPage();
  const errors = [uncaught(first), uncaught(second)];
  for (const page of [first, second]) await page.goto(address);
  const phone = await openTv(context, edge, household, "phone");
  return { browser, edge, household, first, second, phone, errors };
}

/** @param {Page} page @returns {Promise<import("omega-sync").Status>} */
function status(page) {
  return page.evaluate("client.status()");
}

/** What the storage holds, as text. @param {Page} page @returns {Promise<string>} */
function stored(page) {
  return page.evaluate(`new Promise((resolve, reject) => {
    const request = indexedDB.open("omega-sync:${DEVICE}");
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      const all = database.transaction("log").objectStore("log").getAll();
      all.onsuccess = () => {
        database.close();
        resolve(all.result.map((record) => Array.from(record).join()).join("\\n"));
      };
    };
  })`);
}

test("what one page stored offline the next one sends, once; the first is told", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const { first, second, phone, errors } = await twoPages(context);
  await first.evaluate("reopen().then(() => client.pause())");
  assert.equal(await first.evaluate("addAll(['a1', 'a2'])"), 0);
  await second.evaluate("reopen()");
  assert.equal(await second.evaluate("addAll(['b1'])"), 0);
  await second.evaluate("client.flushed()");
  await eventually(phone, "all three", () => titles(phone).length === 3);
  assert.deepEqual(titles(phone), ["a1", "a2", "b1"]);

  // Somebody removes what the first page still believes to be unsent. It wakes: nothing comes back.
  await phone.watchlist.remove("a1");
  await phone.flushed();
  await first.evaluate("client.resume()");
  await first.evaluate(`new Promise((resolve) => {
    client.on("status", ({ state }) => state === "stopped" && resolve());
    if (client.status().state === "stopped") resolve();
  })`);
  assert.equal((await status(first)).closeReason, "superseded");
  assert.equal(await first.evaluate("add('a3')"), "superseded");
  await second.evaluate("client.flushed()");
  await phone.watchlist.add("last");
  await phone.flushed();
  assert.deepEqual(titles(phone), ["a2", "b1", "last"]);
  assert.deepEqual(errors, [[], []]);
});

test("two pages that take the storage from each other lose and double nothing", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const { first, second, phone, errors } = await twoPages(context);
  /** How often each title came, as another device saw it, which removes what it sees. */
  const came = new Map();
  /** @type {Array<Promise<void>>} */
  const removals = [];
  const look = () => {
    for (const title of titles(phone)) {
      // A removal is a change as well, and may have removed the rest already.
      if (!phone.watchlist.has(title)) continue;
      came.set(title, (came.get(title) ?? 0) + 1);
      removals.push(phone.watchlist.remove(title));
    }
  };
  phone.on("change", look);
  await first.evaluate("reopen()");
  await second.evaluate("reopen()");
  const wanted = ["a", "b"].map((page) =>
    Array.from({ length: TITLES }, (_, at) => `${page}${at}`),
  );
  const takenOver = await Promise.all(
    [first, second].map((page, at) => page.evaluate(`addAll(${JSON.stringify(wanted[at])})`)),
  );
  assert.ok(
    takenOver.every((times) => Number(times) > 0),
    `${takenOver}: they took turns`,
  );

  // Whoever leads in the end has what the other one stored.
  const leader = (await status(first)).state === "stopped" ? second : first;
  await leader.evaluate("client.flushed()");
  await eventually(phone, "every title", () => came.size === 2 * TITLES);
  const states = [await status(first), await status(second)];
  assert.equal(states[0]?.replica, states[1]?.replica, "one storage is one replica");

  // Each page once more from the start: what was removed must stay away.
  for (const page of [first, second]) {
    await page.evaluate("reopen().then(() => client.flushed())");
    await page.evaluate("addAll(['again'])");
    await page.evaluate("client.flushed()");
  }
  await eventually(phone, "the last one", () => (came.get("again") ?? 0) >= 1);
  await Promise.all(removals);
  await phone.flushed();
  const often = [...came].filter(([title, times]) => title !== "again" && times !== 1);
  assert.deepEqual(often, [], "a title that came back was written twice");
  assert.deepEqual([...came.keys()].sort(), [...wanted.flat(), "again"].sort());
  assert.deepEqual(errors, [[], []]);
});

test("a leader that was frozen and wakes writes nothing over its successor", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const { browser, first, second, phone } = await twoPages(context);
  await first.evaluate("reopen()");
  assert.equal(await first.evaluate("add('before')"), "stored");
  const debug = await browser.newCDPSession(first);
  await debug.send("Debugger.enable");
  // Stops the page in the middle of its work: the engine has the write, the storage does not.
  const frozen = new Promise((resolve) => debug.once("Debugger.paused", resolve));
  const late = first.evaluate("(() => { const said = add('late'); debugger; return said; })()");
  await frozen;

  await second.evaluate("reopen()");
  assert.equal(await second.evaluate("add('after')"), "stored");
  await second.evaluate("client.flushed()");
  const before = await stored(second);
  await debug.send("Debugger.disable");
  assert.equal(await late, "superseded");
  assert.equal((await status(first)).state, "stopped");
  assert.equal(await stored(second), before);
  assert.equal((await status(second)).state, "live");
  await eventually(phone, "what was stored", () => titles(phone).length === 2);
  assert.deepEqual(titles(phone), ["after", "before"]);

  await first.evaluate("reopen()");
  assert.equal(await first.evaluate("add('late')"), "stored");
  await eventually(phone, "the third", () => titles(phone).length === 3);
});
