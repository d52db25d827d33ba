// Two pages with one client each, on one storage of one origin.
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { WAIT_MS } from "../js/until.mjs";
import { newProfile, uncaught } from "./browser.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

export const DEVICE = "tv-living";
/** The builds that a page can have: the engine in the page, or in a Worker. */
export const BUILDS = ["omega-sync.iife.js", "omega-sync.worker.js"];
/** A test that takes longer waits for what will not come; each wait of it ends much earlier. */
export const TEST_MS_MAX = 3 * WAIT_MS;

/**
 * A page with the package and one client. `until` asks again at each of the client's events, and fails
 * after the longest wait there is: it says so then when the condition is
 * true but nobody was told. `listen` takes commands from then on, `deafen` ends that.
 */
const PAGE = `<!doctype html>
<link rel="icon" href="data:,">
<script>
  const query = new URLSearchParams(location.search);
  const missing = query.get("missing").split(" ");
  if (missing.includes("locks")) Object.defineProperty(navigator, "locks", { value: undefined });
  if (missing.includes("BroadcastChannel")) delete window.BroadcastChannel;
  if (missing.includes("messages")) BroadcastChannel.prototype.postMessage = () => undefined;
</script>
<script>
  let transactions = 0;
  const begin = IDBDatabase.prototype.transaction;
  IDBDatabase.prototype.transaction = function (...values) {
    const transaction = begin.apply(this, values);
    transactions += 1;
    for (const end of ["complete", "abort"]) transaction.addEventListener(end, () => transactions--);
    return transaction;
  };
  async function rest() {
    while (transactions > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
</script>
<script src="BUILD"></script>
<script>
  let household = query.get("household");
  let client;
  async function token() {
    const query = new URLSearchParams({ household, device: "${DEVICE}" });
    return (await (await fetch("/dev/token?" + query)).json()).token;
  }
  async function reopen(more) {
    if (client) await client.close();
    const settings = { url: location.origin, device: "${DEVICE}", household, token };
    client = await OmegaSync.open(Object.assign(settings, more));
  }
  async function add(title) {
    try {
      await client.watchlist.add(title);
      return "stored";
    } catch (error) {
      return error.code ? error.code : String(error);
    }
  }
  async function addAll(titles) {
    for (const title of titles) {
      const said = await add(title);
      if (said !== "stored") throw new Error(said);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  const taken = [];
  function listen(answer) {
    window.deafen = client.devices.onCommand(({ command, from }) => {
      taken.push(from + ": " + command.type);
      return answer;
    });
  }
  function hide(isHidden) {
    Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }
  function titles() {
    return client.watchlist.items().map(({ content }) => content).sort();
  }
  function until(condition) {
    return new Promise((resolve, reject) => {
      let stops = [];
      const end = () => {
        clearTimeout(timer);
        for (const stop of stops) stop();
      };
      const look = () => {
        if (!condition()) return;
        end();
        resolve();
      };
      const timer = setTimeout(() => {
        end();
        const said = JSON.stringify([client.status(), titles()]);
        reject(new Error((condition() ? "not told: " : "not so: ") + condition + "; " + said));
      }, ${WAIT_MS});
      stops = ["change", "status"].map((event) => client.on(event, look));
      look();
    });
  }
  function shows(wanted) {
    return until(() => titles().join() === wanted.join());
  }
</script>`;

/**
 * @param {import("node:test").TestContext} context
 * @param {string[]} missing what the pages have not: "locks", "BroadcastChannel", or "messages"
 * @param {string} [build] of {@link BUILDS}, or another script
 */
export async function twoPages(context, missing, build = "omega-sync.iife.js") {
  const site = mkdtempSync(join(tmpdir(), "omega-tabs-"));
  context.after(() => rmSync(site, { recursive: true, force: true }));
  for (const script of [...BUILDS, build])
    copyFileSync(join(PKG, "dist", script), join(site, script));
  writeFileSync(join(site, "index.html"), PAGE.replace("BUILD", build));
  const edge = await Edge.start("--dev", "--static", site);
  context.after(() => edge.dispose());
  const household = newHousehold();
  const query = new URLSearchParams({ household, missing: missing.join(" ") });
  const launch = newProfile(context);
  /** Two pages without a client yet, in a browser that has just started; the one before has ended. */
  const start = async () => {
    const browser = await launch();
    const first = browser.pages()[0] ?? (await browser.newPage());
    const second = await browser.newPage();
    const errors = [uncaught(first), uncaught(second)];
    for (const page of [first, second]) await page.goto(`${edge.address}/?${query}`);
    return { browser, first, second, errors };
  };
  const started = await start();
  const phone = await openTv(context, edge, household, "phone");
  return { ...started, edge, household, phone, restart: start };
}

/** @param {Page} page @returns {Promise<import("omega-sync").Status>} */
export function status(page) {
  return page.evaluate("client.status()");
}

/** Adds a title. @param {Page} page @param {string} title @returns {Promise<string>} "stored", or the error's code */
export function add(page, title) {
  return page.evaluate(`add(${JSON.stringify(title)})`);
}

/** Adds titles one after the other. @param {Page} page @param {string[]} titles @returns {Promise<void>} */
export function addAll(page, titles) {
  return page.evaluate(`addAll(${JSON.stringify(titles)})`);
}

/**
 * Stops a page as standby does: nothing in it runs, no timer, no event. First it begins `script`.
 * @param {Page} page @param {string} script
 * @returns {Promise<() => Promise<unknown>>} wakes it; resolves to what the script resolved to
 */
export async function freeze(page, script) {
  const debug = await page.context().newCDPSession(page);
  await debug.send("Debugger.enable");
  const frozen = new Promise((resolve) => debug.once("Debugger.paused", resolve));
  // A debugger stops a page even within a transaction, which would hold up the other page: so it comes
  // to rest first, and the script begins in the same breath in which it is stopped.
  const said = page.evaluate(`(async () => {
    await rest();
    const said = ${script};
    debugger;
    return said;
  })()`);
  await frozen;
  return async () => {
    await debug.send("Debugger.disable");
    return said;
  };
}
