// The bytes of a replay as the figures that are compared.
import { isSame, wrongEntries } from "./view.mjs";

/** What counts as "about eight hours", in milliseconds. */
const AWAY_MS_MIN = 7 * 3_600_000;
const AWAY_MS_MAX = 9 * 3_600_000;
/** The device whose absences count: the tablet, away every weekday. */
const AWAY_DEVICE = 3;

/**
 * @param {import("./replay.mjs").Replay} replay that has run
 * @param {import("./file.mjs").Trace} trace
 * @param {import("./file.mjs").Oracle} [oracle]
 */
export function figures(replay, trace, oracle) {
  const { header, events } = trace;
  const away = replay.catchUps.filter(
    ({ device, away_ms }) =>
      device === AWAY_DEVICE && away_ms >= AWAY_MS_MIN && away_ms <= AWAY_MS_MAX,
  );
  const catchUps = away.map(({ hello, answer }) => hello + answer);
  const wrong = oracle && wrongEntries(replay.views, oracle, trace);
  for (const entry of wrong ?? []) console.error(`not as the oracle has it: ${entry}`);
  return {
    ...{ days: header.days, seed: header.seed, operations: replay.operations },
    device_events_skipped: events.filter(({ k }) => k === "dev").length - replay.deviceEvents,
    ...operationBytes(replay),
    all_updates_bytes: replay.sum("update"),
    acks_bytes: replay.sum("ack"),
    relays_bytes: replay.sum("relay"),
    catchup_8h_bytes: median(catchUps),
    catchup_8h_bytes_mean: mean(catchUps),
    catchup_8h_hello_bytes: median(away.map(({ hello }) => hello)),
    catchups_8h: catchUps.length,
    token_bytes: replay.fresh.token,
    snapshot_bytes: snapshotBytes(replay.fresh.answers),
    fresh_device_bytes: replay.fresh.hello + replay.fresh.answer,
    converged: isSame(replay.views),
    wrong: wrong ? wrong.length : null,
  };
}

/**
 * One operation of a device that is online and has nothing else to send.
 * @param {import("./replay.mjs").Replay} replay
 */
function operationBytes(replay) {
  const of = (/** @type {string} */ kind) => replay.costs.filter((cost) => cost.kind === kind);
  const [progress, add, remove, device] = ["prog", "add", "rem", "dev"].map((kind) =>
    of(kind).map(({ update, ack }) => update + ack),
  );
  return {
    online_operations: replay.costs.length,
    progress_bytes_mean: mean(progress),
    progress_bytes_median: median(progress),
    add_bytes_median: median(add),
    remove_bytes_median: median(remove),
    device_bytes_median: median(device),
    relay_bytes_mean: mean(of("prog").flatMap(({ relays }) => relays)),
  };
}

/** A new device gets its welcome first, all the rest is the snapshot. @param {number[]} answers */
function snapshotBytes([welcome, ...snapshot]) {
  if (welcome === undefined || snapshot.length === 0) {
    throw new Error("the snapshot came without a frame of its own: this figure needs another way");
  }
  return sum(snapshot);
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {number[]} [values] @returns {number | null} to two decimals */
export function mean(values = []) {
  return values.length === 0 ? null : rounded(sum(values) / values.length);
}

/** @param {number[]} [values] @returns {number | null} */
export function median(values = []) {
  if (values.length === 0) return null;
  const sorted = values.slice().sort((a, b) => a - b);
  const upper = sorted.length >> 1;
  const middle = sorted.slice(sorted.length % 2 === 0 ? upper - 1 : upper, upper + 1);
  return rounded(sum(middle) / middle.length);
}

/** @param {number} value */
export function rounded(value) {
  return Math.round(value * 100) / 100;
}
