// The options of the service that this one replaces, on the real server: what they do, and what they
// do not.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage, open } from "omega-sync";
import WebSocket from "ws";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @typedef {import("omega-sync").DeltaSyncOptions} DeltaSyncOptions */
/** @typedef {import("omega-sync").WebSocketConstructor} WebSocketConstructor */

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

const TAGS = new Map([
  [1, "snapshot"],
  [2, "difference"],
]);
/** The lower half of a frame's first byte. */
const TAG_BITS = 15;

/** A WebSocket class that notes what its sockets catch up by, and every frame they send. */
function listening() {
  /** @type {string[]} */
  const heard = [];
  /** @type {Buffer[]} */
  const sent = [];
  class Listening extends WebSocket {
    /** @param {string} url @param {string[]} protocols */
    constructor(url, protocols) {
      super(url, protocols);
      this.on("message", (/** @type {ArrayBuffer} */ data) => {
        const [first = 0] = new Uint8Array(data);
        const tag = TAGS.get(first & TAG_BITS);
        if (tag !== undefined) heard.push(tag);
      });
    }

    /** @override @param {Uint8Array} frame */
    send(frame) {
      sent.push(Buffer.from(frame));
      super.send(frame);
    }
  }
  return {
    heard,
    sent,
    WebSocket: /** @type {WebSocketConstructor} */ (/** @type {unknown} */ (Listening)),
  };
}

/**
 * A TV that has been connected and returns after another one added a title.
 * @param {import("node:test").TestContext} context @param {Edge} server
 * @param {DeltaSyncOptions} [deltaSync]
 */
async function returned(context, server, deltaSync) {
  const household = newHousehold();
  const other = await openTv(context, server, household, "tv-bedroom");
  const { heard, sent, WebSocket } = listening();
  const settings = { WebSocket, ...(deltaSync && { deltaSync }) };
  const tv = await openTv(context, server, household, "tv-living", settings);
  await tv.watchlist.add("tmdb:1");
  await tv.flushed();
  tv.pause();
  heard.length = 0;
  await other.watchlist.add("tmdb:2");
  await other.flushed();
  tv.resume();
  await eventually(tv, "both titles", () => titles(tv).length === 2);
  await other.watchlist.add("tmdb:3");
  await eventually(tv, "the third", () => titles(tv).length === 3);
  return { tv, heard, sent };
}

test("unless told otherwise a device catches up by what changed", async (context) => {
  const { heard } = await returned(context, edge);
  assert.deepEqual(heard, ["difference"]);
});

test("enabled: false catches up by the whole state", async (context) => {
  const { heard } = await returned(context, edge, { enabled: false });
  assert.deepEqual(heard, ["snapshot"]);
});

test("DELTA_SYNC_ENABLED=false does so for every device", async (context) => {
  const server = await Edge.start({ DELTA_SYNC_ENABLED: "false" });
  context.after(() => server.dispose());
  const { heard } = await returned(context, server, { enabled: true });
  assert.deepEqual(heard, ["snapshot"]);
});

test("compression and minBatchSize are taken, and no byte is compressed", async (context) => {
  const name = "Living room ".repeat(5);
  for (const deltaSync of [
    { compression: true, minBatchSize: 1 },
    { compression: false, minBatchSize: 1_000 },
  ]) {
    const server = await Edge.start({
      DELTA_SYNC_COMPRESSION: String(deltaSync.compression),
      DELTA_SYNC_MIN_BATCH_SIZE: String(deltaSync.minBatchSize),
    });
    context.after(() => server.dispose());
    const { tv, sent } = await returned(context, server, deltaSync);
    await tv.devices.describe({ name });
    await tv.flushed();
    assert.ok(
      sent.some((frame) => frame.includes(name)),
      "a text that repeats itself, as it is",
    );
    const { bytesAfterDelta, bytesAfterCompression } = tv.metrics();
    assert.equal(bytesAfterCompression, bytesAfterDelta);
  }
});

test("a setting of the wrong kind is said at once, by both ends", async () => {
  const more = { WebSocket: listening().WebSocket, storage: new MemoryStorage() };
  const options = { url: "http://127.0.0.1:9", device: "tv", token: async () => "", ...more };
  for (const wrong of [
    { enabled: "no" },
    { compression: 1 },
    { minBatchSize: 0 },
    { minBatchSize: 2.5 },
    { minBatchSize: "3" },
  ]) {
    const deltaSync = /** @type {DeltaSyncOptions} */ (/** @type {unknown} */ (wrong));
    await assert.rejects(open({ ...options, deltaSync }), { code: "invalid_option" });
  }
  await assert.rejects(Edge.start({ DELTA_SYNC_ENABLED: "maybe" }), /possible values: true, false/);
});
