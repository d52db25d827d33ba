// Learned taste through the built package: what is stored, read and recommended without a server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStorage, OmegaError, open } from "omega-sync/patterns";
import WebSocket from "ws";
import { title, titles } from "./titles.mjs";
import { codeOf } from "./tv.mjs";

/** @typedef {readonly [MemoryStorage, MemoryStorage]} Storages */

/** Two storages of one device. @returns {Storages} */
const storages = () => [new MemoryStorage(), new MemoryStorage()];

/**
 * A device that never gets a connection.
 * @param {import("node:test").TestContext} context
 * @param {Storages} kept
 * @param {Partial<import("omega-sync/patterns").PatternsOptions>} [more]
 */
async function offline(context, kept, more = {}) {
  const client = await open({
    url: "http://127.0.0.1:1",
    device: "tv",
    token: () => Promise.reject(new Error("no network")),
    storage: "memory",
    WebSocket,
    taste: { storages: kept },
    ...more,
  });
  client.pause();
  context.after(() => client.close());
  return client;
}

/** @param {string} code */
const refusedWith = (code) => (/** @type {unknown} */ error) =>
  error instanceof OmegaError && error.code === code;

test("what was watched is learned, survives a restart, and is recommended from offline", async (context) => {
  const kept = storages();
  const tv = await offline(context, kept);
  await tv.taste.learnTitles(titles("Drama", 1, 0, 40).concat(titles("Drama", 2, 40, 80)));
  assert.deepEqual(tv.taste.recommend(5), [], "nothing is known of anybody");
  /** @type {string[]} */
  const changes = [];
  tv.taste.onChange((what) => changes.push(what));
  for (let at = 0; at < 10; at += 1) {
    await tv.taste.record({ content: `Drama:${at}`, watched: at < 8 ? 1 : 0.3 });
  }
  assert.deepEqual(new Set(changes), new Set(["taste"]));
  const [pattern] = tv.taste.patterns();
  assert.ok(pattern);
  assert.deepEqual(
    { ...pattern, id: "" },
    {
      id: "",
      genre: "drama",
      sampleCount: 10,
      successCount: 8,
      successRate: 0.8,
      example: "Drama:7",
    },
  );
  const picks = tv.taste.recommend(5, { title: (id) => `the film ${id}` });
  assert.equal(picks.length, 5);
  for (const { content, genre, reason } of picks) {
    const number = Number(content.split(":")[1]);
    assert.ok(
      number >= 10 && number < 40,
      `${content} is of the watched kind, and was not watched`,
    );
    assert.equal(genre, "drama");
    const text = "Because you watched the film Drama:7";
    assert.deepEqual(reason, { kind: "own", content: "Drama:7", text });
  }
  await tv.close();

  const again = await offline(context, kept);
  assert.deepEqual(again.taste.patterns(), [pattern]);
  assert.deepEqual(again.taste.recommend(5, { title: (id) => `the film ${id}` }), picks);
  assert.equal(again.taste.status().titles, 80);
});

test("titles in progress or completed, and those the app excludes, are left out", async (context) => {
  const tv = await offline(context, storages());
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  for (let at = 0; at < 5; at += 1) await tv.taste.record({ content: `Drama:${at}`, watched: 1 });
  const [first, second, third] = tv.taste.recommend(10);
  assert.ok(first && second && third);
  await tv.progress.set(first.content, { positionSeconds: 600, durationSeconds: 6_000 });
  await tv.progress.set(second.content, { positionSeconds: 6_000, durationSeconds: 6_000 });
  const left = tv.taste.recommend(30, { exclude: [third.content] }).map(({ content }) => content);
  for (const { content } of [first, second, third]) assert.ok(!left.includes(content), content);
  assert.equal(left.length, 30 - 5 - 3);
  assert.deepEqual(tv.taste.recommend(5, { genre: "Comedy" }), []);
});

test("a title that nobody told of needs its genre and embedding", async (context) => {
  const tv = await offline(context, storages());
  await assert.rejects(
    tv.taste.record({ content: "x:1", watched: 1 }),
    refusedWith("unknown_title"),
  );
  const { genre, embedding } = title("Drama", 1, 1);
  await tv.taste.record({ content: "x:1", watched: 1, genre, embedding });
  assert.equal(tv.taste.patterns().length, 1);
  const bad = [
    { genre: "", embedding },
    { genre: "x".repeat(33), embedding },
    { genre, embedding: embedding.slice(1) },
    { genre, embedding: embedding.map(() => 0) },
    { genre, embedding: embedding.map(() => Number.NaN) },
  ];
  for (const wrong of bad) {
    const viewing = { content: "x:2", watched: 1, ...wrong };
    await assert.rejects(tv.taste.record(viewing), refusedWith("invalid_title"));
    await assert.rejects(
      tv.taste.learnTitles([{ content: "x:2", ...wrong }]),
      refusedWith("invalid_title"),
    );
  }
  await assert.rejects(
    tv.taste.record({ content: "", watched: 1, genre, embedding }),
    refusedWith("invalid_content_id"),
  );
  assert.equal(tv.taste.patterns()[0]?.sampleCount, 1, "nothing was changed by them");
  await tv.taste.record({ content: "x:3", watched: Number.NaN, genre, embedding });
  assert.equal(tv.taste.patterns()[0]?.sampleCount, 1, "no part of it was watched");
});

test("what is of the wrong kind fails the one call, and the engine lives", async (context) => {
  const tv = await offline(context, storages());
  const { genre, embedding } = title("Drama", 1, 1);
  for (const wrong of /** @type {any[]} */ ([603, null, { id: 1 }])) {
    const { taste } = tv;
    await assert.rejects(
      taste.record({ content: wrong, watched: 1, genre, embedding }),
      refusedWith("invalid_content_id"),
    );
    await assert.rejects(
      taste.record({ content: "x:1", watched: 1, genre: wrong, embedding }),
      refusedWith("invalid_title"),
    );
    assert.throws(() => taste.forProfile(wrong), refusedWith("invalid_profile"));
    assert.throws(() => taste.recommend(5, { genre: wrong }), refusedWith("invalid_title"));
    assert.deepEqual(taste.recommend(wrong), []);
    await taste.record({ content: "x:0", watched: wrong, genre, embedding, finished: wrong });
    await taste.optOut(wrong);
  }
  await tv.taste.record({ content: "x:1", watched: 1, genre, embedding });
  assert.equal(tv.taste.patterns().length, 1);
});

test("profiles learn apart, and a deleted one takes its patterns with it", async (context) => {
  const tv = await offline(context, storages());
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  const ana = await tv.profiles.create("Ana");
  const hers = tv.taste.forProfile(ana);
  await tv.taste.record({ content: "Drama:1", watched: 1 });
  await hers.record({ content: "Drama:2", watched: 1 });
  assert.deepEqual([tv.taste.patterns().length, hers.patterns().length], [1, 1]);
  assert.ok(hers.recommend(30).some(({ content }) => content === "Drama:1"));
  await tv.profiles.delete(ana);
  assert.deepEqual([tv.taste.patterns().length, hers.patterns().length], [1, 0]);
});

test("two instances on one storage take turns, and none writes over the other", async (context) => {
  const kept = sharedStorages();
  const one = await offline(context, [kept.open(0), kept.open(1)]);
  await one.taste.learnTitles(titles("Drama", 1, 0, 30));
  await one.taste.record({ content: "Drama:1", watched: 1 });
  const two = await offline(context, [kept.open(0), kept.open(1)]);
  await two.taste.record({ content: "Drama:2", watched: 1 });
  await one.taste.record({ content: "Drama:3", watched: 1 });
  await two.taste.record({ content: "Drama:4", watched: 1 });
  assert.equal(two.taste.patterns()[0]?.sampleCount, 4);
  const last = await offline(context, [kept.open(0), kept.open(1)]);
  assert.equal(last.taste.patterns()[0]?.sampleCount, 4);
});

test("a viewing that is stored when another instance takes over counts once", async (context) => {
  const kept = sharedStorages();
  const small = kept.open(0);
  const tv = await offline(context, [small, kept.open(1)]);
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  await tv.taste.record({ content: "Drama:1", watched: 1 });
  const { commit } = small;
  small.commit = async (change) => {
    small.commit = commit;
    await commit(change);
    // Another instance opens both just now.
    await Promise.all([kept.open(0).load(), kept.open(1).load()]);
  };
  await Promise.all([
    tv.taste.record({
      content: "Drama:40",
      watched: 1,
      genre: "Drama",
      embedding: title("Drama", 1, 40).embedding,
    }),
    tv.taste.learnTitles(titles("Crime", 2, 0, 5)),
  ]);
  assert.equal(tv.taste.patterns()[0]?.sampleCount, 2);
  assert.equal(tv.taste.status().titles, 35);
  const last = await offline(context, [kept.open(0), kept.open(1)]);
  assert.deepEqual([last.taste.patterns()[0]?.sampleCount, last.taste.status().titles], [2, 35]);
});

test("nothing is learned for a profile that is not there", async (context) => {
  const tv = await offline(context, storages());
  await tv.taste.learnTitles(titles("Drama", 1, 0, 3));
  const ana = await tv.profiles.create("Ana");
  const hers = tv.taste.forProfile(ana);
  await tv.profiles.delete(ana);
  for (const profile of [hers, tv.taste.forProfile("00000000000000ff")]) {
    const viewing = profile.record({ content: "Drama:1", watched: 1 });
    await assert.rejects(viewing, refusedWith("unknown_profile"));
    assert.deepEqual(profile.patterns(), []);
  }
});

test("a failing storage rejects the write, and stores it when it works again", async (context) => {
  const kept = storages();
  const broken = new BrokenStorage();
  const tv = await offline(context, [broken, kept[1]]);
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  /** @type {OmegaError[]} */
  const errors = [];
  tv.on("error", (error) => errors.push(error));
  broken.fails = true;
  await assert.rejects(
    tv.taste.record({ content: "Drama:1", watched: 1 }),
    refusedWith("storage_full"),
  );
  assert.deepEqual(
    errors.map(({ code }) => code).filter((code) => code !== "token_failed"),
    ["storage_full"],
  );
  assert.equal(tv.taste.patterns()[0]?.sampleCount, 1, "it is visible");
  broken.fails = false;
  await tv.taste.record({ content: "Drama:2", watched: 1 });
  await tv.close();
  const again = await offline(context, [broken, kept[1]]);
  assert.equal(again.taste.patterns()[0]?.sampleCount, 2, "both are stored");
});

for (const code of /** @type {const} */ (["storage_failed", "storage_full"])) {
  test(`taste that cannot be read (${code}) lasts until the end, and the household opens`, async (context) => {
    const kept = storages();
    let erased = 0;
    kept[0].load = () => Promise.reject(new OmegaError(code, "the disk"));
    kept[0].destroy = async () => {
      erased += 1;
    };
    const tv = await offline(context, kept);
    /** @type {OmegaError[]} */
    const errors = [];
    tv.on("error", (error) => errors.push(error));
    const [told] = errors.filter((error) => error.code !== "token_failed");
    assert.equal(told?.code, "storage_memory");
    assert.equal(codeOf(told?.cause), code);
    await tv.watchlist.add("film");
    await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
    await tv.taste.record({ content: "Drama:1", watched: 1 });
    assert.equal(tv.taste.patterns()[0]?.sampleCount, 1);
    assert.deepEqual(await kept[1].load(), [], "what could not be read is left as it is");
    await tv.destroy();
    assert.equal(erased, 1, "a logout erases it");
  });
}

test("what the settings ask for is checked", async (context) => {
  for (const taste of [
    { floor: 0.4 },
    { floor: 1 },
    { quality: { successRate: 1.1 } },
    { bytes: { up: 1_023 } },
    { bytes: { down: 65_537 } },
    { intervalMs: { min: 999 } },
    { intervalMs: { min: 2_000, max: 1_999 } },
    { intervalMs: { max: Number.NaN } },
  ]) {
    const opening = offline(context, storages(), { taste: { ...taste, storages: storages() } });
    await assert.rejects(opening, refusedWith("invalid_option"), JSON.stringify(taste));
  }
});

test("without a connection a sync is due and waits", async (context) => {
  const tv = await offline(context, storages());
  assert.ok(tv.taste.shouldSync());
  assert.equal(tv.taste.timeUntilNextSync(), 0);
  assert.deepEqual(tv.taste.contributions(), []);
  await tv.taste.optOut(true);
  assert.ok(tv.taste.status().optedOut);
});

/** Storages that several instances open, as IndexedDB is: the last one to load may write. */
function sharedStorages() {
  const inner = storages();
  const leader = [0, 0];
  let opened = 0;
  return {
    /** @param {0 | 1} which @returns {MemoryStorage} */
    open(which) {
      let own = 0;
      const { load, commit } = inner[which];
      const shared = new MemoryStorage();
      shared.load = () => {
        opened += 1;
        own = opened;
        leader[which] = own;
        return load.call(inner[which]);
      };
      shared.commit = (change) => {
        if (leader[which] !== own) return Promise.reject(new OmegaError("superseded", "later one"));
        return commit.call(inner[which], change);
      };
      return shared;
    },
  };
}

class BrokenStorage extends MemoryStorage {
  fails = false;

  /** @param {import("omega-sync/patterns").StorageChange} change @returns {Promise<void>} */
  commit(change) {
    if (this.fails) return Promise.reject(new OmegaError("storage_full", "no room"));
    return super.commit(change);
  }
}

test("an export has what each profile watched, what was learned of it, and what left", async (context) => {
  const tv = await offline(context, storages());
  const kids = await tv.profiles.create("Kids");
  await tv.taste.learnTitles(titles("Drama", 1, 0, 12).concat(titles("Kids", 2, 0, 3)));
  for (let at = 0; at < 10; at += 1) {
    await tv.taste.record({ content: `Drama:${at}`, watched: at < 8 ? 1 : 0.3 });
  }
  await tv.taste.forProfile(kids).record({ content: "Kids:1", watched: 0.95 });
  await tv.taste.optOut(true);
  await tv.watchlist.add("mine");

  const exported = await tv.exportData();
  assert.deepEqual(JSON.parse(JSON.stringify(exported)), exported, "plain data and nothing else");
  assert.deepEqual(
    exported.profiles.map(({ watchlist }) => watchlist.map(({ content }) => content)),
    [["mine"], []],
    "the household's part is as ever",
  );
  const { profiles, contributions, optedOut } = exported.taste;
  assert.deepEqual([contributions, optedOut], [[], true]);
  assert.deepEqual(
    profiles.map(({ id, viewed }) => [id, viewed]),
    [
      ["", Array.from({ length: 10 }, (_, at) => ({ content: `Drama:${at}`, success: at < 8 }))],
      [kids, [{ content: "Kids:1", success: true }]],
    ],
  );
  assert.deepEqual(
    profiles.map(({ patterns }) => patterns),
    [tv.taste.patterns(), tv.taste.forProfile(kids).patterns()],
  );
  assert.deepEqual([tv.taste.patterns().length, profiles[1]?.patterns[0]?.genre], [1, "kids"]);
});
