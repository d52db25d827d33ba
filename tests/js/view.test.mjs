// What a page shows whose engine is in a Worker is what the engine would say, after any patches; and a
// patch is as long as what changed.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";
import { PKG } from "../../scripts/paths.mjs";

const code = `
  export * from "./worker/view.js";
  export * from "./worker/view-writer.js";`;
const { outputFiles } = await build({
  stdin: { contents: code, resolveDir: join(PKG, "src"), loader: "ts" },
  ...{ bundle: true, format: "esm", write: false },
});
const text = Buffer.from(outputFiles[0]?.contents ?? []).toString("base64");
const { View, ViewWriter, PATCHES_LENGTH_MIN } = await import(
  `data:text/javascript;base64,${text}`
);

/** Numbers from a seed (Numerical Recipes' generator). @param {number} seed */
function dice(seed) {
  let state = seed;
  return (/** @type {number} */ sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

/** An engine that says what is in these lists. @param {Record<string, any[][]>} lists */
function keeperOf(lists) {
  return {
    pending: () => lists.pending?.[0]?.[0] ?? 0,
    rows: (/** @type {string} */ name, /** @type {string} */ profile) => {
      const key = { watchlist: `watchlist:${profile}`, progressAll: `progress:${profile}` }[name];
      return (lists[key ?? name] ?? []).map((row) => row.slice());
    },
  };
}

const KEYS = ["profiles", "devices", "rejected", "about", "watchlist:", "progress:"];

/** What a view has to show: all progress of the engine is two lists. @param {Record<string, any[][]>} lists */
function shownOf(lists) {
  const isCompleted = (/** @type {any[]} */ row) => row[4] >= 95;
  const progress = lists["progress:"] ?? [];
  const parts = {
    "progress:": progress.filter((row) => !isCompleted(row)),
    "completed:": progress.filter(isCompleted),
  };
  return Object.entries({
    ...Object.fromEntries(KEYS.map((key) => [key, []])),
    ...lists,
    ...parts,
  });
}

/** @param {Record<string, any[][]>} lists */
function start(lists) {
  const writer = new ViewWriter(keeperOf(lists));
  const view = new View();
  const first = writer.update();
  view.take(first);
  return { writer, view, first };
}

for (let seed = 1; seed <= 50; seed += 1) {
  test(`seed ${seed}: rows that come, go, move and change`, () => {
    const roll = dice(seed);
    /** @type {Record<string, any[][]>} */
    const lists = { profiles: [["", ""]], about: [[0, 0, "id", "", ""]], pending: [[0]] };
    const { writer, view, first } = start(lists);
    const unread = new View();
    unread.take(first);
    let shown = [first];
    let next = 0;
    for (let step = 0; step < 60; step += 1) {
      const key = KEYS.slice(1)[roll(KEYS.length - 1)] ?? "about";
      const list = lists[key] ?? [];
      lists[key] = list;
      for (let change = roll(4); change >= 0; change -= 1) {
        const [moved] = roll(2) === 0 ? list.splice(roll(list.length + 1), 1) : [];
        if (moved === undefined || roll(3) > 0) {
          next += 1;
          list.splice(
            roll(list.length + 1),
            0,
            moved ?? [`title ${next}`, next, 0, 0, 90 + roll(10)],
          );
        }
      }
      lists.pending = [[roll(5)]];
      writer.touch([key, "pending"]);
      const update = writer.update();
      if (update !== undefined) {
        for (const one of [view, unread]) one.take(update);
        shown = "lists" in update ? [update] : [...shown, update];
      }
      for (const [one, rows] of shownOf(lists)) {
        assert.deepEqual(view.list(one), rows, `${one}, ${step}`);
      }
    }
    for (const [one] of shownOf(lists)) assert.deepEqual(unread.list(one), view.list(one));
    // Whoever begins with all of it goes on from there.
    const again = new ViewWriter(keeperOf(lists));
    again.begin(shown);
    again.touchAll();
    assert.equal(again.update(), undefined);
  });
}

test("a title that moves to the front of a year is one row and two runs", () => {
  const rows = Array.from({ length: 700 }, (_, at) => [`tmdb:${at}`, at, 0, 0, 0, 0, 0]);
  /** @type {Record<string, any[][]>} */
  const lists = { profiles: [["", ""]], "progress:": rows };
  const { writer, view } = start(lists);
  rows.splice(500, 1);
  rows.unshift(["tmdb:500", 1_000, 0, 0, 0, 0, 0]);
  writer.touch(["progress:"]);
  const update = writer.update();
  const row = ["tmdb:500", 1_000, 0, 0, 0, 0, 0];
  assert.deepEqual(JSON.parse(update.patches), { "progress:": [row, 0, 500, 501, 199] });
  view.take(update);
  assert.deepEqual(view.list("progress:"), rows);
});

/** A profile's id. */
const KIDS = "00000000000000ab";

test("what the engine would refuse to read the view refuses too", () => {
  const { view } = start({ profiles: [["", ""]], "watchlist:": [["tmdb:1", 1]] });
  assert.deepEqual(view.rows("has", "", "tmdb:1"), [[1]]);
  for (const content of ["", "a\u0000b", "x".repeat(65), "\u00e9".repeat(33)]) {
    assert.throws(() => view.rows("has", "", content), { code: "invalid_content_id" });
    assert.throws(() => view.rows("progress", "", content), { code: "invalid_content_id" });
  }
  for (const profile of ["kids", "ab".repeat(7), `${KIDS}0`, "0".repeat(16)]) {
    assert.throws(() => view.rows("watchlist", profile), { code: "invalid_profile" });
    assert.throws(() => view.rows("inProgress", profile), { code: "invalid_profile" });
  }
});

test("a profile that goes takes its lists along, one that comes brings them", () => {
  /** @type {Record<string, any[][]>} */
  const lists = { profiles: [["", ""]], [`watchlist:${KIDS}`]: [["tmdb:1", 1]] };
  const { writer, view } = start(lists);
  assert.deepEqual(view.rows("watchlist", KIDS), []);
  lists.profiles = [
    ["", ""],
    [KIDS, "Kids"],
  ];
  writer.touch(["profiles"]);
  view.take(writer.update());
  assert.deepEqual(view.rows("watchlist", KIDS), [["tmdb:1", 1]]);
  lists.profiles = [["", ""]];
  writer.touch(["profiles", `watchlist:${KIDS}`]);
  view.take(writer.update());
  assert.deepEqual(view.rows("watchlist", KIDS), []);
});

for (const restarts of [false, true]) {
  test(`patches of a certain length are followed by all lists; restarts: ${restarts}`, () => {
    /** @type {Record<string, any[][]>} */
    const lists = { profiles: [["", ""]], "watchlist:": [] };
    let { writer, first } = start(lists);
    const shown = [first];
    let length = 0;
    for (let at = 0; ; at += 1) {
      lists["watchlist:"]?.push([`tmdb:${at}`, at]);
      if (restarts) {
        writer = new ViewWriter(keeperOf(lists));
        writer.begin(shown);
      }
      writer.touch(["watchlist:"]);
      const update = writer.update();
      if ("lists" in update) break;
      shown.push(update);
      length += update.patches.length;
      assert.ok(length <= PATCHES_LENGTH_MIN);
    }
    assert.ok(length > PATCHES_LENGTH_MIN - 100, `${length}`);
  });
}
