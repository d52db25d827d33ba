// Taste between two TVs of a household and the real server.
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { MemoryStorage, open } from "omega-sync/patterns";
import WebSocket from "ws";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "./edge.mjs";
import { title, titles } from "./titles.mjs";
import { newHousehold } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** @typedef {import("omega-sync/patterns").PatternsClient} Tv */
/** @typedef {{ storage: MemoryStorage, taste: readonly [MemoryStorage, MemoryStorage] }} Kept */

/** What a TV keeps when it is switched off. @returns {Kept} */
const nothing = () => ({
  storage: new MemoryStorage(),
  taste: [new MemoryStorage(), new MemoryStorage()],
});

/**
 * @param {import("node:test").TestContext} context
 * @param {string} household @param {string} device @param {Kept} kept
 * @param {Partial<import("omega-sync/patterns").TasteOptions>} [more]
 * @param {Partial<import("omega-sync/patterns").PatternsOptions>} [options]
 * @returns {Promise<Tv>}
 */
async function openTv(context, household, device, kept, more = {}, options = {}) {
  const client = await open({
    url: edge.address,
    device,
    token: async () => edge.token(household, device),
    storage: kept.storage,
    WebSocket,
    taste: { storages: kept.taste, tables: tablesOfServer, ...more },
    ...options,
  });
  context.after(() => client.close());
  return client;
}

/** The file that the package has, as an app would fetch it. */
async function tablesOfServer() {
  return readFileSync(join(PKG, "dist", "omega-sync-tables.bin"));
}

/** @param {Tv} tv @param {number} theme @param {number} from @param {number} to */
async function watch(tv, theme, from, to) {
  await tv.taste.learnTitles(titles("Drama", theme, from, to));
  for (let at = from; at < to; at += 1) {
    await tv.taste.record({ content: `Drama:${at}`, watched: 1 });
  }
}

/** What the server has of a household. @param {string} household */
async function waiting(household) {
  const token = edge.token(household, "tv-living");
  const answer = await fetch(`${edge.address}/api/v1/taste/contributions`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  assert.equal(answer.status, 200);
  /** @type {{waiting: {pattern: string, genre: string, sample_count: number, success_count: number}[]}} */
  const body = await answer.json();
  return body.waiting;
}

/** Feeds titles as an operator does. @param {import("omega-sync/patterns").TasteTitle[]} list */
async function feed(list) {
  const token = edge.token("operator", "console", "--scope", "admin");
  const unit = (/** @type {ArrayLike<number>} */ embedding) => {
    const norm = Math.sqrt(Array.from(embedding).reduce((sum, c) => sum + c * c, 0));
    return Array.from(embedding, (component) => component / norm);
  };
  const answer = await fetch(`${edge.address}/api/v1/content`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({
      titles: list.map(({ content, genre, embedding }) => ({
        content_id: content,
        genre,
        embedding: unit(embedding),
      })),
    }),
  });
  assert.equal(answer.status, 200, await answer.text());
}

/** @param {Tv} tv */
async function live(tv) {
  await eventually(tv, "live", () => tv.status().state === "live");
}

test("two TVs bring what they learned, then only what changed", async (context) => {
  const household = newHousehold();
  const living = await openTv(context, household, "tv-living", nothing());
  const bedroom = await openTv(context, household, "tv-bedroom", nothing());
  for (const tv of [living, bedroom]) await live(tv);
  await watch(living, 1, 0, 10);
  await watch(bedroom, 2, 100, 112);
  for (const tv of [living, bedroom]) assert.equal(await tv.taste.sync(), "ok");
  for (const [tv, count] of /** @type {const} */ ([
    [living, 10],
    [bedroom, 12],
  ])) {
    await until("acknowledged", () => tv.taste.contributions().length === 1);
    const [mine] = tv.taste.contributions();
    assert.ok(mine);
    assert.equal(mine.sampleCount, count);
    assert.equal(mine.id, tv.taste.patterns()[0]?.id);
    assert.ok(Math.abs(mine.takenMs - Date.now()) < 600_000);
  }
  const counts = async () => (await waiting(household)).map((row) => row.sample_count).sort();
  assert.deepEqual(await counts(), [10, 12]);

  await watch(living, 1, 10, 12);
  assert.equal(await living.taste.sync(), "ok");
  assert.equal(living.taste.contributions()[0]?.sampleCount, 12);
  assert.deepEqual(await counts(), [12, 12]);
  assert.equal(living.status().state, "live", "the household goes on beside it");
  await living.watchlist.add("tmdb:1");
  await living.flushed();
  await eventually(bedroom, "the list", () => bedroom.watchlist.has("tmdb:1"));

  await living.taste.optOut(true);
  await until("forgotten", () => living.taste.contributions().length === 0);
  assert.deepEqual(await counts(), [12], "the other TV's stays");
});

test("a deleted profile's patterns are taken back", async (context) => {
  const household = newHousehold();
  const tv = await openTv(context, household, "tv-living", nothing());
  await live(tv);
  const ana = await tv.profiles.create("Ana");
  await tv.taste.learnTitles(titles("Drama", 1, 0, 10));
  for (let at = 0; at < 10; at += 1) {
    await tv.taste.forProfile(ana).record({ content: `Drama:${at}`, watched: 1 });
  }
  assert.equal(await tv.taste.sync(), "ok");
  assert.equal((await waiting(household)).length, 1);
  await tv.profiles.delete(ana);
  await until("taken back", () => tv.taste.contributions().length === 0);
  assert.deepEqual(await waiting(household), []);
});

test("profiles that a damaged copy does not list keep what they learned", async (context) => {
  const household = newHousehold();
  const kept = nothing();
  const before = await openTv(context, household, "tv-living", kept);
  const kid = await before.profiles.create("Kid");
  await before.flushed();
  await before.taste.learnTitles(titles("Drama", 1, 0, 10));
  await before.taste.forProfile(kid).record({ content: "Drama:1", watched: 1 });
  await before.close();

  const records = await kept.storage.load();
  for (const record of records) record[5] = 255 - Number(record[5]);
  await kept.storage.destroy();
  await kept.storage.commit({ append: records });
  let gate = () => {};
  /** @type {Promise<void>} */
  const open = new Promise((resolve) => {
    gate = resolve;
  });
  const token = () => open.then(() => edge.token(household, "tv-living"));
  const tv = await openTv(context, household, "tv-living", kept, {}, { token });
  assert.deepEqual(
    tv.profiles.list().map(({ id }) => id),
    [""],
    "nothing could be read",
  );
  const guest = await tv.profiles.create("Guest");
  await tv.profiles.rename(guest, "Guests");
  for (const id of [kid, guest]) assert.equal(tv.taste.forProfile(kid).patterns().length, 1, id);
  await tv.taste.forProfile(guest).record({ content: "Drama:2", watched: 1 });
  await tv.profiles.delete(guest);
  const patterns = () => [kid, guest].map((id) => tv.taste.forProfile(id).patterns().length);
  assert.deepEqual(patterns(), [1, 0]);

  gate();
  await live(tv);
  await tv.flushed();
  assert.deepEqual(
    tv.profiles.list().map(({ name }) => name),
    ["", "Kid"],
  );
  assert.deepEqual(patterns(), [1, 0]);
  const phone = await openTv(context, household, "tv-bedroom", nothing());
  await live(phone);
  await phone.profiles.delete(kid);
  await eventually(tv, "deleted", () => tv.profiles.list().length === 1);
  assert.deepEqual(patterns(), [0, 0], "what is deleted elsewhere goes, too");
});

test("titles of the feed arrive in parts, and are recommended without a server after a restart", async (context) => {
  const household = newHousehold();
  const kept = nothing();
  await feed(titles("Drama", 7, 500, 560));
  const tv = await openTv(context, household, "tv-living", kept, { bytes: { down: 4_096 } });
  await live(tv);
  assert.equal(await tv.taste.sync(), "ok");
  await until("fed", () => tv.taste.status().titles === 60);
  for (let at = 500; at < 510; at += 1) {
    await tv.taste.record({ content: `Drama:${at}`, watched: 1 });
  }
  const picks = tv.taste.recommend(5);
  assert.equal(picks.length, 5);
  await tv.close();
  await edge.kill();
  const again = await openTv(context, household, "tv-living", kept);
  assert.deepEqual(again.taste.recommend(5), picks);
  assert.equal(again.taste.status().titles, 60);
  await edge.start();
});

test("a server that lost its database gets everything whole, and sends everything again", async (context) => {
  const household = newHousehold();
  const tv = await openTv(context, household, "tv-living", nothing());
  await feed([title("Drama", 7, 600)]);
  await live(tv);
  await watch(tv, 1, 0, 10);
  assert.equal(await tv.taste.sync(), "ok");
  await until("acknowledged", () => tv.taste.contributions().length === 1);

  await edge.kill();
  rmSync(join(edge.folder, "data"), { recursive: true });
  await edge.start();
  await feed([title("Drama", 7, 700)]);
  tv.pause();
  tv.resume();
  await live(tv);
  await watch(tv, 1, 10, 11);
  assert.equal(await tv.taste.sync(), "ok");
  const [row] = await waiting(household);
  assert.equal(row?.sample_count, 11, "the new version, though its base was gone");
  assert.equal(tv.taste.contributions()[0]?.sampleCount, 11);
  await tv.taste.record({ content: "Drama:700", watched: 1 });
});

test("a TV that only makes requests exchanges patterns by requests, and says when nobody answers", async (context) => {
  const household = newHousehold();
  await feed([title("Drama", 7, 800)]);
  const poll = { everySeconds: 300 };
  const urls = ["http://127.0.0.1:9", edge.address];
  const tv = await openTv(context, household, "tv-living", nothing(), {}, { poll, urls });
  await watch(tv, 1, 0, 10);
  await eventually(tv, "polling", () => tv.status().state === "polling");
  assert.equal(await tv.taste.sync(), "ok");
  const counts = async () => (await waiting(household)).map((row) => row.sample_count);
  assert.deepEqual(await counts(), [10]);
  assert.ok(tv.taste.status().titles > 10, "the feed's, too");
  await watch(tv, 1, 10, 13);
  await tv.syncNow();
  assert.equal(await tv.taste.sync(), "ok");
  assert.equal(tv.taste.contributions()[0]?.sampleCount, 13);
  assert.deepEqual(await counts(), [13]);

  await edge.kill();
  assert.equal(await tv.taste.sync(), "failed");
  assert.ok(tv.taste.timeUntilNextSync() > 60_000, "and waits");
  await edge.start();
});
