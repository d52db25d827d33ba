// Tabs of one storage that come, freeze and die in any order, over messages that are late, lost and
// doubled and a storage that fails now and then: what a tab was promised to be stored is stored, nothing
// is made twice or out of its order, and in the end all show the same.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as engine from "omega-sync/engine";
import { Air, Place } from "./air.mjs";
import { titles } from "./tv.mjs";

/** @typedef {import("omega-sync").Client} Client */
/** @typedef {{client: Client, place: Place, name: string, writes: number, waiting: Set<string>}} Tab */

const SEEDS = 20;
const STEPS = 60;
const TABS_MAX = 4;
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const DURATION_S = 100_000;
/** What a write may be refused with where its storage fails, or where too much is lost. */
const EXCUSES = ["storage_failed", "superseded"];

await engine.startEngine(() => readFileSync(fileURLToPath(import.meta.resolve("omega-sync/wasm"))));

for (let seed = 1; seed <= SEEDS; seed += 1) {
  test(`seed ${seed}: tabs that take turns lose and double nothing`, async (context) => {
    const air = new Air(seed);
    context.after(() => air.time.release());
    await air.take();
    const { roll } = air;
    /** @type {Tab[]} */
    let tabs = [];
    /** Titles whose promise was kept, and how far each tab's own title was at most. */
    const kept = new Set();
    /** @type {Map<string, number>} */
    const reached = new Map();
    /** @type {string[]} */
    let onDisk = [];
    air.stored = () => {
      const { replica } = engine.loadReplica(air.disk.records, "");
      onDisk = engine.readRows(replica, "watchlist", [""]).map(([title]) => String(title));
      for (const [title, position] of engine.readRows(replica, "progressAll", [""])) {
        const before = reached.get(String(title)) ?? 0;
        if (Number(position) < before)
          wrong.push(`${title} goes back to ${position} from ${before}`);
        reached.set(String(title), Number(position));
      }
      replica.free();
    };
    /** @type {string[]} */
    const wrong = [];
    let opened = 0;
    const join = async () => {
      opened += 1;
      const place = new Place();
      const client = await air.open(place);
      client.pause();
      tabs.push({ client, place, name: `tab${opened}`, writes: 0, waiting: new Set() });
    };
    const write = (/** @type {Tab} */ { client, name, writes, waiting }) => {
      const title = `${name}-${writes}`;
      waiting.add(title);
      const times = { positionSeconds: writes, durationSeconds: DURATION_S };
      const done = writes % 2 ? client.watchlist.add(title) : client.progress.set(name, times);
      done.then(
        () => {
          waiting.delete(title);
          if (writes % 2) kept.add(title);
          const isThere = writes % 2 ? onDisk.includes(title) : (reached.get(name) ?? 0) >= writes;
          if (!isThere) wrong.push(`${title} is not stored when its promise resolves`);
        },
        (/** @type {import("omega-sync").OmegaError} */ { code }) => {
          waiting.delete(title);
          if (!EXCUSES.includes(code)) wrong.push(`${title}: ${code}`);
        },
      );
    };
    await join();
    await join();
    air.bad = 5;
    for (let step = 0; step < STEPS; step += 1) {
      const tab = tabs[roll(tabs.length)];
      assert.ok(tab);
      const what = roll(12);
      if (what < 6) {
        for (let more = roll(3); more >= 0; more -= 1) {
          tab.writes += 1;
          write(tab);
        }
      } else if (what === 6) tab.place.freeze();
      else if (what === 7) for (const { place } of tabs) place.wake();
      else if (what === 8 && tabs.length > 1) {
        tab.place.isDead = true;
        tabs = tabs.filter((other) => other !== tab);
      } else if (what === 9 && tabs.length < TABS_MAX) {
        const { bad } = air;
        air.bad = 0;
        await join();
        air.bad = bad;
      } else await air.time.pass(roll(6_000));
    }
    air.bad = 0;
    for (const { place } of tabs) place.wake();
    await air.time.pass(2 * MINUTE_MS);
    const alive = tabs.filter(({ client }) => client.status().closeReason !== "superseded");
    for (const { waiting, name } of alive) assert.deepEqual([...waiting], [], `of ${name}`);
    assert.deepEqual(wrong, []);
    for (const title of kept) assert.ok(onDisk.includes(title), `${title} is lost`);
    for (const { client } of alive) assert.deepEqual(titles(client), [...onDisk].sort());
    const leaders = alive.filter(({ client }) => client.status().role === "leader");
    assert.equal(leaders.length, Math.min(1, alive.length));
    context.diagnostic(
      `${kept.size} kept, ${opened} tabs, ${alive.length} of ${tabs.length} go on`,
    );
  });
}

/** Two tabs, the first of which leads. @param {import("node:test").TestContext} context */
async function leaderAndFollower(context) {
  const air = new Air(1);
  context.after(() => air.time.release());
  await air.take();
  const places = [new Place(), new Place()];
  const tabs = [];
  for (const place of places) {
    const client = await air.open(place);
    client.pause();
    await air.time.pass(SECOND_MS);
    tabs.push({ client, place });
  }
  const [leader, follower] = tabs;
  assert.ok(leader && follower);
  assert.equal(follower.client.status().role, "follower");
  return { air, leader, follower };
}

test("a storage that fails while nobody leads is tried until it works", async (context) => {
  const { air, leader, follower } = await leaderAndFollower(context);
  follower.place.fails = ["load"];
  leader.place.isDead = true;
  await air.time.pass(MINUTE_MS);
  assert.notEqual(follower.client.status().state, "stopped");
  follower.place.fails = [];
  await air.until(follower.client.watchlist.add("one"));
  assert.equal(follower.client.status().role, "leader");
});

test("a leader that was replaced follows as soon as its storage works", async (context) => {
  const { air, leader, follower } = await leaderAndFollower(context);
  leader.place.freeze();
  await air.until(follower.client.watchlist.add("one"));
  leader.place.fails = ["peek"];
  leader.place.wake();
  const refused = { code: "storage_failed" };
  await assert.rejects(air.until(leader.client.watchlist.add("two")), refused);
  await air.time.pass(MINUTE_MS);
  await assert.rejects(air.until(leader.client.watchlist.add("three")), refused);
  leader.place.fails = [];
  await air.time.pass(MINUTE_MS);
  await air.until(leader.client.watchlist.add("four"));
  assert.equal(leader.client.status().role, "follower");
  assert.deepEqual(titles(leader.client), ["four", "one"]);
});

test("without a leader and a storage that works writes are refused, and close ends", async (context) => {
  const { air, leader, follower } = await leaderAndFollower(context);
  /** @type {string[]} */
  const told = [];
  follower.client.on("error", ({ code }) => told.push(code));
  follower.place.fails = ["load"];
  leader.place.isDead = true;
  const refused = { code: "storage_failed" };
  await assert.rejects(air.until(follower.client.watchlist.add("one")), refused);
  await assert.rejects(air.until(follower.client.syncNow()), refused);
  await air.time.pass(MINUTE_MS);
  const { state, closeReason } = follower.client.status();
  assert.deepEqual([told, state, closeReason], [["storage_failed"], "offline", "storage_failed"]);
  const last = assert.rejects(follower.client.watchlist.add("two"), refused);
  await air.until(follower.client.close());
  await last;
});

test("a follower that failed to read once reads again, and tells what changed", async (context) => {
  const { air, leader, follower } = await leaderAndFollower(context);
  /** @type {string[]} */
  const told = [];
  follower.client.on("change", ({ what }) => told.push(what));
  follower.place.fails = ["peek"];
  await air.until(leader.client.watchlist.add("one"));
  await air.time.pass(SECOND_MS);
  assert.deepEqual([titles(follower.client), told], [[], []]);
  follower.place.fails = [];
  await air.time.pass(10 * SECOND_MS);
  assert.deepEqual(titles(follower.client), ["one"]);
  assert.ok(told.includes("watchlist"), told.join());
});
