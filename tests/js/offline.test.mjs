// The package without a server, and with storage that fails, is damaged, or is from the future.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStorage, open } from "omega-sync";
import { Edge, freePort } from "./edge.mjs";
import { codeOf, newHousehold, openTv, titles } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** An address where nobody listens. */
async function nowhere() {
  return new Edge(await freePort(), []);
}

/**
 * @param {import("node:test").TestContext} context
 * @param {import("omega-sync").Storage} storage
 * @param {object} [more] settings
 */
async function openAlone(context, storage, more) {
  const edge = await nowhere();
  context.after(() => edge.dispose());
  const token = async () => "unused";
  return openTv(context, edge, "home", "tv-living", { storage, token, ...more });
}

/** Memory that can be full, and counts its commits. */
class TestStorage extends MemoryStorage {
  full = false;
  commits = 0;

  /** @override @param {import("omega-sync").StorageChange} change */
  async commit(change) {
    const { OmegaError } = await import("omega-sync");
    if (this.full) throw new OmegaError("storage_full", "no room");
    this.commits += 1;
    await super.commit(change);
  }
}

test("without a server everything works and outlasts a restart", async (context) => {
  const storage = new MemoryStorage();
  const before = await openAlone(context, storage);
  await before.watchlist.add("tmdb:1");
  await before.progress.set("tmdb:2", { positionSeconds: 61.9, durationSeconds: 600 });
  const { replica } = before.status();
  await before.close();

  const again = await openAlone(context, storage);
  assert.deepEqual(titles(again), ["tmdb:1"]);
  assert.equal(again.progress.resume("tmdb:2"), 61);
  assert.equal(again.pending, 2);
  assert.equal(again.status().replica, replica);
});

test("a loop of writes is one commit", async (context) => {
  const storage = new TestStorage();
  const tv = await openAlone(context, storage);
  await tv.watchlist.add("tmdb:first");
  const before = storage.commits;
  await Promise.all(Array.from({ length: 100 }, (_, at) => tv.watchlist.add(`tmdb:${at}`)));
  assert.equal(storage.commits, before + 1);
});

test("bad input fails the one call, with a code, and changes nothing", async (context) => {
  const tv = await openAlone(context, new MemoryStorage());
  const update = { positionSeconds: 1, durationSeconds: 2 };
  /** @type {Array<[string, () => Promise<unknown>]>} */
  const calls = [
    ["invalid_content_id", () => tv.watchlist.add("")],
    ["invalid_content_id", () => tv.watchlist.add("x".repeat(65))],
    ["invalid_content_id", () => tv.watchlist.add("a\nb")],
    ["invalid_profile", () => tv.forProfile("nonsense").watchlist.add("tmdb:1")],
    ["unknown_profile", () => tv.forProfile("0123456789abcdef").watchlist.add("tmdb:1")],
    ["invalid_profile_name", () => tv.profiles.create("")],
    ["default_profile", () => tv.profiles.delete("")],
    ["invalid_progress", () => tv.progress.set("tmdb:1", { ...update, positionSeconds: -1 })],
    ["invalid_progress", () => tv.progress.set("tmdb:1", { ...update, durationSeconds: NaN })],
    ["invalid_progress", () => tv.progress.set("tmdb:1", { ...update, positionSeconds: 2 ** 32 })],
  ];
  for (const [code, call] of calls) await assert.rejects(call, { name: "OmegaError", code });
  assert.equal(tv.pending, 0);
  await tv.watchlist.add("tmdb:1");
});

test("what is no text fails the one call, with a code, and the engine lives", async (context) => {
  const tv = await openAlone(context, new MemoryStorage());
  const update = { positionSeconds: 1, durationSeconds: 2 };
  for (const wrong of /** @type {any[]} */ ([603, undefined, null, { id: 603 }, ["a"], 1n])) {
    /** @type {Array<[string, () => unknown]>} */
    const calls = [
      ["invalid_content_id", () => tv.watchlist.add(wrong)],
      ["invalid_content_id", () => tv.watchlist.remove(wrong)],
      ["invalid_content_id", () => tv.watchlist.has(wrong)],
      ["invalid_content_id", () => tv.progress.set(wrong, update)],
      ["invalid_content_id", () => tv.progress.remove(wrong)],
      ["invalid_content_id", () => tv.progress.resume(wrong)],
      ["invalid_profile", () => tv.forProfile(wrong).watchlist.items()],
      ["invalid_profile", () => tv.forProfile(wrong).watchlist.add("tmdb:1")],
      ["invalid_profile", () => tv.forProfile(wrong).progress.completed()],
      ["invalid_profile", () => tv.profiles.rename(wrong, "Kid")],
      ["invalid_profile", () => tv.profiles.delete(wrong)],
      ["invalid_profile_name", () => tv.profiles.create(wrong)],
      ["invalid_device", () => tv.devices.remove(wrong)],
      ["invalid_device", () => tv.devices.send(wrong, { type: "play" })],
      ["invalid_command", () => tv.devices.send("b", { type: "load_content", contentId: wrong })],
      ["invalid_command", () => tv.devices.handoff("b", { contentId: wrong })],
    ];
    for (const [code, call] of calls) {
      await assert.rejects(
        async () => await call(),
        { name: "OmegaError", code },
        `${wrong} ${call}`,
      );
    }
  }
  assert.equal(tv.pending, 0);
  await tv.watchlist.add("tmdb:1");
  assert.deepEqual(titles(tv), ["tmdb:1"]);
});

test("a token that is no text fails, and is asked for again", async (context) => {
  for (const wrong of [undefined, { token: "x" }]) {
    const tv = await openAlone(context, new MemoryStorage(), { token: async () => wrong });
    const error = await new Promise((resolve) => tv.on("error", resolve));
    assert.equal(error.code, "token_failed");
  }
});

test("what `open` is told is checked before anything is opened", async (context) => {
  /** @type {Array<[string, object]>} */
  const settings = [
    ["invalid_profile", { profile: "nonsense" }],
    ["invalid_profile", { profile: 5 }],
    ["invalid_household", { household: 5 }],
    ["invalid_device", { device: undefined }],
    ["invalid_option", { token: undefined }],
  ];
  for (const [code, wrong] of settings) {
    const opening = openAlone(context, new MemoryStorage(), wrong);
    await assert.rejects(opening, { name: "OmegaError", code }, JSON.stringify(wrong));
  }
});

test("full storage rejects the write, sends nothing, and heals by itself", async (context) => {
  const edge = await Edge.start();
  context.after(() => edge.dispose());
  const household = newHousehold();
  const storage = new TestStorage();
  const tv = await openTv(context, edge, household, "tv-living", { storage });
  const other = await openTv(context, edge, household, "tv-bedroom");
  await tv.watchlist.add("tmdb:stored");
  await eventually(other, "what was stored", () => titles(other).length === 1);
  /** @type {string[]} */
  const codes = [];
  tv.on("error", (error) => codes.push(error.code));

  storage.full = true;
  await assert.rejects(tv.watchlist.add("tmdb:held"), { code: "storage_full" });
  await assert.rejects(tv.watchlist.add("tmdb:held too"), { code: "storage_full" });
  assert.deepEqual(codes, ["storage_full"]);
  const { state, closeReason } = tv.status();
  assert.deepEqual({ state, closeReason }, { state: "offline", closeReason: "storage_full" });
  assert.ok(tv.watchlist.has("tmdb:held"));
  await other.watchlist.add("tmdb:after it");
  await other.flushed();
  assert.deepEqual(titles(other).sort(), ["tmdb:after it", "tmdb:stored"]);

  storage.full = false;
  await tv.watchlist.add("tmdb:room again");
  await tv.flushed();
  await eventually(other, "everything", () => titles(other).length === 5);
  await tv.close();
  const again = await openTv(context, edge, household, "tv-living", { storage });
  await eventually(again, "everything", () => titles(again).length === 5);
});

test("damaged records are set aside and the server fills the gap", async (context) => {
  const edge = await Edge.start();
  context.after(() => edge.dispose());
  const household = newHousehold();
  const storage = new MemoryStorage();
  const tv = await openTv(context, edge, household, "tv-living", { storage });
  await tv.watchlist.add("tmdb:1");
  await tv.watchlist.add("tmdb:2");
  await tv.flushed();
  const { replica } = tv.status();
  await tv.close();
  const records = await storage.load();
  const damaged = records.map((record) => record.map((byte, at) => (at === 5 ? byte ^ 1 : byte)));
  const [first, ...rest] = damaged;
  assert.ok(first);
  await storage.commit({ replace: first, append: rest });

  const again = await openTv(context, edge, household, "tv-living", { storage });
  /** @type {string[]} */
  const codes = [];
  again.on("error", (error) => codes.push(error.code));
  assert.deepEqual(codes, ["storage_corrupt"]);
  await eventually(again, "recovered", () => titles(again).length === 2);
  const [kept] = await again.aside();
  assert.deepEqual(kept?.records, damaged);
  assert.notEqual(again.status().replica, replica);
});

test("storage of a newer version is refused and left alone", async (context) => {
  const storage = new MemoryStorage();
  const tv = await openAlone(context, storage);
  await tv.watchlist.add("tmdb:1");
  await tv.close();
  const [image, ...rest] = await storage.load();
  assert.ok(image);
  const newer = sealed(image, 255);
  await storage.commit({ replace: newer, append: rest });
  const before = await storage.load();
  await assert.rejects(openAlone(context, storage), { code: "storage_newer" });
  assert.deepEqual(await storage.load(), before);
});

test("a wrong address or a missing WebSocket is said at once", async () => {
  const options = { device: "tv", token: async () => "", storage: /** @type {const} */ ("memory") };
  for (const url of ["", "sync.example", "ftp://sync.example"]) {
    await assert.rejects(open({ ...options, url }), { code: "invalid_url" });
  }
  const opened = await open({ ...options, url: "http://127.0.0.1:1" }).catch(codeOf);
  if (typeof WebSocket === "undefined") assert.equal(opened, "websocket_missing");
  else if (typeof opened === "object") await opened.close();
});

test("a closed client says so", async (context) => {
  const tv = await openAlone(context, new MemoryStorage());
  await tv.close();
  await tv.close();
  await assert.rejects(tv.watchlist.add("tmdb:1"), { code: "closed" });
  await assert.rejects(tv.flushed(), { code: "closed" });
  assert.throws(() => tv.watchlist.items(), { code: "closed" });
});

/** A record with another version number and the right checksum. @param {Uint8Array} record @param {number} version */
function sealed(record, version) {
  const bytes = record.slice();
  bytes[0] = version;
  const view = new DataView(bytes.buffer);
  view.setUint32(bytes.length - 4, checksum(bytes.subarray(0, -4)), true);
  return bytes;
}

/** FNV-1a, 32 bits. @param {Uint8Array} bytes */
function checksum(bytes) {
  return bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}
