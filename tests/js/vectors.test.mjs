// The golden vectors through the engines that are published, the wasm module and its translation to
// plain JavaScript: what was stored loads and shows what the vector says, sessions give the same frames
// and records, and what is newer is left alone.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { MemoryStorage, open } from "omega-sync";
import * as wasm from "omega-sync/engine";
import { ROOT } from "../../scripts/paths.mjs";
import { plainEngine } from "./plain.mjs";
import { codeOf } from "./tv.mjs";

/**
 * @typedef {Record<string, unknown[]>} Lists flat lists, by profile
 * @typedef {{profiles: string[], watchlist: Lists, progressAll: Lists, pending: number,
 *   offsetMs: number, household: string, rejected: string[], status?: string, closeReason?: string,
 *   replicaId?: string}} Shown
 * @typedef {{name: string, records: string[], error?: string, kept?: number, shown: Shown,
 *   replica?: {id: string, state: {devices: Described[]}}}} Stored
 * @typedef {{id: string, record?: {name: string, type: string, platform: string,
 *   app_version: string, capabilities: number}}} Described
 * @typedef {{call: string, args: Array<string | number>, now: [number, number],
 *   outputs: unknown[]}} Step
 * @typedef {{name: string, seed: string, household: string, records: string[], first: unknown[],
 *   steps: Step[], shown: Shown}} Session
 */

const FOLDER = join(ROOT, "tests", "vectors");
const SEED = new Uint8Array(16).fill(7);

/** @param {string} file @returns {any[]} */
function vectors(file) {
  const { vectors } = JSON.parse(readFileSync(join(FOLDER, file), "utf8"));
  assert.ok(vectors.length > 0, `${file} has no vectors`);
  return vectors;
}

const storedFiles = readdirSync(FOLDER).filter((file) =>
  /^(records|stored-v\d+)\.json$/.test(file),
);
/** @type {Stored[]} */
const stored = storedFiles.sort().flatMap(vectors);
/** @type {Session[]} */
const sessions = vectors("sessions.json");

const plain = await plainEngine();
/** @type {Array<[string, typeof wasm]>} */
const ENGINES = [
  ["wasm", wasm],
  ["plain", plain],
];

before(() =>
  wasm.startEngine(() => readFileSync(fileURLToPath(import.meta.resolve("omega-sync/wasm")))),
);

/** Nobody connects before the storage was read. */
const NoSocket = /** @type {import("omega-sync").WebSocketConstructor} */ (
  /** @type {unknown} */ (class {})
);

/** @param {string} hex */
function bytes(hex) {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

/** @param {Uint8Array} value */
function hex(value) {
  return Buffer.from(value).toString("hex");
}

/** @typedef {ReturnType<typeof wasm.loadReplica>["replica"]} Replica */

/** Random words of a vector's 16 bytes. @param {Uint8Array} seed */
function words(seed) {
  const view = new DataView(seed.buffer, seed.byteOffset, seed.byteLength);
  return Uint32Array.from({ length: 4 }, (_, at) => view.getUint32(4 * at, true));
}

/**
 * What the class answers, in the shape of the vectors.
 * @param {typeof wasm} engine @param {Replica} replica @returns {Shown}
 */
function shown({ readRows, standingOf }, replica) {
  const profiles = readRows(replica, "profiles", []).flat().map(String);
  const ids = profiles.filter((_, at) => at % 2 === 0);
  /** @param {(id: string) => unknown[]} list */
  const lists = (list) => Object.fromEntries(ids.map((id) => [id, list(id)]));
  const [[, offsetMs, , household] = []] = readRows(replica, "about", []);
  return {
    profiles,
    watchlist: lists((id) => readRows(replica, "watchlist", [id]).flat()),
    progressAll: lists((id) => readRows(replica, "progressAll", [id]).flat()),
    pending: standingOf(replica).pending,
    offsetMs: Number(offsetMs),
    household: String(household),
    rejected: readRows(replica, "rejected", []).flat().map(String),
  };
}

/** In the order of the engine's numbers. */
const DEVICE_TYPES = ["tv", "phone", "tablet", "computer", "other"];

/** What the class answers about devices that a state has. @param {Described[]} described */
function devices(described) {
  return described.flatMap(({ id, record }) => {
    if (record === undefined) return [];
    const { name, type, platform, app_version, capabilities } = record;
    return [[id, name, DEVICE_TYPES.indexOf(type), platform, app_version, capabilities]];
  });
}

/** A vector's rejected operations begin with their stamp, which the class keeps to itself. */
/** @param {Shown} shown @returns {Shown} */
function withoutStamps(shown) {
  return { ...shown, rejected: shown.rejected.filter((_, at) => at % 5 !== 0) };
}

/** @param {string} name @param {typeof wasm} engine @param {Stored} vector */
function testStored(name, engine, vector) {
  const { callWrite, loadReplica, readOutputs, readRows } = engine;
  test(`${name}: stored: ${vector.name}`, () => {
    const { replica, damage } = loadReplica(vector.records.map(bytes), "", words(SEED));
    assert.deepEqual(shown(engine, replica), withoutStamps(vector.shown));
    assert.equal(damage === undefined, vector.error === undefined, damage);
    if (vector.replica) {
      assert.equal(readRows(replica, "about", [])[0]?.[2], vector.replica.id);
      assert.deepEqual(readRows(replica, "devices", []), devices(vector.replica.state.devices));
    }
    const [image] = readOutputs(callWrite(replica, "firstOutputs", []));
    assert.ok(image?.kind === "replace");
    // What it would store now says the same.
    const again = loadReplica([image.bytes], "", words(SEED));
    assert.equal(again.damage, undefined);
    assert.deepEqual(shown(engine, again.replica), withoutStamps(vector.shown));
  });
}

for (const vector of stored.filter(({ error }) => error !== "version")) {
  for (const [name, engine] of ENGINES) testStored(name, engine, vector);
}

for (const vector of stored.filter(({ error }) => error === "version")) {
  test(`stored by a newer version: ${vector.name}`, async () => {
    for (const [, { loadReplica }] of ENGINES) {
      const load = () => loadReplica(vector.records.map(bytes), "", words(SEED));
      assert.throws(load, (error) => codeOf(error) === "storage_newer");
    }
    const storage = new MemoryStorage();
    await storage.commit({ append: vector.records.map(bytes) });
    const options = { url: "http://127.0.0.1:9", device: "tv", token: async () => "", storage };
    const opened = open({ ...options, WebSocket: NoSocket });
    await assert.rejects(opened, { code: "storage_newer" });
    assert.deepEqual((await storage.load()).map(hex), vector.records);
  });
}

/** An output in the shape of the vectors. @param {ReturnType<typeof wasm.readOutputs>[number]} output */
function inShape(output) {
  const { kind, ...rest } = output;
  const [value] = Object.values(rest);
  if (value === undefined) return [kind];
  return [kind, value instanceof Uint8Array ? hex(value) : value];
}

/** @param {typeof wasm} engine @param {Replica} replica @param {Step} step */
function call({ callWrite, readOutputs }, replica, { call: name, args, now }) {
  const given = name === "frame" ? args.map((arg) => bytes(String(arg))) : args;
  const write = /** @type {Parameters<typeof callWrite>[1]} */ (name);
  return readOutputs(callWrite(replica, write, given, ...now)).map(inShape);
}

/** @param {string} name @param {typeof wasm} engine @param {Session} vector */
function testSession(name, engine, vector) {
  const { callWrite, loadReplica, readOutputs, readRows, standingOf } = engine;
  test(`${name}: session: ${vector.name}`, () => {
    const seed = words(bytes(vector.seed));
    const { replica } = loadReplica(vector.records.map(bytes), vector.household, seed);
    assert.deepEqual(
      readOutputs(callWrite(replica, "firstOutputs", [])).map(inShape),
      vector.first,
    );
    for (const [at, step] of vector.steps.entries()) {
      assert.deepEqual(call(engine, replica, step), step.outputs, `step ${at}, ${step.call}`);
    }
    const [[, , replicaId, , closeReason] = []] = readRows(replica, "about", []);
    const states = { status: standingOf(replica).state, closeReason, replicaId };
    assert.deepEqual({ ...shown(engine, replica), ...states }, withoutStamps(vector.shown));
  });
}

for (const vector of sessions) {
  for (const [name, engine] of ENGINES) testSession(name, engine, vector);
}
