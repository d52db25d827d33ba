// Taste and the household that taught it: it goes with it, and no other household sees or sends it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage, OmegaError, open } from "omega-sync/patterns";
import WebSocket from "ws";
import { Edge } from "./edge.mjs";
import { titles } from "./titles.mjs";
import { codeOf, newHousehold } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** A device's storages. */
const newDevice = () => ({
  storage: new MemoryStorage(),
  storages: /** @type {const} */ ([new MemoryStorage(), new MemoryStorage()]),
});

/**
 * @param {import("node:test").TestContext} context
 * @param {ReturnType<typeof newDevice>} device @param {string} household
 * @param {Partial<import("omega-sync/patterns").PatternsOptions>} [more]
 */
async function openTv(context, { storage, storages }, household, more) {
  const client = await open({
    url: edge.address,
    device: "tv",
    token: async () => edge.token(household, "tv"),
    storage,
    WebSocket: /** @type {any} */ (WebSocket),
    taste: { storages },
    ...more,
  });
  context.after(() => client.close());
  return client;
}

/** @param {import("omega-sync/patterns").PatternsClient} tv */
async function learn(tv) {
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  for (let at = 0; at < 10; at += 1) await tv.taste.record({ content: `Drama:${at}`, watched: 1 });
  assert.equal(tv.taste.patterns().length, 1);
}

/** @param {ReturnType<typeof newDevice>} device @returns {Promise<number>} records of taste */
async function stored({ storages }) {
  const logs = await Promise.all(storages.map((storage) => storage.load()));
  return logs.flat().length;
}

test("the next household neither sees nor sends what another one taught", async (context) => {
  const device = newDevice();
  const [one, two] = [newHousehold(), newHousehold()];
  const first = await openTv(context, device, one);
  await learn(first);
  assert.equal(await first.taste.sync(), "ok");
  await first.close();

  const same = await openTv(context, device, one, { household: one });
  assert.equal(same.taste.patterns().length, 1, "its own stays");
  await same.close();

  // The household's storage alone is gone, and only the server says whose this is now.
  device.storage = new MemoryStorage();
  const next = await openTv(context, device, two);
  await eventually(next, "live", () => next.status().state === "live");
  assert.equal(await next.taste.sync(), "ok");
  assert.deepEqual(next.taste.patterns(), []);
  assert.deepEqual(next.taste.recommend(5), []);
  assert.deepEqual(next.taste.contributions(), []);
  assert.equal(next.taste.status().titles, 0);
  await learn(next);
  await next.close();

  // The app says whose it is, and there is no network.
  device.storage = new MemoryStorage();
  const token = () => Promise.reject(new Error("no network"));
  const third = await openTv(context, device, "", { household: newHousehold(), token });
  assert.deepEqual(third.taste.patterns(), []);
  await third.close();
});

test("taste that can't be erased keeps no household from being erased", async (context) => {
  const device = newDevice();
  const tv = await openTv(context, device, newHousehold());
  await learn(tv);
  const [small] = device.storages;
  const erase = small.destroy;
  small.destroy = () => Promise.reject(new OmegaError("storage_failed", "not now"));
  await assert.rejects(tv.destroy(), (error) => codeOf(error) === "storage_failed");
  assert.deepEqual(await device.storage.load(), []);
  small.destroy = erase;
  await tv.destroy();
  assert.equal(await stored(device), 0);
});

/** @type {Record<string, (tv: import("omega-sync").Client) => Promise<unknown>>} */
const ORDERS = {
  destroy: (tv) => tv.destroy(),
  "close, destroy": (tv) => tv.close().then(() => tv.destroy()),
  "destroy, close": (tv) => tv.destroy().then(() => tv.close()),
  "close and destroy at once": (tv) => Promise.all([tv.close(), tv.destroy()]),
  "destroy twice at once": (tv) => Promise.all([tv.destroy(), tv.destroy()]),
};

for (const [order, run] of Object.entries(ORDERS)) {
  test(`${order}: taste is erased with the household, and the page goes on`, async (context) => {
    const device = newDevice();
    const tv = await openTv(context, device, newHousehold());
    await learn(tv);
    const waiting = tv.taste.record({ content: "Drama:20", watched: 1 }).then(String, codeOf);
    await run(tv);
    assert.ok(["undefined", "destroyed"].includes(await waiting));
    assert.equal(await stored(device), 0);
    assert.deepEqual(await device.storage.load(), []);
    assert.throws(
      () => tv.taste.patterns(),
      (error) => codeOf(error) === "destroyed",
    );
    const next = await openTv(context, device, newHousehold());
    await learn(next);
    await tv.destroy();
    await tv.close();
    assert.notEqual(await stored(device), 0, "what the next user has stored stays");
  });
}

test("a sync that can't be had says so", async (context) => {
  const closed = await openTv(context, newDevice(), newHousehold());
  closed.pause();
  const [waiting, next] = [closed.taste.sync(), closed.taste.sync()];
  await Promise.all([
    closed.close(),
    assert.rejects(waiting, (error) => codeOf(error) === "closed"),
    assert.rejects(next, (error) => codeOf(error) === "closed"),
  ]);
  await assert.rejects(closed.taste.sync(), (error) => codeOf(error) === "closed");

  const stopped = await openTv(context, newDevice(), newHousehold(), { household: "another" });
  await assert.rejects(stopped.taste.sync(), (error) => codeOf(error) === "sync_failed");
  assert.equal(stopped.status().closeReason, "household_mismatch");
  await assert.rejects(stopped.taste.sync(), (error) => codeOf(error) === "sync_failed");

  const device = newDevice();
  const failing = await openTv(context, device, newHousehold());
  failing.pause();
  device.storages[0].commit = () => Promise.reject(new OmegaError("storage_full", "full"));
  const write = failing.taste.optOut(true);
  const sync = failing.taste.sync();
  for (const promise of [write, sync]) {
    await assert.rejects(promise, (error) => codeOf(error) === "storage_full");
  }
  await assert.rejects(failing.taste.sync(), (error) => codeOf(error) === "storage_full");

  const tables = () => Promise.reject(new Error("no tables"));
  const storages = newDevice().storages;
  const without = await openTv(context, newDevice(), newHousehold(), {
    taste: { tables, storages },
  });
  await assert.rejects(without.taste.sync(), (error) => codeOf(error) === "tables_failed");
});
