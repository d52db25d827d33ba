// Two pages of one origin on one storage, in a real browser and on the real server: one leads, the
// other follows it live. However they die, freeze and take turns, what a page was promised to be stored
// is neither lost nor doubled.
import assert from "node:assert/strict";
import { test } from "node:test";
import { titles } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { add, addAll, freeze, status, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** Titles that each page adds while the other one does the same. */
const TITLES = 20;

/** Which of a platform's ways there are: locks and messages, one of them, or those of 2018. */
const PLATFORMS = [
  { name: "locks and BroadcastChannel", missing: [] },
  { name: "BroadcastChannel alone", missing: ["locks"] },
  { name: "storage events alone", missing: ["locks", "BroadcastChannel"] },
  { name: "in a Worker", missing: [], build: "omega-sync.worker.js" },
];

for (const { name, missing, build } of PLATFORMS) {
  test(`the second page follows the first live, and writes through it: ${name}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first, second, phone, errors } = await twoPages(context, missing, build);
    await first.evaluate("reopen()");
    await second.evaluate("reopen()");
    await second.evaluate("until(() => client.status().role === 'follower')");
    assert.equal((await status(first)).role, "leader");
    // Of the leader, of the follower, and of another device: each is seen by both.
    assert.equal(await add(first, "mine"), "stored");
    assert.equal(await add(second, "yours"), "stored");
    assert.ok(
      await second.evaluate("client.watchlist.has('yours')"),
      "once it is stored, it is seen",
    );
    await phone.watchlist.add("theirs");
    for (const page of [first, second]) await page.evaluate("shows(['mine', 'theirs', 'yours'])");
    await second.evaluate("client.flushed()");
    await shown(phone, ["mine", "theirs", "yours"]);
    await second.evaluate("until(() => client.status().state === 'live')");
    // All kinds of writes, and a refusal, go the same way.
    const kid = await second.evaluate("client.profiles.create('Kid')");
    await second.evaluate(`client.forProfile(${JSON.stringify(kid)}).watchlist.add('cartoon')`);
    await second.evaluate(
      "client.progress.set('mine', { positionSeconds: 5, durationSeconds: 9 })",
    );
    await first.evaluate("until(() => client.progress.resume('mine') === 5)");
    assert.equal(await add(second, ""), "invalid_content_id");
    await second.evaluate("client.pause()");
    await first.evaluate("until(() => client.status().state === 'offline')");
    await second.evaluate("until(() => client.status().state === 'offline')");
    await second.evaluate("client.resume()");
    await second.evaluate("client.syncNow()");
    assert.deepEqual(errors, [[], []]);
  });

  test(`when the leader's page is gone the other one goes on: ${name}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first, second, phone } = await twoPages(context, missing, build);
    await first.evaluate("reopen().then(() => client.pause())");
    await add(first, "of the first");
    await second.evaluate("reopen()");
    await first.close();
    assert.equal(await add(second, "of the second"), "stored");
    await second.evaluate("until(() => client.status().role === 'leader')");
    await second.evaluate("client.resume()");
    await second.evaluate("client.flushed()");
    await shown(phone, ["of the first", "of the second"]);
  });

  test(`a frozen leader is replaced, wakes as follower, and nothing is doubled: ${name}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first, second, phone } = await twoPages(context, missing, build);
    await first.evaluate("reopen()");
    await second.evaluate("reopen()");
    await add(first, "before");
    await first.evaluate("client.flushed()");
    // The engine has the write, the storage does not.
    const wake = await freeze(first, "add('late')");
    assert.equal(await add(second, "after"), "stored");
    await second.evaluate("until(() => client.status().role === 'leader')");
    assert.equal(await wake(), "stored", "by the other page");
    await first.evaluate("until(() => client.status().role === 'follower')");
    for (const page of [first, second]) await page.evaluate("shows(['after', 'before', 'late'])");
    await second.evaluate("client.flushed()");
    await shown(phone, ["after", "before", "late"]);
    const [one, two] = [await status(first), await status(second)];
    assert.equal(one.replica, two.replica, "one storage is one replica");
  });
}

/** From here on the engine that starts next in the page breaks once `breaks` is set. */
const BREAKS = `(() => {
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (...values) => {
    const { exports } = await instantiate(...values);
    const call = (...values) => {
      if (window.breaks) throw new Error("broken");
      return exports.replica_call(...values);
    };
    return { exports: Object.assign({}, exports, { replica_call: call }) };
  };
})()`;

test("a leader whose engine broke leaves it to the other page to lead", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const { first, second } = await twoPages(context, []);
  await first.evaluate(BREAKS);
  await first.evaluate("reopen()");
  await add(first, "before");
  await second.evaluate("reopen()");
  await second.evaluate("until(() => client.status().role === 'follower')");
  await first.evaluate("breaks = true");
  assert.equal(await add(first, "broken"), "engine_failed");
  assert.equal(await add(second, "after"), "stored");
  assert.equal((await status(second)).role, "leader");
  assert.equal((await status(first)).closeReason, "engine_failed");
});

test("pages that take turns while both write lose and double nothing", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const { first, second, phone, errors } = await twoPages(context, []);
  /** How often each title came, as another device saw it, which removes what it sees. */
  const came = new Map();
  /** @type {Array<Promise<void>>} */
  const removals = [];
  phone.on("change", () => {
    for (const title of titles(phone)) {
      // A removal is a change as well, and may have removed the rest already.
      if (!phone.watchlist.has(title)) continue;
      came.set(title, (came.get(title) ?? 0) + 1);
      removals.push(phone.watchlist.remove(title));
    }
  });
  await first.evaluate("reopen()");
  await second.evaluate("reopen()");
  const wanted = ["a", "b"].map((page) =>
    Array.from({ length: TITLES }, (_, at) => `${page}${at}`),
  );
  // While they write, each in turn is stopped in the middle until the other one leads.
  const work = [first, second].map((page, at) => addAll(page, wanted[at] ?? []));
  for (const [leader, other] of [
    [first, second],
    [second, first],
  ]) {
    assert.ok(leader && other);
    await leader.evaluate("until(() => client.status().role === 'leader')");
    const wake = await freeze(leader, "undefined");
    await other.evaluate("until(() => client.status().role === 'leader')");
    await wake();
  }
  await Promise.all(work);
  for (const page of [first, second]) await page.evaluate("client.flushed()");
  await eventually(phone, "every title", () => came.size === 2 * TITLES);
  // Each page once more from the start: what was removed must stay away.
  for (const page of [first, second]) {
    await page.evaluate("reopen().then(() => client.flushed())");
    await add(page, "again");
    await page.evaluate("client.flushed()");
  }
  await eventually(phone, "the last one", () => (came.get("again") ?? 0) >= 1);
  await Promise.all(removals);
  await phone.flushed();
  const often = [...came].filter(([title, times]) => title !== "again" && times !== 1);
  assert.deepEqual(often, [], "a title that came back was written twice");
  assert.deepEqual([...came.keys()].sort(), [...wanted.flat(), "again"].sort());
  assert.deepEqual(errors, [[], []]);
});

test("of pages that cannot hear each other one goes on alone", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const { first, second, phone, errors } = await twoPages(context, ["locks", "messages"]);
  const pages = [first, second];
  /** Whatever a page said was stored. @type {string[]} */
  const stored = [];
  const write = async (/** @type {typeof first} */ page, /** @type {string} */ title) => {
    const said = await add(page, title);
    if (said === "stored") stored.push(title);
    return said;
  };
  await first.evaluate("reopen()");
  assert.equal(await write(first, "one"), "stored");
  await second.evaluate("reopen()");
  assert.equal(await write(second, "two"), "stored");
  // Each takes it after three seconds without an answer, and no page takes it more than four times.
  let reasons = ["", ""];
  for (let round = 0; !reasons.includes("superseded"); round += 1) {
    for (const [at, page] of pages.entries()) await write(page, `page ${at}, round ${round}`);
    reasons = await Promise.all(pages.map(async (page) => (await status(page)).closeReason));
  }
  const [winner, loser] = reasons[0] === "superseded" ? [second, first] : pages;
  assert.ok(winner && loser);
  assert.equal((await status(loser)).state, "stopped");
  assert.equal(await add(loser, "refused"), "superseded");
  assert.equal(await write(winner, "last"), "stored");
  await winner.evaluate("until(() => client.status().state === 'live')");
  const { role, closeReason } = await status(winner);
  assert.deepEqual([role, closeReason], ["leader", ""]);
  await winner.evaluate("client.flushed()");
  const all = stored.sort();
  await shown(phone, all);
  await winner.evaluate(`shows(${JSON.stringify(all)})`);
  // The other one is behind, but it can be read.
  const seen = await loser.evaluate("titles()");
  assert.ok(seen.includes("one") && !seen.includes("last"), seen.join());
  await loser.evaluate("reopen()");
  await loser.evaluate(`shows(${JSON.stringify(all)})`);
  assert.deepEqual(errors, [[], []]);
});

/** @param {import("omega-sync").Client} tv @param {string[]} wanted */
function shown(tv, wanted) {
  const what = `it shows ${wanted.join()}`;
  return eventually(tv, what, () => titles(tv).join() === wanted.join());
}
