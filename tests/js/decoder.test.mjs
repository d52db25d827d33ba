// All golden vectors, read by the decoder that knows docs/protocol.md and nothing of the core: what
// both say of the same bytes is what the page says.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeDifference, decodeState } from "../decoder/difference.mjs";
import { decodeFrame } from "../decoder/frames.mjs";
import {
  DecodeError,
  fnv1a,
  fromHex,
  idToJson,
  numberToJson,
  Reader,
  stampFromJson,
  stampToJson,
} from "../decoder/numbers.mjs";
import { Context, readDelta } from "../decoder/operations.mjs";
import { replay, replicaToJson } from "../decoder/records.mjs";
import { Witness } from "../decoder/session.mjs";
import { dotFromJson, operationToJson, stateToJson } from "../decoder/state.mjs";
import { decodeTaste } from "../decoder/taste.mjs";

const FOLDER = new URL("../vectors/", import.meta.url);

/** @typedef {import("../decoder/numbers.mjs").JsonStamp} JsonStamp */
/** @typedef {{ name: string, error?: string }} Vector */
/** @typedef {Vector & { kind: string, bytes: string }} Kinds */
/** @typedef {Kinds & { from?: JsonStamp, value?: unknown }} Numbers */
/** @typedef {Vector & { from: "client" | "server", bytes: string, frame?: unknown }} Frames */
/** @typedef {Vector & { bytes: string, state?: unknown }} States */
/** @typedef {Vector & { before: string, bytes: string, after?: string }} Differences */
/** @typedef {Vector & { records: string[], replica?: unknown, kept?: number }} Records */
/** @typedef {{ replica: string, stamp: JsonStamp, version?: number }} LiveDot */
/** @typedef {{ profile: string, content: string, dots: LiveDot[] }} Live */
/** @typedef {{ body: string, live: Live[], delta?: unknown, error?: string }} OperationsFrame */
/**
 * @typedef {Vector & {
 *   direction: "up" | "down",
 *   start: number,
 *   version: number,
 *   replica?: string,
 *   frames: OperationsFrame[],
 * }} Operations
 */

/** @typedef {import("../decoder/session.mjs").Output} Output */
/** @typedef {{ call: string, args: any[], outputs: Output[] }} Step */
/** @typedef {{ records: string[], first: Output[], steps: Step[], shown: any }} Session */

/** How each file of vectors is read, by its name without a version. */
const READERS = {
  numbers: readNumber,
  frames: readFrame,
  states: readStates,
  differences: readDifferences,
  operations: readOperations,
  records: readRecords,
  stored: readRecords,
  sessions: witness,
  taste: readTaste,
};

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".json"))) {
  const kind = file.replace(/(-v[0-9]+)?\.json$/, "");
  const read = READERS[/** @type {keyof typeof READERS} */ (kind)];
  /** @type {Array<any>} */
  const vectors = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8")).vectors;
  test(`${file} has vectors that the decoder knows how to read`, () => {
    assert.ok(read !== undefined && vectors.length > 0);
  });
  for (const vector of vectors) test(`${file}: ${vector.name}`, () => read(vector));
}

test("every kind of vector is there", () => {
  const files = readdirSync(FOLDER);
  for (const kind of Object.keys(READERS)) {
    assert.ok(
      files.some((name) => name.startsWith(kind)),
      kind,
    );
  }
});

test("checksums are FNV-1a of 32 bits", () => {
  const known = { "": 0x811c9dc5, a: 0xe40c292c, foobar: 0xbf9cf968 };
  for (const [text, hash] of Object.entries(known)) assert.equal(fnv1a(Buffer.from(text)), hash);
});

/**
 * Bad bytes have the error of the vector, good ones the meaning.
 * @param {{ error?: string }} vector @param {() => unknown} decode @param {unknown} meaning
 */
function same(vector, decode, meaning) {
  if (vector.error === undefined) {
    assert.notEqual(meaning, undefined, "the vector has no meaning");
    assert.deepEqual(decode(), meaning);
    return;
  }
  assert.throws(decode, (error) => {
    assert.ok(error instanceof DecodeError, `${error}`);
    assert.equal(error.kind, vector.error, error.message);
    return true;
  });
}

/** @param {Numbers} vector */
function readNumber(vector) {
  const decode = () => {
    const reader = new Reader(fromHex(vector.bytes));
    const value = numberOf(reader, vector);
    reader.end();
    return value;
  };
  same(vector, decode, vector.value);
}

/** @param {Reader} reader @param {Numbers} vector */
function numberOf(reader, { kind, from }) {
  switch (kind) {
    case "varint":
      return numberToJson(reader.varint());
    case "signed":
      return numberToJson(reader.signed());
    case "stamp":
      return stampToJson(reader.stamp());
    default:
      assert.equal(kind, "relative_stamp");
      return stampToJson(reader.relativeStamp(stampFromJson(from ?? [0, 0])));
  }
}

/** @param {Frames} vector */
function readFrame(vector) {
  same(vector, () => decodeFrame(fromHex(vector.bytes), vector.from), vector.frame);
}

/** @param {Frames} vector */
function readTaste(vector) {
  same(vector, () => decodeTaste(vector.from, fromHex(vector.bytes)), vector.frame);
}

/** @param {States} vector */
function readStates(vector) {
  same(vector, () => stateToJson(decodeState(fromHex(vector.bytes))), vector.state);
}

/** @param {Differences} vector */
function readDifferences(vector) {
  const before = decodeState(fromHex(vector.before));
  const untouched = stateToJson(before);
  const after = vector.after && stateToJson(decodeState(fromHex(vector.after)));
  same(vector, () => stateToJson(decodeDifference(fromHex(vector.bytes), before)), after);
  assert.deepEqual(stateToJson(before), untouched);
}

/** @param {Operations} vector */
function readOperations(vector) {
  const { direction, start, version } = vector;
  const options = { direction, startMs: BigInt(start), version: BigInt(version) };
  const context = new Context(options);
  for (const frame of vector.frames) {
    same(frame, () => deltaOf(frame, context, vector), frame.delta);
  }
  assert.equal(vector.frames.at(-1)?.error, vector.error, "the last frame has the vector's error");
}

/** @param {OperationsFrame} frame @param {Context} context @param {Operations} vector */
function deltaOf(frame, context, { direction, replica: author }) {
  const reader = new Reader(fromHex(frame.body));
  const replica = direction === "down" ? { replica: idToJson(context.readAuthor(reader)) } : {};
  const { through, operations } = readDelta(reader, context, (profile, content, version) => {
    const title = frame.live.find(
      (live) => live.profile === idToJson(profile) && live.content === content,
    );
    const known = (/** @type {LiveDot} */ dot) =>
      direction === "down" || dot.replica === author || BigInt(dot.version ?? 0) <= version;
    return (title?.dots ?? []).filter(known).map(dotFromJson);
  });
  const delta = { through: stampToJson(through), operations: operations.map(operationToJson) };
  return { ...replica, ...delta };
}

/** @param {Records} vector */
function readRecords(vector) {
  const records = vector.records.map(fromHex);
  same(vector, () => replicaToJson(replay(records)), vector.replica);
  const { kept } = vector;
  if (kept === undefined) return;
  // The damage is in the record after those that are kept, and in none of those.
  same(vector, () => replay(records.slice(0, kept + 1)), undefined);
  if (kept > 0) replay(records.slice(0, kept));
}

/** Frames and records of a session say the same. @param {Session} vector */
function witness({ records, first, steps, shown }) {
  const device = new Witness(records);
  device.take(first);
  for (const { call, args, outputs } of steps) {
    if (call === "frame") {
      const left = outputs.some(([output]) => output === "disconnect");
      assert.equal(device.received(args[0]), !left, "the device leaves what it can't go on with");
    }
    device.take(outputs);
  }
  assert.ok((device.frames.get("hello") ?? 0) > 0, "a session begins with a hello");
  const stored = device.stored;
  assert.deepEqual(stateToJson(stored.state), device.state);
  assert.equal(stored.cursor?.version ?? 0n, device.version);
  assert.equal(idToJson(stored.id), shown.replicaId);
  assert.equal(stored.outbox.length, shown.pending);
}
