// Chromium for the browser tests, and the demo in it.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import { newHousehold } from "../js/tv.mjs";
import { WAIT_MS } from "../js/until.mjs";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").FrameLocator} Tv */

const FLAGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
  ...["--disable-background-networking", "--disable-component-update"],
  // Playwright switches partitioned storage off, and without it a frame of another origin has none.
  // The last flag of a kind wins, so this gives the frames what they have in a viewer's browser.
  "--disable-features=",
];

/**
 * A profile; both it and the browser that uses it are gone when the test ends.
 * @param {import("node:test").TestContext} context
 * @returns starts a browser with it, after the one before has ended
 */
export function newProfile(context) {
  const profile = mkdtempSync(join(tmpdir(), "omega-browser-"));
  /** @type {import("playwright-core").BrowserContext | undefined} */
  let browser;
  context.after(async () => {
    await browser?.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  return async () => {
    await browser?.close();
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: findChromium(),
      args: FLAGS,
      viewport: { width: 1920, height: 1080 },
    });
    browser.setDefaultTimeout(WAIT_MS);
    return browser;
  };
}

/** A browser with a profile of its own; both are gone when the test ends. @param {import("node:test").TestContext} context */
export function openBrowser(context) {
  return newProfile(context)();
}

/** A browser whose pages share nothing; the caller closes it. */
export function launchBrowser() {
  return chromium.launch({ executablePath: findChromium(), args: FLAGS });
}

/**
 * Two devices of a household on two pages that share nothing: what one adds the other gets, and the other
 * way round. The page puts the package, or what stands for it, into `window.entry`.
 * @param {import("playwright-core").Browser} browser
 * @param {import("../js/edge.mjs").Edge} edge that serves the page @param {string} path of the page
 * @param {(response: import("playwright-core").Response) => void} [onResponse] what the first one fetches
 * @param {(page: Page) => Promise<unknown>} [look] at each page in the end
 */
export async function syncTwoPages(
  browser,
  edge,
  path,
  onResponse = () => {},
  look = async () => {},
) {
  const household = newHousehold();
  const contexts = [await browser.newContext(), await browser.newContext()];
  /** @type {Page[]} */
  const pages = [];
  /** @type {Error[]} */
  const errors = [];
  for (const [at, context] of contexts.entries()) {
    const page = await context.newPage();
    pages.push(page);
    page.setDefaultTimeout(WAIT_MS);
    page.on("pageerror", (error) => errors.push(error));
    if (at === 0) page.on("response", onResponse);
    const device = `tv-${at}`;
    await page.goto(`${edge.address}/${path}`);
    await page
      .waitForFunction("window.entry !== undefined")
      .catch((error) => Promise.reject(new AggregateError([error, ...errors], path)));
    await page.evaluate(openHousehold, [edge.address, device, edge.token(household, device)]);
    await page.evaluate((title) => Reflect.get(window, "client").watchlist.add(title), device);
  }
  for (const page of pages) {
    await page.waitForFunction(() => Reflect.get(window, "client").watchlist.items().length === 2);
    await page.evaluate(() => Reflect.get(window, "client").flushed());
    await look(page);
  }
  for (const context of contexts) await context.close();
  if (errors.length > 0) throw new AggregateError(errors, `${path}: uncaught`);
}

/** Runs in the page. @param {(string | undefined)[]} words address, device, token */
async function openHousehold([url, device, token]) {
  const options = { url, device, token: async () => token };
  Reflect.set(window, "client", await Reflect.get(window, "entry").open(options));
}

/** An uncaught exception in any of a page's frames fails the test. @param {Page} page @returns {Error[]} */
export function uncaught(page) {
  /** @type {Error[]} */
  const errors = [];
  page.on("pageerror", (error) => errors.push(error));
  return errors;
}

/**
 * Waits until a page of the demo starts without its server, too.
 * @param {import("playwright-core").Frame} frame
 */
export async function filesKept(frame) {
  await frame.waitForFunction(
    "navigator.serviceWorker.getRegistration().then((kept) => kept?.active?.state === 'activated')",
  );
}

/** `chromium` on the PATH. */
function findChromium() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const found = folders.map((folder) => join(folder, "chromium")).find((file) => existsSync(file));
  if (found === undefined) throw new Error("chromium is not on the PATH: install it");
  return found;
}
