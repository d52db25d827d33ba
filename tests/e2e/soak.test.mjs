// A TV that is left on for a month does not grow: the built package in a real browser, on its own
// IndexedDB, with taste, commands and presence, and a second tab that comes and goes; in time that passes
// as fast as the work in it is done (tests/e2e/soak/page.mjs says what a day has).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { extname, join } from "node:path";
import { before, test } from "node:test";
import { PKG, ROOM_END, ROOT } from "../../scripts/paths.mjs";
import { launchBrowser, uncaught } from "./browser.mjs";
import { bytesOf, grown, heapOf } from "./soak/heap.mjs";

/** What is to leak, if anything: one of soak/leaks.mjs. */
const LEAK = process.env.LEAK ?? "";
/**
 * Days of half a month. Both halves are compared: what doubles when it is full does so in between. A leak
 * shows sooner.
 */
const HALF = LEAK === "" ? 15 : 2;
/** A month that takes longer hangs. */
const MONTH_MS_MAX = 15 * 60_000;
/**
 * What lives in JavaScript's heap at the end of a half may differ by so many bytes: what is under way, and
 * texts that are longer. In between are some 1,300 writes, 1,300 commands and 460 connections.
 */
const HEAP_BYTES_MAX = 2 * 1024;
/** The same of buffers. */
const BUFFER_BYTES_MAX = 4 * 1024;
/** The same of the engine's memory: it grows by pages, when an image is made of a long log. */
const WASM_BYTES_MAX = 2 * 65_536;
/** The log beside an image may have so many bytes, or as many as four images: `LOG_BYTES_MIN` … */
const LOG_BYTES = 32 * 1024;
/** … and `TASTE_LOG_BYTES_MIN` in the core, by the end of a database's name. */
const TASTE_LOG_BYTES = { ":taste": 64 * 1024, ":titles": 512 * 1024 };
/** A log that ends with a record more does not grow. */
const RECORD_BYTES = 1024;
/** How often what a page has let go of is looked for until it has gone. */
const LOOKS_MAX = 100;
const LOOK_EVERY_MS = 100;

/** The page needs a secure origin, for locks; nothing of it leaves the browser. */
const ORIGIN = "http://localhost";
const PAGE = `<!doctype html>
<link rel="icon" href="data:,">
<script type="module" src="/tests/e2e/soak/page.mjs"></script>`;
/** @type {Record<string, string>} */
const TYPES = { ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm" };
const MODULE = join(ROOM_END, "omega_sync_room_end_bg");
const FILES = [
  join(PKG, "dist", "omega-sync.patterns.iife.js"),
  join(ROOT, "core", "tables", "default.bin"),
  `${MODULE}.js`,
  `${MODULE}.wasm`,
].map((file) => `/${file.slice(ROOT.length)}`);

/**
 * @typedef {object} Sample what there is at the end of a day, when all is exchanged
 * @property {unknown[]} wrong what happened that should not have
 * @property {Record<string, unknown>} flat what is the same each day
 * @property {number} buffers bytes
 * @property {number} wasm bytes
 * @property {Record<string, {log: number, image: number, others: number}>} stored by database
 */

/** A page of this checkout's files in a browser of its own. @param {import("node:test").TestContext} context */
async function openPage(context) {
  const browser = await launchBrowser();
  context.after(() => browser.close());
  const profile = await browser.newContext();
  await profile.route("**", (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname === "/") return route.fulfill({ contentType: "text/html", body: PAGE });
    const type = TYPES[extname(pathname)] ?? "application/octet-stream";
    return route.fulfill({ path: join(ROOT, pathname), contentType: type });
  });
  const page = await profile.newPage();
  page.setDefaultTimeout(MONTH_MS_MAX);
  const errors = uncaught(page);
  await page.goto(ORIGIN);
  await page.waitForFunction("window.start");
  return { page, errors, devtools: await profile.newCDPSession(page) };
}

/** @param {import("playwright-core").CDPSession} devtools */
async function snapshotOf(devtools) {
  let text = "";
  const take = (/** @type {{chunk: string}} */ { chunk }) => {
    text += chunk;
  };
  devtools.on("HeapProfiler.addHeapSnapshotChunk", take);
  await devtools.send("HeapProfiler.takeHeapSnapshot", { captureNumericValue: true });
  devtools.off("HeapProfiler.addHeapSnapshotChunk", take);
  return heapOf(text);
}

/**
 * @param {import("./browser.mjs").Page} page
 * @param {import("playwright-core").CDPSession} devtools @returns {Promise<Sample>}
 */
async function sampleOf(page, devtools) {
  await devtools.send("HeapProfiler.collectGarbage");
  const { documents, nodes, jsEventListeners } = await devtools.send("Memory.getDOMCounters");
  const heap = /** @type {any} */ (await devtools.send("Runtime.getHeapUsage"));
  const { wrong, stored, wasm, ...state } = await page.evaluate("month.sample()");
  return {
    wrong,
    flat: { ...state, documents, nodes, jsEventListeners, others: othersIn(stored) },
    buffers: heap.backingStorageSize,
    wasm,
    stored,
  };
}

/** What is stored beside logs. @param {Sample["stored"]} stored */
function othersIn(stored) {
  return Object.values(stored).reduce((sum, { others }) => sum + others, 0);
}

/** @param {Sample} one @param {Sample} other */
function isLike(one, other) {
  return JSON.stringify(one.flat) === JSON.stringify(other.flat);
}

/**
 * A sample that is like an earlier one, or the last of many: a browser lets go of some things later.
 * @param {() => Promise<Sample>} sample @param {Sample | undefined} earlier
 */
async function sampleLike(sample, earlier) {
  let last = await sample();
  for (let looks = 1; looks < LOOKS_MAX && earlier !== undefined; looks += 1) {
    if (isLike(last, earlier)) break;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    last = await sample();
  }
  return last;
}

/**
 * A snapshot that has not grown since an earlier one, or the last of many: what is under way goes.
 * @param {import("playwright-core").CDPSession} devtools @param {import("./soak/heap.mjs").Heap} earlier
 */
async function snapshotLike(devtools, earlier) {
  let last = await snapshotOf(devtools);
  for (let looks = 1; looks < LOOKS_MAX; looks += 1) {
    if (bytesOf(last) - bytesOf(earlier) <= HEAP_BYTES_MAX) break;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    last = await snapshotOf(devtools);
  }
  return last;
}

/** Logs that are longer than they may be. @param {Sample} sample */
function tooLong({ stored }) {
  return Object.entries(stored).filter(([database, { log, image }]) => {
    const [, least = LOG_BYTES] =
      Object.entries(TASTE_LOG_BYTES).find(([end]) => database.endsWith(end)) ?? [];
    return log > image + Math.max(least, 4 * image) + RECORD_BYTES;
  });
}

before(() => {
  execFileSync(process.execPath, [join(ROOT, "scripts", "room.mjs")], { stdio: "ignore" });
});

test("a TV that is left on for a month does not grow", {
  timeout: MONTH_MS_MAX,
}, async (context) => {
  const { page, errors, devtools } = await openPage(context);
  await page.evaluate(`start(${JSON.stringify(FILES)}, ${JSON.stringify(LEAK)})`);
  /** What has grown. @type {unknown[]} */
  const grew = [];
  const days = async (/** @type {number} */ from, /** @type {Sample | undefined} */ half) => {
    /** @type {Sample | undefined} */
    let last;
    for (let day = from; day < from + HALF; day += 1) {
      await page.evaluate("month.day()");
      // What is compared with must have let go, too: by then it is like the day before.
      const like = half ?? (day === HALF ? last : undefined);
      const earlier = grew.length === 0 ? like : undefined;
      last = await sampleLike(() => sampleOf(page, devtools), earlier);
      context.diagnostic(`day ${day}: ${JSON.stringify(last)}`);
      assert.deepEqual([last.wrong, errors], [[], []]);
      for (const [database, { log }] of tooLong(last)) grew.push(`${log} bytes in ${database}`);
      if (half !== undefined && !isLike(last, half)) grew.push([half.flat, last.flat]);
    }
    return /** @type {Sample} */ (last);
  };
  const half = await days(1, undefined);
  const early = await snapshotOf(devtools);
  const end = await days(1 + HALF, half);
  const late = await snapshotLike(devtools, early);
  context.diagnostic(JSON.stringify(await page.evaluate("month.done()")));

  const heap = bytesOf(late) - bytesOf(early);
  const buffers = end.buffers - half.buffers;
  const most = grown(early, late);
  context.diagnostic(`${heap} more bytes in the heap, ${buffers} in buffers`);
  for (const row of most) context.diagnostic(row);
  if (heap > HEAP_BYTES_MAX) grew.push(`${heap} bytes in the heap`, ...most);
  if (buffers > BUFFER_BYTES_MAX) grew.push(`${buffers} bytes in buffers`);
  const wasm = end.wasm - half.wasm;
  if (wasm > WASM_BYTES_MAX) grew.push(`${wasm} bytes in the engine`);
  assert.deepEqual(grew, []);
  assert.deepEqual(await page.evaluate("month.end()"), { timers: 0, sockets: 0, underWay: 0 });
});
