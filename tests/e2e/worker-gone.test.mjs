// A Worker that dies without a word, as it does where a TV has no memory left: another one takes its place.
// What was asked for is done once, whatever the dead one had done of it, and the page shows all the while
// what it showed.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { titles } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { add, DEVICE, status, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

const OPTIONS = { timeout: TEST_MS_MAX };
const WORKER = "omega-sync.worker.js";
/** Of `page-side.ts`. */
const DEATHS_MAX = 3;
/** What the page asks its Worker: `write` is a call, a commit's end an answer. */
const MADE = "(message) => message.name === 'write'";
const COMMITTED = "(message) => 'answer' in message && message.value === undefined";

/** The page's Worker can be killed: see there. */
const HOLD = readFileSync(new URL("../engines/pages/hold.js", import.meta.url), "utf8");

/** Notes what the app is told, and whether a title that was there is ever missing. */
const NOTE = `{
  window.errors = [];
  window.states = [];
  window.lost = [];
  const shown = titles();
  const look = () => lost.push(...shown.filter((title) => !client.watchlist.has(title)));
  window.failed = new Promise((resolve) => {
    client.on("error", ({ code }) => {
      errors.push(code);
      resolve();
    });
  });
  client.on("change", look);
  client.on("status", ({ state }) => {
    states.push(state);
    look();
  });
}`;
const SAID = ".then(() => 'done', ({ code }) => code)";

/**
 * A page whose Worker can be killed, with a title that the server has, and another page without a client.
 * @param {import("node:test").TestContext} context @param {object} [settings]
 */
async function held(context, settings = {}) {
  const pages = await twoPages(context, [], WORKER);
  const { first } = pages;
  await first.evaluate(HOLD);
  await first.evaluate(`reopen(${JSON.stringify(settings)})`);
  assert.equal(await add(first, "before"), "stored");
  await first.evaluate("client.flushed()");
  await first.evaluate(NOTE);
  return pages;
}

/** What was noted is as if nothing had happened. @param {Page} page @param {number} deaths */
async function isCalm(page, deaths = 1) {
  assert.deepEqual(await page.evaluate("errors"), []);
  assert.deepEqual(await page.evaluate("lost"), [], "what was there is shown all the while");
  assert.equal(await page.evaluate("workers"), deaths + 1);
}

/** How many writes the page's present engine has made. @param {Page} page @returns {Promise<number>} */
function made(page) {
  return page.evaluate("client.metrics().operations");
}

/** @param {import("omega-sync").Client} tv @param {string[]} wanted */
function shows(tv, wanted) {
  return eventually(tv, `it shows ${wanted}`, () => titles(tv).join() === wanted.join());
}

for (const storage of ["indexeddb", "memory"]) {
  test(`a Worker that died is replaced, and all goes on: ${storage}`, OPTIONS, async (context) => {
    const { first, phone, errors } = await held(context, { storage });
    await first.evaluate("client.devices.describe({ capabilities: { remoteControllable: true } })");
    await first.evaluate("listen()");
    await phone.devices.describe({ name: "Phone" });
    const sees =
      "client.devices.list().some(({ device, isOnline }) => device === 'phone' && isOnline)";
    await first.evaluate(`until(() => ${sees})`);
    await first.evaluate("client.flushed()");
    /** @type {string[]} */
    const ordered = [];
    phone.devices.onCommand(({ command }) => void ordered.push(command.type));
    await first.evaluate("kill(); sent = client.devices.send('phone', { type: 'stop' }); 0");
    assert.equal(await add(first, "unheard"), "stored");
    await first.evaluate("until(() => client.status().state === 'live')");
    assert.ok((await first.evaluate("states")).includes("connecting"));
    assert.equal(await made(first), 1);
    await shows(phone, ["before", "unheard"]);
    await phone.watchlist.add("theirs");
    await first.evaluate("shows(['before', 'theirs', 'unheard'])");
    await first.evaluate("client.flushed()");
    assert.equal(await phone.devices.send(DEVICE, { type: "pause" }), "delivered");
    assert.deepEqual(await first.evaluate("taken"), ["phone: pause"]);
    // A command is never late: it ends with the engine that was to send it.
    assert.equal(await first.evaluate("sent"), "expired");
    assert.deepEqual(ordered, []);
    await first.evaluate(`until(() => ${sees})`);
    phone.pause();
    await first.evaluate(`until(() => !${sees})`);
    await isCalm(first);
    assert.deepEqual(errors, [[], []]);
  });

  test(`what the dead one stored is not made again: ${storage}`, OPTIONS, async (context) => {
    const { first, phone } = await held(context, { storage });
    await first.evaluate("client.pause()");
    await first.evaluate("until(() => client.status().state === 'offline')");
    // It was killed before it could say that the write is stored.
    await first.evaluate(`killAt = ${COMMITTED}`);
    assert.equal(await add(first, "stored"), "stored");
    await first.evaluate("until(() => workers === 2 && client.metrics().operations === 0)");
    assert.equal(await add(first, "later"), "stored");
    assert.deepEqual([await made(first), (await status(first)).pending], [1, 2]);
    assert.equal((await status(first)).state, "offline", "it is paused as it was");
    assert.deepEqual(titles(phone), ["before"]);
    await first.evaluate("client.resume()");
    await first.evaluate("client.flushed()");
    await shows(phone, ["before", "later", "stored"]);
    await isCalm(first);
  });
}

test("what the dead one had not stored shows all the while", OPTIONS, async (context) => {
  const { first, phone } = await held(context);
  // A storage that refuses a commit, of which the Worker never hears.
  await first.evaluate(`{
    const storage = new OmegaSync.MemoryStorage();
    window.fails = false;
    const commit = storage.commit.bind(storage);
    storage.commit = (change) => {
      if (!fails) return commit(change);
      fails = false;
      kill();
      return Promise.reject(new Error("killed"));
    };
    reopen({ storage });
  }`);
  await first.evaluate("shows(['before'])");
  await first.evaluate(`{
    window.seen = "";
    client.on("change", () => {
      const now = client.watchlist.has("shown") ? "+" : "-";
      if (!seen.endsWith(now)) seen += now;
    });
    fails = true;
  }`);
  assert.equal(await add(first, "shown"), "stored");
  assert.equal(await first.evaluate("seen"), "+");
  assert.equal(await first.evaluate("workers"), 3);
  await first.evaluate("client.flushed()");
  await shows(phone, ["before", "shown"]);
});

test(
  "memory in the place of a storage that fails outlives the Worker",
  OPTIONS,
  async (context) => {
    const { first } = await held(context);
    await first.evaluate("client.close()");
    await first.evaluate(`IDBDatabase.prototype.transaction = () => {
    throw new DOMException("no", "UnknownError");
  }`);
    await first.evaluate("reopen({ url: 'http://127.0.0.1:1' })");
    await first.evaluate(NOTE);
    assert.equal((await status(first)).storage, "memory");
    for (const title of ["one", "two"]) {
      assert.equal(await add(first, title), "stored");
      await first.evaluate("kill()");
    }
    assert.equal(await add(first, "three"), "stored");
    assert.deepEqual(await first.evaluate("titles()"), ["one", "three", "two"]);
    assert.deepEqual([await made(first), (await status(first)).pending], [1, 3]);
  },
);

test("writes without an answer are made in their order", OPTIONS, async (context) => {
  const { first, phone } = await held(context);
  await first.evaluate(`killAt = ${MADE}`);
  const said = await first.evaluate(`Promise.all([
    client.watchlist.add("one")${SAID},
    client.watchlist.remove("one")${SAID},
    client.watchlist.add("")${SAID},
    client.watchlist.add("two")${SAID},
    client.watchlist.remove("before")${SAID},
    client.flushed()${SAID},
    client.syncNow()${SAID},
  ])`);
  assert.deepEqual(said, ["done", "done", "invalid_content_id", "done", "done", "done", "done"]);
  await shows(phone, ["two"]);
  assert.deepEqual(await first.evaluate("errors"), []);
});

test("a write counts from when it was asked for", OPTIONS, async (context) => {
  const { first, phone } = await held(context);
  await first.evaluate("client.pause()");
  await first.evaluate("until(() => client.status().state === 'offline')");
  // Asked for minutes ago, and made after another device has written something newer.
  const late = first.evaluate(`{
    const { now } = Date;
    Date.now = () => now() - 240_000;
    const times = { positionSeconds: 10, durationSeconds: 100 };
    const late = client.progress.set("before", times)${SAID};
    Date.now = now;
    end();
    late;
  }`);
  await phone.progress.set("before", { positionSeconds: 50, durationSeconds: 100 });
  await phone.flushed();
  await first.evaluate("notice()");
  assert.equal(await late, "done");
  await first.evaluate("client.resume()");
  await first.evaluate("client.syncNow()");
  await first.evaluate("until(() => client.progress.resume('before') === 50)");
  assert.equal(phone.progress.resume("before"), 50);
});

test("what another page made for a dead Worker it makes once", OPTIONS, async (context) => {
  const { first, second, phone } = await held(context);
  await first.evaluate("client.close()");
  await second.evaluate("reopen()");
  await second.evaluate("client.pause()");
  await first.evaluate("reopen()");
  await first.evaluate("until(() => client.status().role === 'follower')");
  await first.evaluate(NOTE);
  // It was killed with the other page's answer on the way.
  await first.evaluate("killAt = ({ values }) => values && (values[0] || {}).kind === 'done'");
  assert.equal(await add(first, "through"), "stored");
  assert.equal(await made(second), 1);
  assert.equal(await add(first, "again"), "stored");
  assert.equal(await made(second), 2);
  await first.evaluate("until(() => client.status().role === 'follower')");
  await second.evaluate("client.resume()");
  await second.evaluate("client.flushed()");
  await shows(phone, ["again", "before", "through"]);
  await first.evaluate("shows(['again', 'before', 'through'])");
  await isCalm(first, 2);
});

test("another page leads after a Worker that led and died", OPTIONS, async (context) => {
  const { first, second, phone } = await held(context);
  await first.evaluate("client.devices.describe({ capabilities: { remoteControllable: true } })");
  await first.evaluate("listen()");
  await second.evaluate("reopen()");
  await second.evaluate("until(() => client.status().role === 'follower')");
  await first.evaluate(`killAt = ${MADE}`);
  const [one, two] = await Promise.all([add(first, "one"), add(second, "two")]);
  assert.deepEqual([one, two], ["stored", "stored"]);
  await second.evaluate("until(() => client.status().role === 'leader')");
  await first.evaluate("until(() => client.status().role === 'follower')");
  for (const page of [first, second]) await page.evaluate("shows(['before', 'one', 'two'])");
  await second.evaluate("client.flushed()");
  await shows(phone, ["before", "one", "two"]);
  // Nobody else listens; who leads now has heard so before a write.
  assert.equal(await add(first, "one"), "stored");
  assert.equal(await phone.devices.send(DEVICE, { type: "pause" }), "delivered");
  await isCalm(first);
});

test("where no successor starts the engine runs in the page", OPTIONS, async (context) => {
  const { first, phone } = await held(context);
  await first.evaluate("Worker = function () { throw new Error('no Worker any more'); }; kill()");
  assert.equal(await add(first, "in the page"), "stored");
  await first.evaluate("client.flushed()");
  await shows(phone, ["before", "in the page"]);
  await isCalm(first, 0);
});

test("a successor that can't be loaded is tried again", OPTIONS, async (context) => {
  const { first, phone, browser } = await held(context);
  await browser.setOffline(true);
  await first.evaluate("kill()");
  const said = add(first, "in the end");
  await first.evaluate("failed");
  assert.equal(await first.evaluate("errors[0]"), "wasm_failed");
  assert.ok(await first.evaluate("client.watchlist.has('before')"));
  await browser.setOffline(false);
  assert.equal(await said, "stored");
  await first.evaluate("client.flushed()");
  await shows(phone, ["before", "in the end"]);
});

for (const end of ["close", "destroy"]) {
  test(`${end} ends while no successor can be loaded`, OPTIONS, async (context) => {
    const { first, second, browser } = await held(context);
    await browser.setOffline(true);
    await first.evaluate("kill()");
    const said = add(first, "never");
    await first.evaluate("failed");
    assert.equal(await first.evaluate(`client.${end}()${SAID}`), "done");
    assert.equal(await said, "wasm_failed");
    await browser.setOffline(false);
    await second.evaluate("reopen()");
    await second.evaluate("until(() => client.status().state === 'live')");
    assert.deepEqual(await second.evaluate("titles()"), ["before"]);
  });

  test(`${end} is carried out by a successor`, OPTIONS, async (context) => {
    const { first, second } = await held(context, { storage: "indexeddb" });
    await first.evaluate("client.pause()");
    await first.evaluate("kill()");
    const [write, ended] = await first.evaluate(`Promise.all([
      client.watchlist.add("last")${SAID},
      client.${end}()${SAID},
    ])`);
    assert.equal(ended, "done");
    if (end === "close") assert.equal(write, "done");
    assert.equal((await status(first)).closeReason, end === "close" ? "closed" : "destroyed");
    // The next one has what was stored, and may lead at once.
    await second.evaluate("reopen({ url: 'http://127.0.0.1:1' })");
    await second.evaluate("until(() => client.status().role === 'leader')");
    const left = end === "close" ? ["before", "last"] : [];
    assert.deepEqual(await second.evaluate("titles()"), left);
  });
}

test("Workers that die again and again end the client", OPTIONS, async (context) => {
  const { first, second } = await held(context);
  const wanted = ["before"];
  for (let death = 1; death <= DEATHS_MAX; death += 1) {
    await first.evaluate("kill()");
    assert.equal(await add(first, `${death}`), "stored");
    wanted.unshift(`${death}`);
  }
  await isCalm(first, DEATHS_MAX);
  await first.evaluate("kill()");
  assert.equal(await add(first, "never"), "engine_failed");
  const { state, closeReason } = await status(first);
  assert.deepEqual([state, closeReason], ["stopped", "engine_failed"]);
  assert.deepEqual(await first.evaluate("errors"), ["engine_failed"]);
  assert.equal(await first.evaluate(`client.flushed()${SAID}`), "engine_failed");
  // What was stored is there, here and for whoever opens it.
  await second.evaluate("reopen()");
  for (const page of [first, second]) {
    assert.deepEqual(await page.evaluate("titles()"), wanted.sort());
  }
  assert.equal(await first.evaluate(`client.close()${SAID}`), "done");
});

test("Workers that died longer ago do not count", OPTIONS, async (context) => {
  const { first } = await held(context);
  for (let death = 1; death <= 2 * DEATHS_MAX; death += 1) {
    if (death === DEATHS_MAX + 1) {
      await first.evaluate(`{
        const now = performance.now.bind(performance);
        performance.now = () => now() + 3_600_000;
      }`);
    }
    await first.evaluate("kill()");
    assert.equal(await add(first, `${death}`), "stored");
  }
  await isCalm(first, 2 * DEATHS_MAX);
});
