// What the engine takes of a TV's memory, and how deep its calls go: on the real server, with more
// titles than a household touches in a year, and everything a client can do.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { MemoryStorage } from "omega-sync";
import { PKG_WASM } from "../../scripts/paths.mjs";
import { Edge } from "./edge.mjs";
import { nextMemory, STACK_BYTES } from "./engine.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** A four-device household has 446 titles with progress and 203 listed ones after a year. */
const WATCHED = 500;
const LISTED = 250;
const MEMORY_BYTES_MAX = 256 * 1024;
/** The number of loading what was stored. */
const LOAD = 31;
/** What the stack is painted with, to see how much of it was written to. */
const PAINT = 0xa5;

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** @param {import("omega-sync").Client} tv */
async function aYearOfViewing(tv) {
  const kids = await tv.profiles.create("Kids");
  const writes = [];
  for (let at = 0; at < WATCHED; at += 1) {
    const positionSeconds = at % 2 ? 8_160 : 17 * at;
    writes.push(tv.progress.set(`tmdb:${9_973 * at}`, { positionSeconds, durationSeconds: 8_160 }));
    if (at < LISTED) writes.push(tv.watchlist.add(`tmdb:${7_919 * at}`));
    if (at % 50 === 0) writes.push(tv.forProfile(kids).watchlist.add(`kids:${at}`));
  }
  await Promise.all(writes);
  await tv.flushed();
  return kids;
}

test("no call takes half of the stack, and none leaves it", async (context) => {
  const started = nextMemory();
  const household = newHousehold();
  const storage = new MemoryStorage();
  const living = await openTv(context, edge, household, "tv-living", { storage });
  const memory = await started;
  // No call is under way: nothing on the stack is in use.
  new Uint8Array(memory.buffer, 0, STACK_BYTES).fill(PAINT);

  const kids = await aYearOfViewing(living);
  const bedroom = await openTv(context, edge, household, "tv-bedroom");
  await eventually(bedroom, "the year", () => titles(bedroom).length === LISTED);
  bedroom.pause();
  await living.profiles.delete(kids);
  await bedroom.forProfile(kids).watchlist.add("kids:late");
  await bedroom.watchlist.remove("tmdb:0");
  await bedroom.progress.remove("tmdb:0");
  await living.flushed();
  bedroom.resume();
  await bedroom.flushed();
  assert.deepEqual(
    (await bedroom.takeRejected()).map(({ reason }) => reason),
    ["profile_deleted"],
  );
  assert.equal(living.progress.inProgress().length + living.progress.completed().length > 0, true);
  await living.close();
  const records = await storage.load();
  records[0]?.fill(PAINT, 4);
  const again = await openTv(context, edge, household, "tv-living", { storage });
  await eventually(again, "all again", () => titles(again).length === LISTED - 1);

  const stack = new Uint8Array(memory.buffer, 0, STACK_BYTES);
  const free = stack.findIndex((byte) => byte !== PAINT);
  context.diagnostic(`deepest call: ${STACK_BYTES - free} of ${STACK_BYTES} bytes`);
  assert.ok(free > STACK_BYTES / 2, `only ${free} bytes of the stack were never used`);
});

test("a year's household takes at most 256 KiB in a new engine", async (context) => {
  const household = newHousehold();
  const living = await openTv(context, edge, household, "tv-living");
  await aYearOfViewing(living);
  const storage = new MemoryStorage();
  const bedroom = await openTv(context, edge, household, "tv-bedroom", { storage });
  await eventually(bedroom, "the year", () => titles(bedroom).length === LISTED);
  await bedroom.close();

  const file = readFileSync(join(PKG_WASM, "omega_sync_wasm_bg.wasm"));
  const { instance } = await WebAssembly.instantiate(file, { env: { grown: () => undefined } });
  const memory = /** @type {WebAssembly.Memory} */ (instance.exports.memory);
  const fresh = memory.buffer.byteLength;
  /** @param {string} name @param {number[]} values @returns {number} */
  const call = (name, ...values) =>
    /** @type {(...values: number[]) => number} */ (instance.exports[name])(...values);
  const replica = call("replica_new", 1, 2, 3, 4);
  const records = [new Uint8Array(0), ...(await storage.load())].flatMap((value) => [
    new Uint8Array(Uint32Array.of(value.length).buffer),
    value,
  ]);
  const values = new Uint8Array(Buffer.concat(records));
  const room = call("room", values.length);
  new Uint8Array(memory.buffer).set(values, room);
  const address = call("replica_call", replica, LOAD, values.length, 0, 0);
  assert.equal(new DataView(memory.buffer).getUint32(address, true), 0, "loaded, no damage");
  context.diagnostic(`${memory.buffer.byteLength} bytes, ${fresh} before loading`);
  assert.ok(memory.buffer.byteLength <= MEMORY_BYTES_MAX);
});
