// A device without room: Chromium's own quota, which it checks when a transaction ends. What is stored can
// be read, writes say that there is no room, nothing leaves that is not stored, and all heals by itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import { titles } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { add, BUILDS, freeze, status, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

/** Bytes that are left where a TV runs out of room. */
const ROOM_BYTES = 100_000;
/** As many titles as are added at once, each of the longest name, and how often at most. */
const TITLES = 200;
const ROUNDS_MAX = 20;

/** Opens a client and notes what it says is wrong. @param {Page} page */
async function open(page) {
  await page.evaluate(`(async () => {
    await reopen();
    window.errors = [];
    client.on("error", ({ code }) => errors.push(code));
  })()`);
}

/**
 * Sets how much room the page's origin has; without a number as much as there is. Chromium remembers for
 * half a minute that there was room: so it is to be said to a browser that has not stored anything yet.
 * @param {Page} page that goes nowhere else: the quota is only kept for it
 */
async function quotaOf(page) {
  const { origin } = new URL(page.url());
  const browser = await page.context().newCDPSession(page);
  return async (/** @type {number | undefined} */ quotaSize) => {
    const given = quotaSize === undefined ? {} : { quotaSize };
    await browser.send("Storage.overrideQuotaForOrigin", { origin, ...given });
  };
}

/**
 * Adds titles, many at once, until there is no room for the last ones.
 * @param {Page} page @returns {Promise<{all: number, unstored: string[]}>} how many, and which were refused
 */
async function fill(page) {
  for (let round = 1; round <= ROUNDS_MAX; round += 1) {
    const names = Array.from({ length: TITLES }, (_, at) => `${round}:${at}`.padEnd(64, "-"));
    /** @type {string[]} */
    const said = await page.evaluate(`Promise.all(${JSON.stringify(names)}.map(add))`);
    const unstored = names.filter((_, at) => said[at] !== "stored");
    if (unstored.length === 0) continue;
    const codes = new Set(said.filter((word) => word !== "stored"));
    assert.deepEqual([...codes], ["storage_full"]);
    assert.ok(round > 1, "there was room for some");
    return { all: round * TITLES, unstored };
  }
  throw new Error("it never gets full");
}

for (const build of BUILDS) {
  test(`a TV that starts on a full disk can be read, and heals: ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const before = await twoPages(context, [], build);
    const { phone } = before;
    await open(before.first);
    assert.equal(await add(before.first, "kept"), "stored");
    await before.first.evaluate("client.flushed()");
    const { first, second, errors } = await before.restart();
    const room = await quotaOf(second);
    await room(1);

    for (const time of ["first", "second"]) {
      await first.reload();
      await open(first);
      await first.evaluate("shows(['kept'])");
      assert.equal(await add(first, `of the ${time} time`), "storage_full");
      await first.evaluate("until(() => client.status().closeReason === 'storage_full')");
      const { state, storage, role } = await status(first);
      assert.deepEqual(
        { state, storage, role },
        { state: "offline", storage: "indexeddb", role: "leader" },
      );
      assert.deepEqual(await first.evaluate("errors"), ["storage_full"], "told once");
      await first.evaluate(`shows(['kept', 'of the ${time} time'])`);
    }
    // Another tab reads it, too, and its writes fare alike.
    await open(second);
    await second.evaluate("until(() => client.status().role === 'follower')");
    await second.evaluate("shows(['kept'])");
    assert.equal(await add(second, "of the follower"), "storage_full");
    await first.evaluate("shows(['kept', 'of the follower', 'of the second time'])");
    await phone.syncNow();
    assert.deepEqual(titles(phone), ["kept"], "nothing leaves that is not stored");

    await room(undefined);
    await first.evaluate("until(() => client.status().state === 'live')");
    const all = ["kept", "of the follower", "of the second time"];
    for (const page of [first, second]) await page.evaluate(`shows(${JSON.stringify(all)})`);
    await eventually(phone, "what waited", () => titles(phone).join() === all.join());
    assert.equal(await add(first, "with room"), "stored");
    await first.evaluate("client.flushed()");
    await second.evaluate("client.close()");
    await first.reload();
    await open(first);
    await first.evaluate(`shows(${JSON.stringify([...all, "with room"])})`);
    assert.deepEqual(errors, [[], []]);
  });

  test(`a TV that runs out of room keeps what it has, and heals: ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first: page, second, phone, errors } = await twoPages(context, [], build);
    const room = await quotaOf(second);
    await room(ROOM_BYTES);
    await open(page);
    const { all, unstored } = await fill(page);
    await page.evaluate("until(() => client.status().closeReason === 'storage_full')");
    assert.equal((await status(page)).state, "offline");
    assert.deepEqual(await page.evaluate("errors"), ["storage_full"]);
    assert.equal(await page.evaluate("titles().length"), all, "all are shown");
    await phone.syncNow();
    const sent = unstored.filter((title) => phone.watchlist.has(title));
    assert.deepEqual(sent, [], "nothing leaves that is not stored");

    await room(undefined);
    await page.evaluate("until(() => client.status().state === 'live')");
    await page.evaluate("client.flushed()");
    await eventually(phone, "the rest", () => titles(phone).length === all);
    await page.reload();
    await open(page);
    assert.equal(await page.evaluate("titles().length"), all);
    assert.deepEqual(errors, [[], []]);
  });
}

test("a full disk on which nothing was ever stored", { timeout: TEST_MS_MAX }, async (context) => {
  const { first: page, second, phone, errors } = await twoPages(context, []);
  const room = await quotaOf(second);
  await room(1);
  await open(page);
  assert.equal(await add(page, "one"), "storage_full");
  assert.equal((await status(page)).storage, "indexeddb");
  await room(undefined);
  await page.evaluate("until(() => client.status().state === 'live')");
  assert.equal(await add(page, "two"), "stored");
  await eventually(phone, "both", () => titles(phone).join() === "one,two");
  await page.reload();
  await open(page);
  await page.evaluate("shows(['one', 'two'])");
  assert.deepEqual(errors, [[], []]);
});

test("who had no room to say that it leads gives way to who has stored since", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  // They can't hear each other: the second page takes the storage.
  const { browser, first, second, phone, errors } = await twoPages(context, ["locks", "messages"]);
  const keeper = await browser.newPage();
  await keeper.goto(first.url());
  const room = await quotaOf(keeper);
  await room(ROOM_BYTES);
  await open(first);
  const { all } = await fill(first);
  await open(second);
  assert.equal(await add(second, "of the second"), "storage_full");
  assert.equal((await status(second)).role, "leader");
  const wake = await freeze(second, "undefined");
  await room(undefined);
  await first.evaluate("until(() => client.status().state === 'live')");
  assert.equal(await add(first, "of the first"), "stored");
  await first.evaluate("client.flushed()");
  await wake();
  assert.equal(await add(second, "late"), "stored", "on what the first has stored");
  await second.evaluate("client.flushed()");
  const wanted = all + ["of the first", "late"].length;
  assert.equal(await second.evaluate("titles().length"), wanted, "nothing was written over");
  await second.reload();
  await open(second);
  assert.equal(await second.evaluate("titles().length"), wanted);
  await eventually(phone, "all of it", () => titles(phone).length === wanted);
  assert.deepEqual(errors, [[], []]);
});
