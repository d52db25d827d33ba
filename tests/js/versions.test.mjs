// Ends of different versions on a real socket: the app is told, its data stays, and the right version
// goes on where the wrong one stopped. And storage of each released version against today's server.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { MemoryStorage } from "omega-sync";
import * as engine from "omega-sync/engine";
import WebSocket from "ws";
import { ROOT } from "../../scripts/paths.mjs";
import { loadRoomEnd } from "../bench/trace/network.mjs";
import { Household, Peer, seedOf } from "../bench/trace/peer.mjs";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @typedef {import("omega-sync").WebSocketConstructor} WebSocketConstructor */

const { loadReplica, readRows, standingOf, startEngine } = engine;

/** @type {Edge} */
let edge;
/** @type {import("../bench/trace/network.mjs").RoomEndClass} */
let RoomEnd;
before(async () => {
  edge = await Edge.start();
  execFileSync(process.execPath, [join(ROOT, "scripts", "room.mjs")], { stdio: "ignore" });
  RoomEnd = await loadRoomEnd();
  const wasm = fileURLToPath(import.meta.resolve("omega-sync/wasm"));
  await startEngine(() => readFileSync(wasm));
});
after(() => edge.dispose());

/** The first frame of each end has the version in the upper half of its first byte. */
const VERSION = 1;
const TAG_BITS = 15;

/** @param {Uint8Array} frame @param {number} version */
function ofVersion(frame, version) {
  const bytes = frame.slice();
  bytes[0] = ((bytes[0] ?? 0) & TAG_BITS) | (version << 4);
  return bytes;
}

/** A client of another version: its hello says so. @param {number} version */
function clientOf(version) {
  return class extends WebSocket {
    #greeted = false;

    /** @override @param {Uint8Array} frame */
    send(frame) {
      super.send(this.#greeted ? frame : ofVersion(frame, version));
      this.#greeted = true;
    }
  };
}

/** A server of another version: its welcome says so. @param {number} version */
function serverOf(version) {
  return class extends WebSocket {
    #greeted = false;

    /** @override @param {string | symbol} event @param {any[]} values */
    emit(event, ...values) {
      if (event !== "message" || this.#greeted) return super.emit(event, ...values);
      this.#greeted = true;
      const [data, ...rest] = values;
      const bytes = ofVersion(new Uint8Array(data), version);
      return super.emit(event, bytes.buffer, ...rest);
    }
  };
}

const OTHERS = [
  { name: "a client one version behind", socket: clientOf(VERSION - 1) },
  { name: "a client one version ahead", socket: clientOf(VERSION + 1) },
  { name: "a server one version behind", socket: serverOf(VERSION - 1) },
  { name: "a server one version ahead", socket: serverOf(VERSION + 1) },
];

for (const { name, socket } of OTHERS) {
  test(`${name}: stopped with its reason, the data stays, the right version goes on`, async (context) => {
    const household = newHousehold();
    const storage = new MemoryStorage();
    const first = await openTv(context, edge, household, "tv-living", { storage });
    await first.watchlist.add("tmdb:1");
    await first.flushed();
    await first.close();

    const other = /** @type {WebSocketConstructor} */ (/** @type {unknown} */ (socket));
    const tv = await openTv(context, edge, household, "tv-living", { storage, WebSocket: other });
    /** @type {string[]} */
    const errors = [];
    tv.on("error", ({ message }) => errors.push(message));
    await tv.watchlist.add("tmdb:2");
    await eventually(tv, "stopped", () => tv.status().state === "stopped");
    assert.equal(tv.status().closeReason, "version_unsupported");
    await tv.watchlist.add("tmdb:3");
    assert.deepEqual(errors, ["not synced: this client has stopped (version_unsupported)"]);
    assert.deepEqual(titles(tv), ["tmdb:1", "tmdb:2", "tmdb:3"]);
    assert.equal(tv.pending, 2);
    await tv.close();

    const updated = await openTv(context, edge, household, "tv-living", { storage });
    await updated.flushed();
    const phone = await openTv(context, edge, household, "phone");
    await eventually(phone, "all three", () => titles(phone).length === 3);
  });
}

/** Of the records that a device stores today. */
const RECORD_VERSION = 1;
const VECTORS = join(ROOT, "tests", "vectors");
const RELEASES = readdirSync(VECTORS).filter((file) => /^stored-v\d+\.json$/.test(file));

test("there is storage of each version", () => {
  assert.deepEqual(
    RELEASES,
    Array.from({ length: RECORD_VERSION }, (_, at) => `stored-v${at + 1}.json`),
  );
});

/** @typedef {{name: string, records: string[], shown: {household: string, pending: number}}} Stored */

/** Later than anything in the vectors, whose days are still to come for the real server's clock. */
const LATER_MS = 1_800_086_400_000;

/** Everything that records show. @param {Uint8Array[]} records */
function shown(records) {
  const { replica, damage } = loadReplica(records, "", seedOf(0));
  assert.equal(damage, undefined);
  const profiles = readRows(replica, "profiles", []);
  const lists = profiles.map(([id]) => [
    readRows(replica, "watchlist", [String(id)]),
    readRows(replica, "progressAll", [String(id)]),
  ]);
  const devices = readRows(replica, "devices", []);
  const { pending } = standingOf(replica);
  replica.free();
  return { pending, view: { profiles, lists, devices } };
}

for (const file of RELEASES) {
  /** @type {{vectors: Stored[]}} */
  const { vectors } = JSON.parse(readFileSync(join(VECTORS, file), "utf8"));
  for (const { name, records, shown: wanted } of vectors) {
    test(`${file}, ${name}: goes on at today's server, and a new device has it all`, () => {
      const home = new Household(new RoomEnd(wanted.household));
      const stored = records.map((record) => Uint8Array.from(Buffer.from(record, "hex")));
      const tv = new Peer(engine, LATER_MS, seedOf(1), stored);
      assert.equal(tv.pending(), wanted.pending);
      home.join(tv, LATER_MS);
      assert.equal(tv.pending(), 0);
      const phone = new Peer(engine, LATER_MS, seedOf(2));
      home.join(phone, LATER_MS);
      const [before, now, other] = [stored, tv.records, phone.records].map(shown);
      assert.equal(now?.pending, 0);
      assert.deepEqual(other?.view, now?.view);
      assert.deepEqual(now?.view, before?.view);
      assert.ok(tv.records.every(([version]) => version === RECORD_VERSION));
      for (const peer of [tv, phone]) peer.free();
    });
  }
}
