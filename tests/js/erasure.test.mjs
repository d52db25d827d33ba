// A household is erased while one of its TVs is on and another is off.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage } from "omega-sync";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually } from "./until.mjs";

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

  const again = await openTv(context, edge, household, "tv-bedroom", { storage: off });
  await eventually(again, "live", () => again.status().state === "live");
  await again.watchlist.add("tmdb:605");
  await again.flushed();
  assert.deepEqual(titles(again), ["tmdb:605"]);
  const held = await (await fetch(`${address}/export`, { headers })).text();
  assert.ok(held.includes("tmdb:605"));
  assert.ok(!held.includes("tmdb:603") && !held.includes("tmdb:604"), held);
});
