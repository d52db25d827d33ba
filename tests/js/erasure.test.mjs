// A household is erased while one of its TVs is on and another is off.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage } from "omega-sync";
import { open } from "omega-sync/patterns";
import WebSocket from "ws";
import { Edge } from "./edge.mjs";
import { title } from "./titles.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

test("TVs forget an erased household and begin anew", async (context) => {
  const household = newHousehold();
  const [on, off] = [new MemoryStorage(), new MemoryStorage()];
  const living = await openTv(context, edge, household, "tv-living", { storage: on });
  const bedroom = await openTv(context, edge, household, "tv-bedroom", { storage: off });
  await living.watchlist.add("tmdb:603");
  await eventually(bedroom, "the title", () => titles(bedroom).includes("tmdb:603"));
  bedroom.pause();
  await bedroom.watchlist.add("tmdb:604");
  const poll = { everySeconds: 1 };
  const kitchen = await openTv(context, edge, household, "tv-kitchen", { poll });
  await eventually(kitchen, "the title", () => titles(kitchen).includes("tmdb:603"));

  const taste = /** @type {const} */ ([new MemoryStorage(), new MemoryStorage()]);
  const settings = {
    url: edge.address,
    device: "tv-kids",
    storage: new MemoryStorage(),
    WebSocket,
  };
  const token = async () => edge.token(household, "tv-kids");
  const kids = await open({ ...settings, token, taste: { storages: taste } });
  context.after(() => kids.close());
  await kids.taste.record({ ...title("Drama", 1, 0), watched: 1 });
  await eventually(kids, "the title", () => kids.watchlist.has("tmdb:603"));
  assert.equal((await taste[0].load()).length > 0, true);

  const headers = { authorization: `Bearer ${edge.token(household, "phone")}` };
  const address = `${edge.address}/api/v1/household`;
  const answer = await fetch(`${address}?confirm=erase`, { method: "DELETE", headers });
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { success: true, existed: true });

  for (const tv of [living, bedroom, kitchen]) {
    if (tv === bedroom) tv.resume();
    await eventually(tv, "stopped", () => tv.status().state === "stopped");
    assert.equal(tv.status().closeReason, "erased");
    assert.deepEqual(titles(tv), []);
    assert.equal(tv.pending, 0);
    await tv.close();
  }

  await eventually(kids, "stopped", () => kids.status().closeReason === "erased");
  assert.throws(() => kids.taste.patterns(), { code: "destroyed" });
  await until("the taste is gone", async () => {
    const left = await Promise.all(taste.map((storage) => storage.load()));
    return left.flat().length === 0;
  });

  const again = await openTv(context, edge, household, "tv-bedroom", { storage: off });
  await eventually(again, "live", () => again.status().state === "live");
  await again.watchlist.add("tmdb:605");
  await again.flushed();
  assert.deepEqual(titles(again), ["tmdb:605"]);
  const held = await (await fetch(`${address}/export`, { headers })).text();
  assert.ok(held.includes("tmdb:605"));
  assert.ok(!held.includes("tmdb:603") && !held.includes("tmdb:604"), held);
});

test("a TV that was told of the erasure stays stopped, whatever wakes it", async (context) => {
  const household = newHousehold();
  const page = Object.assign(new EventTarget(), { hidden: false });
  Object.assign(globalThis, { document: page });
  context.after(() => Reflect.deleteProperty(globalThis, "document"));
  const tv = await openTv(context, edge, household, "tv-living");
  await tv.watchlist.add("tmdb:603");
  await tv.flushed();
  const headers = { authorization: `Bearer ${edge.token(household, "phone")}` };
  const address = `${edge.address}/api/v1/household`;
  await fetch(`${address}?confirm=erase`, { method: "DELETE", headers });
  await eventually(tv, "stopped", () => tv.status().state === "stopped");
  await tv.watchlist.add("tmdb:604");

  const wakes = [
    () => page.dispatchEvent(new Event("resume")),
    () => tv.resume(),
    () => {
      tv.pause();
      tv.resume();
    },
  ];
  for (const wake of wakes) {
    wake();
    const { state, closeReason } = tv.status();
    assert.deepEqual([state, closeReason], ["stopped", "erased"]);
    await assert.rejects(tv.syncNow(), { code: "sync_failed" });
    await assert.rejects(tv.flushed(), { code: "sync_failed" });
  }
  const held = await (await fetch(`${address}/export`, { headers })).text();
  assert.ok(!held.includes("tmdb:"), held);
});
