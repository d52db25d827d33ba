// Promises that wait for the server end when nothing will come of them any more.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage, OmegaError } from "omega-sync";
import { Disk } from "./disk.mjs";
import { Edge } from "./edge.mjs";
import { codeOf, newHousehold, openTv } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** @param {Promise<unknown>} promise @param {string} code */
const rejected = (promise, code) => assert.rejects(promise, (error) => codeOf(error) === code);

test("flushed and syncNow of a client that has stopped", async (context) => {
  const disk = new Disk();
  const strange = () => ({ household: "somewhere", storage: disk.open() });
  const tv = await openTv(context, edge, newHousehold(), "tv", strange());
  const follower = await openTv(context, edge, newHousehold(), "tv", strange());
  tv.pause();
  await tv.watchlist.add("tmdb:1");
  await eventually(follower, "the title", () => follower.pending === 1);
  const waiting = [tv.flushed(), follower.flushed()];
  tv.resume();
  for (const promise of waiting) await rejected(promise, "sync_failed");
  for (const client of [tv, follower]) {
    await eventually(client, "stopped", () => client.status().state === "stopped");
    assert.equal(client.status().closeReason, "household_mismatch");
    await rejected(client.flushed(), "sync_failed");
    await rejected(client.syncNow(), "sync_failed");
  }
});

test("syncNow while nothing can be stored", async (context) => {
  const storage = new MemoryStorage();
  const tv = await openTv(context, edge, newHousehold(), "tv", { storage });
  await tv.syncNow();
  const { commit } = storage;
  storage.commit = () => Promise.reject(new OmegaError("storage_full", "full"));
  await rejected(tv.watchlist.add("tmdb:1"), "storage_full");
  await rejected(tv.syncNow(), "storage_full");
  storage.commit = commit;
  await tv.syncNow();
  assert.equal(tv.pending, 0);
});

test("flushed and syncNow that wait when the client is closed", async (context) => {
  const tv = await openTv(context, edge, newHousehold(), "tv");
  tv.pause();
  await tv.watchlist.add("tmdb:1");
  const waiting = tv.flushed();
  await Promise.all([tv.close(), rejected(waiting, "closed")]);
  await rejected(tv.flushed(), "closed");
  await rejected(tv.syncNow(), "closed");
});

test("a tab that follows is told of a refused write", async (context) => {
  const disk = new Disk();
  const household = newHousehold();
  const options = () => ({
    storage: disk.open(),
    token: async () => edge.token(household, "tv", "--scope", "read"),
  });
  await openTv(context, edge, household, "tv", options());
  const follower = await openTv(context, edge, household, "tv", options());
  await eventually(follower, "it follows", () => follower.status().state === "live");
  /** @type {string[][]} */
  const told = [];
  follower.on("rejected", (list) => told.push(list.map(({ subject }) => subject)));
  await follower.watchlist.add("tmdb:1");
  await eventually(follower, "refused", () => told.length === 1);
  assert.deepEqual(told, [["tmdb:1"]]);
});

test("a tab that follows does not take what it has not seen of refused writes", async (context) => {
  const disk = new Disk();
  const household = newHousehold();
  const options = (/** @type {ReturnType<Disk["open"]>} */ storage) => ({
    storage,
    token: async () => edge.token(household, "tv", "--scope", "read"),
  });
  const leader = await openTv(context, edge, household, "tv", options(disk.open()));
  const storage = disk.open();
  const peek = storage.peek.bind(storage);
  let gate = Promise.resolve();
  storage.peek = () => gate.then(peek);
  const follower = await openTv(context, edge, household, "tv", options(storage));
  const names = (/** @type {import("omega-sync").Rejected[]} */ list) =>
    list.map(({ subject }) => subject);
  await follower.watchlist.add("tmdb:1");
  await eventually(follower, "the first", () => follower.rejected().length === 1);
  /** @type {() => void} */
  let looksAgain = () => undefined;
  gate = new Promise((resolve) => {
    looksAgain = resolve;
  });
  await leader.watchlist.add("tmdb:2");
  await eventually(leader, "the second", () => leader.rejected().length === 2);
  const taking = follower.takeRejected();
  looksAgain();
  assert.deepEqual(names(await taking), ["tmdb:1"]);
  await eventually(follower, "both", () => follower.rejected().length === 2);
  assert.deepEqual(names(await follower.takeRejected()), ["tmdb:1", "tmdb:2"]);
  await eventually(leader, "none", () => leader.status().rejected === 0);
});
