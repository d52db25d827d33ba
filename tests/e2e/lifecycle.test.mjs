// What happens to a page, in Chromium and on the real server: it is frozen, its clock jumps, the network
// or the app comes back, it goes away. On wake the socket is replaced at once; what waits leaves on hide.
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { Gateway } from "../js/gateway.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { eventually, WAIT_MS } from "../js/until.mjs";
import { launchBrowser, uncaught } from "./browser.mjs";
import { add, BUILDS, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** @typedef {import("playwright-core").Page} Page */

const SCRIPT = "omega-sync.iife.js";
/** A timer that is later than this means that the page slept; see `pkg/src/lifecycle.ts`. */
const WAKE_GAP_MS = 6_000;
/** How often that timer looks. */
const WAKE_CHECK_MS = 2_000;
const OPTIONS = { timeout: 3 * WAIT_MS };
const PAGE = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script>
  const query = new URLSearchParams(location.search);
  if (query.has("old")) delete Request.prototype.keepalive;
  // No timer that is late says then that the page slept.
  if (query.has("untimed")) window.setInterval = () => 0;
  const sockets = [];
  window.WebSocket = class extends WebSocket {
    constructor(...words) {
      super(...words);
      sockets.push(this);
    }
  };
  /** What leaves when the page hides, and how. */
  const left = [];
  const send = navigator.sendBeacon;
  navigator.sendBeacon = function (...words) {
    left.push("beacon");
    return send.apply(this, words);
  };
  const get = window.fetch;
  window.fetch = (url, options) => {
    if (options && options.keepalive) left.push("keepalive");
    return get(url, options);
  };
</script>
<script src="${SCRIPT}"></script>
<script>
  let client;
  async function begin(url, token, poll) {
    client = await OmegaSync.open({ url, device: "tv", token: async () => token, poll });
  }
  function until(condition) {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        for (const stop of stops) stop();
        resolve();
      };
      const stops = ["change", "status"].map((event) => client.on(event, look));
      look();
    });
  }
  const settled = () => ["live", "polling"].includes(client.status().state);
</script>`;

const site = mkdtempSync(join(tmpdir(), "omega-lifecycle-"));
/** @type {Edge} */
let edge;
/** The same server where no WebSocket gets through. @type {Gateway} */
let gateway;
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  copyFileSync(join(PKG, "dist", SCRIPT), join(site, SCRIPT));
  writeFileSync(join(site, "index.html"), PAGE);
  edge = await Edge.start("--static", site);
  gateway = await new Gateway(edge).start();
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
  await edge?.dispose();
  rmSync(site, { recursive: true, force: true });
});

/**
 * A page with a TV that has synced, and a phone.
 * @param {import("node:test").TestContext} context
 * @param {{everySeconds: number}} [poll] @param {string} [query] of the page
 * @param {string} [address] of the server
 */
async function oneTv(context, poll, query = "", address = edge.address) {
  const pages = await browser.newContext();
  context.after(() => pages.close());
  const page = await pages.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const errors = uncaught(page);
  const household = newHousehold();
  const phone = await openTv(context, edge, household, "phone");
  const token = edge.token(household, "tv");
  const begin = async () => {
    await page.goto(`${address}/${query}`);
    const words = [address, token, poll];
    await page.evaluate((words) => Reflect.get(window, "begin")(...words), words);
  };
  await begin();
  await page.evaluate("until(settled)");
  return { page, phone, begin, errors };
}

/**
 * Ways back to life, some on a page with another query.
 * @type {Array<{name: string, wake: (page: Page) => Promise<unknown>, query?: string}>}
 */
const WAKES = [
  {
    name: "it was frozen, without a word",
    wake: async (page) => {
      // A page that can be seen is frozen by nothing but a debugger.
      const debug = await page.context().newCDPSession(page);
      await debug.send("Debugger.enable");
      const frozen = new Promise((resolve) => debug.once("Debugger.paused", resolve));
      const said = page.evaluate("{ debugger; }");
      await frozen;
      await sleep(WAKE_GAP_MS + WAKE_CHECK_MS);
      await debug.send("Debugger.disable");
      await said;
    },
  },
  {
    name: "Chromium says that it was frozen",
    wake: (page) => page.evaluate("document.dispatchEvent(new Event('resume'))"),
  },
  {
    name: "it is shown again after an hour",
    query: "?untimed",
    wake: (page) =>
      page.evaluate(`{
        const show = (isHidden) => {
          Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        };
        show(true);
        const now = Date.now;
        Date.now = () => now() + 3600_000;
        show(false);
      }`),
  },
  {
    name: "the way back leads to it",
    query: "?untimed",
    wake: (page) =>
      page.evaluate(
        "window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
      ),
  },
  {
    name: "the network is back",
    wake: async (page) => {
      await page.context().setOffline(true);
      await page.context().setOffline(false);
    },
  },
  {
    name: "webOS starts the app that runs already",
    wake: (page) => page.evaluate("document.dispatchEvent(new CustomEvent('webOSRelaunch'))"),
  },
  {
    name: "the clock jumps ahead, as after standby",
    wake: (page) => page.evaluate("{ const now = Date.now; Date.now = () => now() + 3600_000; }"),
  },
  {
    name: "the clock jumps back",
    wake: (page) => page.evaluate("{ const now = Date.now; Date.now = () => now() - 3600_000; }"),
  },
];

for (const { name, wake, query } of WAKES) {
  test(`when ${name} the socket is replaced, though it seems open`, OPTIONS, async (context) => {
    const { page, phone, errors } = await oneTv(context, undefined, query);
    assert.equal(await page.evaluate("sockets.length"), 1);
    assert.equal(await page.evaluate("sockets[0].readyState"), 1);
    await wake(page);
    await page.waitForFunction("sockets.length > 1 && sockets[0].readyState > 1");
    await page.evaluate("until(settled)");
    await phone.watchlist.add("theirs");
    await page.evaluate("until(() => client.watchlist.has('theirs'))");
    await page.evaluate("client.watchlist.add('mine')");
    await eventually(phone, "a write on the new one", () => phone.watchlist.has("mine"));
    assert.equal(await page.evaluate("sockets.length"), 2, "replaced once");
    assert.deepEqual(errors, []);
  });
}

/** Longer than any test waits, in seconds. */
const DAY_S = 86_400;

/** What an engine has for a page that goes away. */
const WAYS = [
  { query: "", way: "keepalive" },
  { query: "?old", way: "beacon" },
];

for (const { query, way } of WAYS) {
  test(`what waits leaves when the page is hidden, once: ${way}`, OPTIONS, async (context) => {
    const { page, phone, errors } = await oneTv(context, { everySeconds: DAY_S }, query);
    await page.evaluate("client.watchlist.add('last words')");
    // A browser without a screen hides no page by itself.
    await page.evaluate(`{
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }`);
    await eventually(phone, "it arrives", () => phone.watchlist.has("last words"));
    assert.deepEqual(await page.evaluate("left"), [way]);
    assert.deepEqual(errors, []);
  });
}

/** Clients that have no socket: by their own wish, or because none gets through. */
const SOCKETLESS = [
  { name: "polls", poll: { everySeconds: DAY_S }, address: () => edge.address },
  { name: "gets no socket", poll: undefined, address: () => gateway.address },
];

/** How a page goes away for good. @type {Array<(page: Page) => Promise<unknown>>} */
const LEAVES = [(page) => page.goto("about:blank"), (page) => page.close()];

for (const { query, way } of WAYS) {
  for (const { name, poll, address } of SOCKETLESS) {
    test(
      `what a TV that ${name} wrote last leaves its page that goes away: ${way}`,
      OPTIONS,
      async (context) => {
        for (const leave of LEAVES) {
          const { page, phone } = await oneTv(context, poll, query, address());
          await page.evaluate("client.watchlist.add('last words')");
          await leave(page);
          // Nobody opens it again.
          await eventually(phone, "it arrives", () => phone.watchlist.has("last words"));
        }
      },
    );
  }
}

/** Nothing that waits for long goes on by itself. */
const IMPATIENT = `{
  const later = setTimeout;
  self.setTimeout = (call, ms) => (ms > 5000 ? 0 : later(call, ms));
}`;

for (const build of BUILDS) {
  test(`what a browser does not take from a page that hides is tried again: ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first: page, phone, errors } = await twoPages(context, [], build);
    await page.evaluate("delete Request.prototype.keepalive; navigator.sendBeacon = () => false");
    await page.evaluate(`reopen({ poll: { everySeconds: ${DAY_S} } })`);
    await page.evaluate("until(() => client.status().state === 'polling')");
    const [worker] = page.workers();
    await (worker === undefined ? page.evaluate(IMPATIENT) : worker.evaluate(IMPATIENT));
    assert.equal(await add(page, "last words"), "stored");
    await page.evaluate("hide(true)");
    await eventually(phone, "it arrives", () => phone.watchlist.has("last words"));
    assert.deepEqual(errors, [[], []]);
  });
}

test("what could not leave with its page leaves at the next start", OPTIONS, async (context) => {
  const { page, phone, begin } = await oneTv(context, { everySeconds: DAY_S }, "", gateway.address);
  await page.evaluate("client.watchlist.add('last words')");
  await gateway.stop();
  await page.goto("about:blank");
  await gateway.start();
  assert.equal(phone.watchlist.has("last words"), false);
  await begin();
  assert.equal(await page.evaluate("client.watchlist.has('last words')"), true);
  await eventually(phone, "it arrives", () => phone.watchlist.has("last words"));
});
