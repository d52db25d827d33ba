// Two TVs on the real server: what one does, the other shows.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** @param {import("node:test").TestContext} context */
async function twoTvs(context) {
  const household = newHousehold();
  const living = await openTv(context, edge, household, "tv-living");
  const bedroom = await openTv(context, edge, household, "tv-bedroom");
  for (const tv of [living, bedroom]) {
    await eventually(tv, "live", () => tv.status().state === "live");
  }
  return { household, living, bedroom };
}

test("a title added on one TV appears on the other, and goes again", async (context) => {
  const { household, living, bedroom } = await twoTvs(context);
  await living.watchlist.add("tmdb:603");
  await eventually(bedroom, "added", () => bedroom.watchlist.has("tmdb:603"));
  await bedroom.watchlist.remove("tmdb:603");
  await eventually(living, "removed", () => !living.watchlist.has("tmdb:603"));
  assert.equal(living.status().household, household);
});

test("progress crosses with its state, and completion is the same on both", async (context) => {
  const { living, bedroom } = await twoTvs(context);
  const update = { positionSeconds: 754, durationSeconds: 8_160 };
  await living.progress.set("tmdb:603", update);
  await eventually(bedroom, "position", () => bedroom.progress.resume("tmdb:603") === 754);
  assert.equal(bedroom.progress.get("tmdb:603")?.state, "playing");
  assert.equal(bedroom.progress.inProgress().length, 1);

  await bedroom.progress.set("tmdb:603", { ...update, positionSeconds: 8_100 });
  await eventually(living, "completed", () => living.progress.completed().length === 1);
  assert.equal(living.progress.resume("tmdb:603"), 0);

  await living.progress.remove("tmdb:603");
  await eventually(bedroom, "gone", () => bedroom.progress.get("tmdb:603") === undefined);
});

test("a profile has lists of its own, and deleting it is final", async (context) => {
  const { living, bedroom } = await twoTvs(context);
  const id = await living.profiles.create("Kids");
  await living.forProfile(id).watchlist.add("tmdb:12");
  const kids = bedroom.forProfile(id);
  await eventually(bedroom, "profile", () => kids.watchlist.has("tmdb:12"));
  assert.deepEqual(titles(bedroom), []);
  await bedroom.profiles.rename(id, "Children");
  const names = () => living.profiles.list().map((profile) => profile.name);
  await eventually(living, "renamed", () => names().includes("Children"));

  await bedroom.profiles.delete(id);
  await eventually(living, "deleted", () => !names().includes("Children"));
  await assert.rejects(living.forProfile(id).watchlist.add("tmdb:13"), { code: "unknown_profile" });
});

test("changes made on both while one is unplugged converge", async (context) => {
  const { living, bedroom } = await twoTvs(context);
  await living.watchlist.add("tmdb:1");
  await living.watchlist.add("tmdb:2");
  await living.flushed();
  await eventually(bedroom, "both titles", () => titles(bedroom).length === 2);

  bedroom.pause();
  await eventually(bedroom, "offline", () => bedroom.status().state === "offline");
  await bedroom.watchlist.remove("tmdb:1");
  await bedroom.watchlist.add("tmdb:3");
  await bedroom.progress.set("tmdb:2", { positionSeconds: 60, durationSeconds: 600 });
  // Within one millisecond neither TV would be the later one, and the replica id would decide.
  const noted = Date.now();
  await until("the clock has moved on", () => Date.now() > noted);
  await living.watchlist.remove("tmdb:2");
  await living.watchlist.add("tmdb:4");
  await living.progress.set("tmdb:2", { positionSeconds: 90, durationSeconds: 600 });
  await living.flushed();
  assert.equal(bedroom.pending, 3);
  assert.deepEqual(titles(living), ["tmdb:1", "tmdb:4"]);

  bedroom.resume();
  const wanted = ["tmdb:3", "tmdb:4"];
  for (const tv of [living, bedroom]) {
    await eventually(tv, "merged", () => titles(tv).join() === wanted.join());
    await eventually(tv, "the later position", () => tv.progress.resume("tmdb:2") === 90);
  }
  await bedroom.flushed();
  assert.equal(bedroom.pending, 0);
});

test("concurrent add and remove of a title: the add wins on both TVs", async (context) => {
  const { living, bedroom } = await twoTvs(context);
  await living.watchlist.add("tmdb:1");
  await eventually(bedroom, "added", () => bedroom.watchlist.has("tmdb:1"));
  bedroom.pause();
  await bedroom.watchlist.add("tmdb:1");
  await living.watchlist.remove("tmdb:1");
  await living.flushed();
  bedroom.resume();
  await bedroom.flushed();
  // A title added after the concurrent ones: whoever shows it has merged what came before.
  await bedroom.watchlist.add("tmdb:2");
  for (const tv of [living, bedroom]) {
    await eventually(tv, "add won", () => titles(tv).join() === "tmdb:1,tmdb:2");
  }
});

test("many writes at once all arrive", async (context) => {
  const { living, bedroom } = await twoTvs(context);
  const contents = Array.from({ length: 500 }, (_, at) => `tmdb:${at}`);
  await Promise.all(contents.map((content) => living.watchlist.add(content)));
  await living.flushed();
  await eventually(bedroom, "all", () => bedroom.watchlist.items().length === contents.length);
});

test("households do not see each other", async (context) => {
  const first = await twoTvs(context);
  const second = await twoTvs(context);
  await first.living.watchlist.add("tmdb:1");
  await first.living.flushed();
  await second.living.watchlist.add("tmdb:2");
  await eventually(second.bedroom, "own title", () => second.bedroom.watchlist.has("tmdb:2"));
  assert.deepEqual(titles(second.bedroom), ["tmdb:2"]);
});
