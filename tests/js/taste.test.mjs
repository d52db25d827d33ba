// Learned taste through the built package: what is stored, read and recommended without a server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStorage, OmegaError } from "omega-sync/patterns";
import { offline, refusedWith, storages } from "./taste-tv.mjs";
import { title, titles } from "./titles.mjs";

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

test("a group that is no titles is refused, and the others that can't be stored are, too", async (context) => {
  const large = new MemoryStorage();
  const tv = await offline(context, [new MemoryStorage(), large]);
  large.commit = async () => {
    throw new OmegaError("storage_full", "no room");
  };
  const list = /** @type {any[]} */ (titles("Drama", 1, 0, 250));
  // A rejection that nobody has taken fails this test.
  await assert.rejects(tv.taste.learnTitles(list.concat([null])), refusedWith("invalid_title"));
  await new Promise(setImmediate);
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
  for (const watched of /** @type {any[]} */ ([Number.NaN, -0.1, 1.1, "1", undefined, null])) {
    const viewing = tv.taste.record({ content: "x:3", watched, genre, embedding });
    await assert.rejects(viewing, refusedWith("invalid_option"), String(watched));
  }
  await tv.taste.record({ content: "x:3", watched: 0, genre, embedding });
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
    await taste.record({ content: "x:0", watched: 0, genre, embedding, finished: wrong });
    await assert.rejects(taste.optOut(wrong), refusedWith("invalid_option"));
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

test("a profile's id in capitals is that profile", async (context) => {
  const tv = await offline(context, storages());
  await tv.taste.learnTitles(titles("Drama", 1, 0, 3));
  // An id has digits only once in 1,800.
  let id = await tv.profiles.create("Ana");
  while (id === id.toUpperCase()) id = await tv.profiles.create("Ana");
  const hers = tv.taste.forProfile(id.toUpperCase());
  await hers.record({ content: "Drama:1", watched: 1 });
  assert.deepEqual(hers.patterns(), tv.taste.forProfile(id).patterns());
  assert.equal(hers.patterns().length, 1);
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

test("what the settings ask for is checked before anything begins", async (context) => {
  const storage = new MemoryStorage();
  storage.load = () => assert.fail("the household is opened");
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
    const opening = offline(context, storages(), {
      storage,
      taste: { ...taste, storages: storages() },
    });
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
