// An engine that breaks: nobody trusts it any more, and what was stored before is safe.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import vm from "node:vm";
import { MemoryStorage, open } from "omega-sync";
import WebSocket from "ws";
import { PKG } from "../../scripts/paths.mjs";
import { nextMemory } from "./engine.mjs";
import { codeOf, titles } from "./tv.mjs";

/** @type {import("omega-sync").OpenOptions} */
const ALONE = {
  url: "http://127.0.0.1:9",
  device: "tv-living",
  token: async () => "unused",
  storage: "memory",
  WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
    /** @type {unknown} */ (WebSocket)
  ),
};

test("after the engine broke nothing calls it, and everybody is told", async () => {
  const memory = nextMemory();
  const storage = new MemoryStorage();
  const living = await open({ ...ALONE, storage });
  const bedroom = await open({ ...ALONE, device: "tv-bedroom" });
  /** @type {string[]} */
  const told = [];
  living.on("error", (error) => told.push(error.code));
  /** @type {string[]} */
  const states = [];
  living.on("status", (status) => states.push(status.state));
  await living.watchlist.add("tmdb:1");
  const { replica } = living.status();
  const flushed = living.flushed().catch(codeOf);
  const queued = living.watchlist.add("tmdb:2");

  new Uint8Array((await memory).buffer).fill(0xff);
  assert.equal(await living.watchlist.add("tmdb:3").catch(codeOf), "engine_failed");
  await queued;
  assert.equal(await flushed, "engine_failed");
  assert.deepEqual(told, ["engine_failed"]);
  assert.equal(states.at(-1), "stopped");
  const status = living.status();
  assert.equal(status.closeReason, "engine_failed");
  assert.equal(status.replica, replica);

  // The same engine serves every client of the page; nothing of it is believed any more.
  assert.throws(() => bedroom.watchlist.items(), { code: "engine_failed" });
  assert.equal(bedroom.status().state, "stopped");
  assert.equal(await bedroom.flushed().catch(codeOf), "engine_failed");

  // Whoever opens gets a new one, and the clients of the old one stay as they are.
  const again = await open({ ...ALONE, device: "tv-again" });
  await again.watchlist.add("tmdb:4");
  assert.deepEqual(titles(again), ["tmdb:4"]);
  assert.throws(() => bedroom.watchlist.items(), { code: "engine_failed" });
  assert.equal(living.status().closeReason, "engine_failed");
  assert.equal(again.status().state, "connecting");
  await Promise.all([living.close(), bedroom.close()]);
  assert.deepEqual(titles(again), ["tmdb:4"]);
  await again.close();

  const records = await storage.load();
  assert.ok(records.length >= 2);
  assert.deepEqual(await reloaded(records), ["tmdb:1", "tmdb:2"]);
});

/** The titles in records, read by the single-file build: it has an engine of its own. */
async function reloaded(/** @type {Uint8Array[]} */ records) {
  const script = readFileSync(join(PKG, "dist", "omega-sync.iife.js"), "utf8");
  /** @type {typeof import("omega-sync")} */
  const other = vm.runInThisContext(`(() => { ${script}; return OmegaSync; })()`);
  const storage = new MemoryStorage();
  await storage.commit({ append: records });
  const client = await other.open({ ...ALONE, storage });
  const list = titles(client);
  await client.close();
  return list;
}
