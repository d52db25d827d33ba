// Listeners that come and go, the same one twice, and those that write while they are told.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NOWHERE } from "./disk.mjs";
import { openTv, titles } from "./tv.mjs";

/** A TV that nobody answers. @param {import("node:test").TestContext} context */
async function aloneTv(context) {
  const tv = await openTv(context, NOWHERE, "", "tv");
  tv.pause();
  return tv;
}

test("each subscription ends by itself, also of a function that is subscribed twice", async (context) => {
  const tv = await aloneTv(context);
  let calls = 0;
  const count = () => {
    calls += 1;
  };
  const endFirst = tv.on("change", count);
  const endSecond = tv.on("change", count);
  await tv.watchlist.add("both");
  assert.equal(calls, 2);
  endFirst();
  await tv.watchlist.add("second");
  assert.equal(calls, 3);
  const endThird = tv.on("change", count);
  endFirst();
  endSecond();
  endSecond();
  await tv.watchlist.add("third");
  assert.equal(calls, 4);
  endThird();
  await tv.watchlist.add("none");
  assert.equal(calls, 4);
});

test("who was unsubscribed by a listener before it is not called any more", async (context) => {
  const tv = await aloneTv(context);
  let calls = 0;
  let end = () => {};
  tv.on("change", () => end());
  end = tv.on("change", () => {
    calls += 1;
  });
  await tv.watchlist.add("title");
  assert.equal(calls, 0);
});

test("a listener that writes is told of that after what it was called for", async (context) => {
  const tv = await aloneTv(context);
  /** @type {string[]} */
  const told = [];
  let depth = 0;
  let deepest = 0;
  /** @type {Promise<void>[]} */
  const writes = [];
  tv.on("change", () => {
    depth += 1;
    deepest = Math.max(deepest, depth);
    told.push("change");
    if (writes.length < 300) {
      writes.push(tv.watchlist.add(`title-${writes.length}`));
      // What was written can be read at once.
      assert.ok(tv.watchlist.has(`title-${writes.length - 1}`));
    }
    depth -= 1;
  });
  tv.on("status", ({ pending }) => told.push(`pending ${pending}`));
  await tv.watchlist.add("first");
  await Promise.all(writes);
  assert.equal(deepest, 1);
  assert.equal(titles(tv).length, 301);
  assert.equal(told.filter((word) => word === "change").length, 301);
  // What a status says is so when it is told, and not told again.
  const pending = told.filter((word) => word !== "change");
  const ascending = Array.from({ length: 300 }, (_, nth) => `pending ${nth + 2}`);
  assert.deepEqual(pending.slice(0, 300), ascending);
  assert.deepEqual(told.slice(0, 3), ["change", "change", "pending 2"]);
});
