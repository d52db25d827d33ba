// The slowest TV: the oldest engine with its processor slowed down twentyfold, and a year of a household.
// How long until the app can show it, and for how long the page stands still while eight hours of
// changes are exchanged. Needs `npm run build` and the engine: node tests/engines/install.mjs m64
import { mkdtempSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Stage } from "../engines/matrix.mjs";
import { fillYear, visit, YEAR, YEAR_LAST } from "../engines/year.mjs";
import { freePort } from "../js/edge.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";

const { values } = parseArgs({
  options: {
    engine: { type: "string", default: "m64" },
    rate: { type: "string", default: "20" },
    runs: { type: "string", default: "5" },
  },
});
const RATE = Number(values.rate);
const RUNS = Number(values.runs);

/** Eight hours: another TV plays eight titles, each reported every ten seconds, and changes its list. */
const EVENING = { titles: 8, reports: 360, adds: 6, removes: 4 };
/** What this TV has played meanwhile without a network. */
const OWN = 8;

/** Evenings so far. */
let evenings = 0;
/** What ends with the measurement. @type {Array<() => unknown>} */
const ends = [];
const context = /** @type {import("node:test").TestContext} */ (
  /** @type {unknown} */ ({ after: (/** @type {() => unknown} */ end) => ends.push(end) })
);
const stage = await Stage.open();
try {
  const household = newHousehold();
  const living = await openTv(context, stage.edge, household, "tv-living");
  await fillYear(living);
  /** @type {Record<string, object>} */
  const modes = {};
  for (const [mode, build] of /** @type {const} */ ([
    ["main", "iife"],
    ["worker", "worker"],
  ])) {
    modes[mode] = await measure(build, household, living);
  }
  for (const end of ends) await end();
  const conditions = { bench: "tv", engine: values.engine, rate: RATE, runs: RUNS };
  console.log(JSON.stringify({ ...conditions, ...modes, load_average: loadavg()[0] }));
} finally {
  await stage.close();
}

/**
 * One build on a profile of its own.
 * @param {"iife" | "worker"} build @param {string} household @param {import("omega-sync").Client} living
 */
async function measure(build, household, living) {
  const profile = mkdtempSync(join(stage.folder, "profile-"));
  const device = `tv-slow-${build}`;
  const shared = { url: stage.edge.address, device, token: stage.edge.token(household, device) };
  const entries = YEAR.progress + YEAR.watchlist;
  await open(build, profile, { ...shared, task: "fill", last: YEAR_LAST, entries });
  const nowhere = { ...shared, url: `http://127.0.0.1:${await freePort()}` };
  const starts = [];
  const floors = [];
  const fast = [];
  const syncs = [];
  for (let run = 0; run < RUNS; run += 1) {
    starts.push(await open(build, profile, { ...nowhere, task: "start" }, RATE));
    if (build === "worker") {
      const show = { ...nowhere, task: "show" };
      floors.push(await open(build, profile, show, RATE, "floor.html"));
      fast.push(await open(build, profile, show, 1, "floor.html"));
    }
    const name = `${build}-${run}`;
    await evening(living, name, evenings);
    evenings += 1;
    const own = Array.from({ length: OWN }, (_, at) => `own:${name}-${at}`);
    const task = { task: "sync", own, last: `evening:${name}-last` };
    syncs.push(await open(build, profile, { ...shared, ...task }, RATE));
  }
  const syncing = syncs.map(({ thread }) => thread.between("sync-begin", "sync-end"));
  const blocks = syncing.map(({ longest }) => longest);
  for (const at of starts.keys()) {
    const [start, floor, sync] = [starts[at], floors[at], syncs[at]];
    console.log(JSON.stringify({ build, start, floor, sync, syncing: syncing[at] }));
  }
  return {
    entries: starts.at(-1).entries,
    ...firstStates(starts),
    ...(floors.length === 0 ? {} : { floor: firstStates(floors), slowed: slowed(floors, fast) }),
    engine_ms: rounded(median(starts.map((start) => start.engine_ms))),
    start_block_ms: rounded(median(starts.map(blockAfter))),
    start_block_ms_least: rounded(Math.min(...starts.map(blockAfter))),
    worst_block_ms: rounded(median(blocks)),
    worst_block_ms_least: rounded(Math.min(...blocks)),
    sync_main_thread_ms: rounded(median(syncing.map(({ busy }) => busy))),
    sync_ms: rounded(median(syncs.map((sync) => sync.sync_ms))),
    read_ms: rounded(median(syncs.map((sync) => sync.read_ms))),
  };
}

/** The longest task while the engine starts after the first state. @param {any} visit */
function blockAfter({ thread }) {
  return thread.between("first-state", "engine-there", true).longest;
}

/**
 * How many times as long the same page worked: a busy machine slows down by less than it is asked to, or
 * by more. @param {any[]} floors @param {any[]} fast
 */
function slowed(floors, fast) {
  const busy = (/** @type {any[]} */ visits) => firstStates(visits).first_state_main_thread_ms;
  return rounded(busy(floors) / busy(fast));
}

/** @param {any[]} visits */
function firstStates(visits) {
  const firsts = visits.map((visit) => visit.first_state_ms);
  const busy = visits.map(({ thread }) => thread.between("script-start", "first-state").busy);
  return {
    first_state_ms: rounded(median(firsts)),
    first_state_ms_least: rounded(Math.min(...firsts)),
    first_state_main_thread_ms: rounded(median(busy)),
  };
}

/**
 * @param {"iife" | "worker"} build @param {string} profile @param {object} settings
 * @param {number} [rate] of slowing down @param {string} [page]
 */
function open(build, profile, settings, rate = 1, page = "speed.html") {
  const target = stage.address(values.engine, "file", settings, page, build);
  return visit(values.engine, target, profile, rate);
}

/** @param {import("omega-sync").Client} client @param {string} run its name @param {number} nth */
async function evening(client, run, nth) {
  for (let title = 0; title < EVENING.titles; title += 1) {
    for (let report = 1; report <= EVENING.reports; report += 1) {
      const position = { positionSeconds: report * 10, durationSeconds: 3600 };
      await client.progress.set(`evening:${run}-${title}`, position);
    }
  }
  for (let at = 0; at < EVENING.adds; at += 1)
    await client.watchlist.add(`evening:${run}-add-${at}`);
  for (let at = 0; at < EVENING.removes; at += 1) {
    await client.watchlist.remove(`tmdb:${(nth * EVENING.removes + at) * 11}`);
  }
  await client.watchlist.add(`evening:${run}-last`);
  await client.flushed();
  await eventually(client, "all is taken", () => client.pending === 0);
}

/** @param {number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

/** @param {number} value */
function rounded(value) {
  return Math.round(value * 10) / 10;
}
