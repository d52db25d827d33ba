// The trace measurement itself: a small trace and an oracle, both written by hand, and a second
// count of every byte at the server's end.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { before, test } from "node:test";
import { ROOT } from "../../scripts/paths.mjs";
import { figures } from "../bench/trace/figures.mjs";
import { parseTrace } from "../bench/trace/file.mjs";
import { loadRoomEnd } from "../bench/trace/network.mjs";
import { HOUSEHOLD, Replay } from "../bench/trace/replay.mjs";
import { isSame, wrongEntries } from "../bench/trace/view.mjs";

/** @typedef {import("../bench/trace/network.mjs").RoomEnd} RoomEnd */
/** @typedef {import("../bench/trace/file.mjs").Oracle} Oracle */

const T0 = 1_767_225_600_000;
const HOUR_MS = 3_600_000;
const HEADER = {
  k: "hdr",
  v: 1,
  seed: 1,
  days: 1,
  t0: T0,
  devices: ["tv", "den", "phone", "tablet"],
};

const TV = { k: "dev", d: 0, name: "Living room", model: "webOS 5", caps: ["hevc", "dv", "atmos"] };
const TABLET = { k: "dev", d: 3, name: "Kids", model: "iPad 9", caps: ["hevc"] };

/** The tablet is away for eight hours and then for one; the last write of a position wins. */
const EVENTS = [
  { k: "add", t: T0 + 1_000, d: 0, c: "tmdb:1" },
  { k: "add", t: T0 + 2_000, d: 1, c: "tmdb:2" },
  { ...TV, t: T0 + 3_000, app: "1.0.9" },
  { k: "off", t: T0 + HOUR_MS, d: 3 },
  { k: "prog", t: T0 + HOUR_MS + 1_000, d: 0, c: "tmdb:1", p: 10, u: 600, s: 0 },
  { k: "prog", t: T0 + HOUR_MS + 2_000, d: 3, c: "tmdb:1", p: 90, u: 600, s: 1 },
  { k: "prog", t: T0 + HOUR_MS + 3_000, d: 0, c: "tmdb:1", p: 20, u: 600, s: 0 },
  { k: "prog", t: T0 + HOUR_MS + 4_000, d: 3, c: "tmdb:5", p: 600, u: 600, s: 2 },
  { k: "rem", t: T0 + HOUR_MS + 5_000, d: 1, c: "tmdb:1" },
  { k: "add", t: T0 + HOUR_MS + 6_000, d: 3, c: "tmdb:1" },
  { k: "rem", t: T0 + HOUR_MS + 7_000, d: 3, c: "tmdb:2" },
  { ...TABLET, t: T0 + 2 * HOUR_MS, app: "1.0.9" },
  { ...TV, t: T0 + 2 * HOUR_MS, app: "1.0.10" },
  { k: "on", t: T0 + 9 * HOUR_MS, d: 3 },
  { k: "off", t: T0 + 10 * HOUR_MS, d: 3 },
  { k: "add", t: T0 + 10 * HOUR_MS + 1_000, d: 2, c: "tmdb:3" },
  { k: "on", t: T0 + 11 * HOUR_MS, d: 3 },
  { k: "off", t: T0 + 12 * HOUR_MS, d: 2 },
  { k: "add", t: T0 + 12 * HOUR_MS + 1_000, d: 2, c: "tmdb:4" },
];
/** @type {Oracle} */
const ORACLE = {
  watch: ["tmdb:1", "tmdb:3", "tmdb:4"],
  prog: {
    "tmdb:1": [20, 600, 0, T0 + HOUR_MS + 3_000],
    "tmdb:5": [600, 600, 2, T0 + HOUR_MS + 4_000],
  },
  dev: [0, 3],
};

/** @type {import("../bench/trace/network.mjs").RoomEndClass} */
let RoomEnd;
before(async () => {
  execFileSync(process.execPath, [join(ROOT, "scripts", "room.mjs")], { stdio: "ignore" });
  RoomEnd = await loadRoomEnd();
});

/** @param {object[]} events */
function traceOf(events) {
  return parseTrace([HEADER, ...events].map((line) => JSON.stringify(line)).join("\n"));
}

/** A room that also adds up what passes through it, each connection's first frame apart. */
class CountingRoom {
  first = 0;
  later = 0;
  down = 0;
  #greeted = new Set();
  #room = new RoomEnd(HOUSEHOLD);

  /** @param {number} connection @param {Uint8Array} bytes @param {number} unix_ms */
  frame(connection, bytes, unix_ms) {
    if (this.#greeted.has(connection)) this.later += bytes.length;
    else this.first += bytes.length;
    this.#greeted.add(connection);
    const outputs = this.#room.frame(connection, bytes, unix_ms);
    for (const value of outputs) if (value instanceof Uint8Array) this.down += value.length;
    return outputs;
  }

  /** @param {number} connection @param {number} unix_ms */
  closed(connection, unix_ms) {
    return this.#room.closed(connection, unix_ms);
  }

  restart() {
    this.#room.restart();
  }

  free() {
    this.#room.free();
  }
}

/** @param {object[]} events @param {RoomEnd} [room] */
async function replayed(events, room = new RoomEnd(HOUSEHOLD)) {
  const trace = traceOf(events);
  const replay = new Replay(trace, room);
  await replay.run();
  return { trace, replay };
}

test("the state at the end is the one that was worked out by hand, on every device", async () => {
  const { trace, replay } = await replayed(EVENTS);
  const found = figures(replay, trace, ORACLE);
  assert.equal(found.converged, true);
  assert.equal(found.wrong, 0);
  assert.equal(replay.views.length, 5);
  assert.equal(found.operations, 14);
  assert.equal(found.online_operations, 8);
  assert.equal(found.device_events_skipped, 0);
  const [tablet, tv, ...none] = replay.views[4]?.devices ?? [];
  assert.deepEqual([tv?.device, tv?.appVersion, tv?.deviceType], ["tv", "1.0.10", "tv"]);
  assert.deepEqual([tablet?.device, tablet?.deviceType], ["tablet", "tablet"]);
  assert.deepEqual(none, []);
});

test("each entry that differs from the oracle counts once", async () => {
  const { trace, replay } = await replayed(EVENTS);
  const later = [20, 600, 0, T0 + HOUR_MS + 3_001];
  /** @type {Oracle} */
  const altered = {
    watch: ["tmdb:1", "tmdb:2", "tmdb:4"],
    prog: { "tmdb:1": /** @type {[number, number, number, number]} */ (later) },
    dev: [1, 3],
  };
  const wrong = wrongEntries(replay.views, altered, trace);
  const devices = ["device den", "device tv"];
  const names = [...devices, "progress tmdb:1", "progress tmdb:5", "watch tmdb:2", "watch tmdb:3"];
  assert.deepEqual(wrong, names);
  const older = trace.events.filter((event) => event.k !== "dev" || event.app !== "1.0.10");
  const old = wrongEntries(replay.views, ORACLE, { ...trace, events: older });
  assert.deepEqual(old, ["device tv"]);
  const [view, ...others] = replay.views;
  assert.ok(view);
  const apart = { ...view, watchlist: [] };
  assert.equal(wrongEntries([...others, apart], ORACLE, trace).length, 3);
  assert.equal(isSame([...others, apart]), false);
});

test("the meters hold every byte that the server's end took and gave, and no other", async () => {
  const room = new CountingRoom();
  const { replay } = await replayed(EVENTS, room);
  const meters = [...replay.tvs.map(({ meter }) => meter), replay.fresh];
  const sum = (/** @type {"hello" | "answer" | "update" | "ack" | "relay"} */ kind) =>
    meters.reduce((total, meter) => total + meter[kind], 0);
  assert.equal(sum("hello"), room.first);
  assert.equal(sum("update"), room.later);
  assert.equal(sum("answer") + sum("ack") + sum("relay"), room.down);
  for (const kind of /** @type {const} */ (["hello", "answer", "update", "ack", "relay"])) {
    assert.ok(sum(kind) > 0, kind);
  }
});

test("an operation of an online device costs its frame and its ack", async () => {
  const { trace, replay } = await replayed(EVENTS.slice(0, 1));
  const [cost] = replay.costs;
  assert.ok(cost && cost.update > 0 && cost.ack > 0);
  assert.equal(cost.relays.length, 3);
  const found = figures(replay, trace);
  assert.equal(found.add_bytes_median, cost.update + cost.ack);
  assert.equal(found.all_updates_bytes, cost.update);
  assert.equal(found.acks_bytes, cost.ack);
  assert.equal(
    found.relays_bytes,
    cost.relays.reduce((sum, bytes) => sum + bytes),
  );
  assert.equal(found.wrong, null);
});

test("a catch-up of eight hours counts hello and answer, not what was made offline", async () => {
  const { trace, replay } = await replayed(EVENTS);
  assert.deepEqual(
    replay.catchUps.map(({ device, away_ms }) => [device, away_ms]),
    [
      [3, 8 * HOUR_MS],
      [3, HOUR_MS],
      [2, 1_000],
    ],
  );
  const own = (/** @type {{d: number, k: string}} */ { d, k }) =>
    d === 3 && k !== "on" && k !== "off";
  const idle = await replayed(EVENTS.filter((event) => !own(event)));
  const [busy8h, idle8h] = [replay, idle.replay].map(({ catchUps: [first] }) => {
    assert.ok(first && first.hello > 0 && first.answer > 0);
    return first.hello + first.answer;
  });
  assert.ok(busy8h && idle8h);
  const uploaded = replay.tvs[3]?.meter.update ?? 0;
  assert.ok(uploaded > 0 && idle.replay.tvs[3]?.meter.update === 0);
  assert.ok(Math.abs(busy8h - idle8h) < uploaded, `${busy8h} B, idle ${idle8h} B`);
  const found = figures(replay, trace);
  assert.equal(found.catchups_8h, 1);
  assert.equal(found.catchup_8h_bytes, busy8h);
});

test("a connection that the server closes ends the measurement", async () => {
  class Closing extends CountingRoom {
    /** @override @param {number} connection @param {Uint8Array} bytes @param {number} unix_ms */
    frame(connection, bytes, unix_ms) {
      const outputs = super.frame(connection, bytes, unix_ms);
      return unix_ms > T0 ? [1, connection, 4_002] : outputs;
    }
  }
  await assert.rejects(replayed(EVENTS, new Closing()), /closed the connection of tv: code 4002/);
  assert.ok(Date.now() > T0, "the clock is the machine's again");
});

test("what is no trace is refused with its reason", () => {
  assert.throws(() => traceOf([{ k: "pat", t: T0, d: 0 }]), /event pat is not replayed/);
  assert.throws(() => traceOf([{ k: "add", t: T0 - 1, d: 0, c: "tmdb:1" }]), /in time order/);
  assert.throws(() => traceOf([{ k: "add", t: T0, d: 9, c: "tmdb:1" }]), /not a trace event/);
  assert.throws(() => parseTrace('{"k":"hdr","v":2}'), /no trace of version 1/);
});
