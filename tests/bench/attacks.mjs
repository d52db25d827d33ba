// `npm run --silent bench -- attacks [NAME …]`: what bad clients cost the server, and whether other
// households notice. The built server with its default limits, on loopback; each attack is over before
// the next begins. While one runs, other households write and measure when they hear of it. The memory
// is the process's resident set as Linux tells it. Needs `npm run build`. Its last line is one JSON
// object; it ends with 1 if the memory is above its bound or an attack did not end.
import { loadavg } from "node:os";
import { setTimeout as after } from "node:timers/promises";
import { Edge } from "../js/edge.mjs";
import { ATTACKS } from "./attacks/attacks.mjs";
import { CONNECTION_BYTES, REST_BYTES } from "./attacks/bound.mjs";
import { Neighbours } from "./attacks/neighbour.mjs";
import { endAll, openFiles, openFilesMax, residentBytes } from "./attacks/sockets.mjs";

/** How long it is watched before and after each attack, and at least during it. */
const QUIET_MS = 3_000;
const ATTACK_MS = 5_000;
const LOOK_EVERY_MS = 50;
/** After an attack, for its last connections to end. */
const PAUSE_MS = 1_200;
const chosen = process.argv.slice(2);
const edge = await Edge.start({ SYNC_LOG: "error" });
/** @type {Record<string, any>} */
const figures = { bench: "attacks", open_files_max: openFilesMax() };
let within = true;
try {
  const neighbours = await Neighbours.of(edge);
  await watched(neighbours, QUIET_MS, () => after(PAUSE_MS));
  let quiet = await quietly(neighbours);
  for (const [name, { what, attack }] of Object.entries(ATTACKS)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue;
    console.error(`${name}: ${what} …`);
    const during = await watched(neighbours, ATTACK_MS, () => attack(edge));
    await after(PAUSE_MS);
    const next = await quietly(neighbours);
    const { connections = 0, ...outcome } = during.outcome;
    const rss_bound_bytes = REST_BYTES + connections * CONNECTION_BYTES;
    within &&= during.rss_peak_bytes <= rss_bound_bytes;
    figures[name] = {
      ...{ connections, rss_peak_bytes: during.rss_peak_bytes, rss_bound_bytes },
      ...{ rss_after_bytes: next.rss_peak_bytes, open_files_peak: during.open_files_peak },
      ...compared(during.times, join(quiet.times, next.times)),
      outcome,
    };
    console.error(`  ${JSON.stringify(figures[name])}`);
    quiet = next;
  }
  await neighbours.end();
  figures.rss_end_bytes = residentBytes(edge);
  figures.within_bound = within;
  figures.load_average = loadavg()[0];
} finally {
  endAll();
  await edge.dispose();
}
console.log(JSON.stringify(figures));
process.exit(within ? 0 : 1);

/** Nothing but what the neighbours do. @param {Neighbours} neighbours */
function quietly(neighbours) {
  return watched(neighbours, QUIET_MS, async () => undefined);
}

/**
 * Does something, for a while at least, in which the neighbours write and the memory is looked at.
 * @template T
 * @param {Neighbours} neighbours @param {number} atLeastMs @param {() => Promise<T>} work
 */
async function watched(neighbours, atLeastMs, work) {
  let [rss_peak_bytes, open_files_peak] = [residentBytes(edge), openFiles(edge)];
  const look = setInterval(() => {
    rss_peak_bytes = Math.max(rss_peak_bytes, residentBytes(edge));
    open_files_peak = Math.max(open_files_peak, openFiles(edge));
  }, LOOK_EVERY_MS);
  await neighbours.take();
  const [outcome] = await Promise.all([work(), after(atLeastMs)]);
  clearInterval(look);
  return { outcome, rss_peak_bytes, open_files_peak, times: await neighbours.take() };
}

/** @typedef {import("./attacks/neighbour.mjs").Times} Times */
/** @param {Times} one @param {Times} other @returns {Times} */
function join(one, other) {
  return { acks: [...one.acks, ...other.acks], fanOuts: [...one.fanOuts, ...other.fanOuts] };
}

/** What the neighbours see of an attack, and in the quiet before and after it. @param {Times} during @param {Times} quiet */
function compared(during, quiet) {
  const ratio = (/** @type {keyof Times} */ what, /** @type {number} */ share) =>
    round(at(during[what], share) / at(quiet[what], share));
  return {
    neighbour_writes: during.acks.length,
    neighbour_ratio: ratio("acks", 0.5),
    neighbour_p99_ratio: ratio("acks", 0.99),
    neighbour_fan_out_ratio: ratio("fanOuts", 0.5),
    ack_ms: [at(quiet.acks, 0.5), at(during.acks, 0.5)],
    ack_ms_p99: [at(quiet.acks, 0.99), at(during.acks, 0.99)],
    fan_out_ms: [at(quiet.fanOuts, 0.5), at(during.fanOuts, 0.5)],
  };
}

/** @param {number[]} times @param {number} share */
function at(times, share) {
  const sorted = [...times].sort((a, b) => a - b);
  return round(sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN);
}

/** @param {number} value */
function round(value) {
  return Number(value.toFixed(2));
}
