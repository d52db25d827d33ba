// Logout in every order of calls, on storages of the app's own: nothing is left, nothing breaks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStorage, OmegaError } from "omega-sync";
import { Disk, leaderAndFollower, NOWHERE } from "./disk.mjs";
import { codeOf, openTv, titles } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @typedef {import("omega-sync").Client} Client */

/** What can be asked of a client that is gone. @type {Record<string, (tv: Client) => unknown>} */
const ASKED = {
  "what it shows": (tv) => titles(tv),
  "a write": (tv) => tv.watchlist.add("more"),
  "whether all is sent": (tv) => tv.flushed(),
  "a sync": (tv) => tv.syncNow(),
  everything: (tv) => tv.exportData(),
};

/** @param {() => unknown} call @returns {Promise<string>} "done", or the error's code */
async function saidOf(call) {
  try {
    await call();
    return "done";
  } catch (error) {
    return codeOf(error);
  }
}

/** @param {import("node:test").TestContext} context @param {MemoryStorage} storage */
async function loggedIn(context, storage) {
  const tv = await openTv(context, NOWHERE, "", "tv", { storage });
  tv.pause();
  await tv.watchlist.add("secret");
  return tv;
}

/** @type {Record<string, (tv: Client) => Promise<unknown>>} */
const ORDERS = {
  destroy: (tv) => tv.destroy(),
  "close, destroy": (tv) => tv.close().then(() => tv.destroy()),
  "destroy, close": (tv) => tv.destroy().then(() => tv.close()),
  "destroy, destroy": (tv) => tv.destroy().then(() => tv.destroy()),
  "close, destroy, close": async (tv) => {
    for (const call of ["close", "destroy", "close"])
      await Reflect.apply(Reflect.get(tv, call), tv, []);
  },
  "close and destroy at once": (tv) => Promise.all([tv.close(), tv.destroy()]),
  "destroy and close at once": (tv) => Promise.all([tv.destroy(), tv.close()]),
  "destroy twice at once": (tv) => Promise.all([tv.destroy(), tv.destroy()]),
  "destroy during a write": (tv) =>
    Promise.all([tv.watchlist.add("late").catch(() => undefined), tv.destroy()]),
};

for (const [order, run] of Object.entries(ORDERS)) {
  test(`${order}: all is erased, and the page goes on`, async (context) => {
    const storage = new MemoryStorage();
    const other = await openTv(context, NOWHERE, "", "other");
    const tv = await loggedIn(context, storage);
    await run(tv);
    assert.deepEqual(await storage.load(), []);
    const { state, closeReason, pending } = tv.status();
    assert.deepEqual({ state, closeReason, pending }, { ...GONE, pending: 0 });
    for (const [what, ask] of Object.entries(ASKED)) {
      assert.equal(await saidOf(() => ask(tv)), "destroyed", what);
    }
    await other.watchlist.add("the engine works");
    const next = await loggedIn(context, storage);
    assert.deepEqual(titles(next), ["secret"]);
    await tv.destroy();
    await tv.close();
    assert.notDeepEqual(await storage.load(), [], "what the next user has stored stays");
  });
}

const GONE = { state: "stopped", closeReason: "destroyed" };

for (const from of ["leader", "follower"]) {
  test(`logout in the ${from}: the other tab stops, and can be closed and logged out`, async (context) => {
    const disk = new Disk();
    const { leader, follower } = await leaderAndFollower(context, disk);
    const [here, there] = from === "leader" ? [leader, follower] : [follower, leader];
    /** @type {string[]} */
    const told = [];
    here.on("error", ({ code }) => told.push(`here ${code}`));
    here.on("status", ({ closeReason }) => told.push(`here is ${closeReason}`));
    there.on("error", ({ code }) => told.push(`there ${code}`));
    await here.destroy();
    assert.deepEqual(disk.records, []);
    await eventually(there, "it hears", () => there.status().closeReason === "destroyed");
    // Who asked for it is no one to be warned.
    assert.deepEqual(told.sort(), ["here is destroyed", "there destroyed"]);
    await there.close();
    assert.equal(there.status().closeReason, "destroyed");
    await there.destroy();
    const next = await openTv(context, NOWHERE, "", "tv", { storage: disk.open() });
    assert.deepEqual(titles(next), []);
  });
}

test("logout of a closed client stops the other tab", async (context) => {
  const { leader, follower } = await leaderAndFollower(context, new Disk());
  await leader.close();
  await eventually(follower, "it leads", () => follower.status().role === "leader");
  await leader.destroy();
  await eventually(follower, "it hears", () => follower.status().closeReason === "destroyed");
});

test("a storage that fails to erase says so, and is tried again", async (context) => {
  const storage = new MemoryStorage();
  const tv = await loggedIn(context, storage);
  const erase = storage.destroy;
  storage.destroy = () => Promise.reject(new OmegaError("storage_failed", "not now"));
  assert.equal(await saidOf(() => tv.destroy()), "storage_failed");
  assert.equal(await saidOf(() => titles(tv)), "destroyed");
  storage.destroy = erase;
  await tv.destroy();
  assert.deepEqual(await storage.load(), []);
});

test("a storage that cannot erase refuses the logout, and the client goes on", async (context) => {
  const storage = new MemoryStorage();
  const tv = await loggedIn(context, storage);
  Object.defineProperty(storage, "destroy", { value: undefined });
  assert.equal(await saidOf(() => tv.destroy()), "invalid_option");
  await tv.watchlist.add("more");
  assert.deepEqual(titles(tv), ["more", "secret"]);
});
