// Commands for a TV on which two pages are open: one of them carries each out, whichever has the engine.
import assert from "node:assert/strict";
import { test } from "node:test";
import { add, BUILDS, DEVICE, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** @typedef {import("./browser.mjs").Page} Page */
/** @typedef {import("omega-sync").Command["type"]} Type */

const OPTIONS = { timeout: TEST_MS_MAX };
const PAUSE = { type: /** @type {const} */ ("pause") };

/**
 * A leader that is hidden and a follower that is seen, which both listen.
 * @param {import("node:test").TestContext} context @param {string} build
 */
async function hiddenLeader(context, build) {
  const pages = await twoPages(context, [], build);
  const { first, second } = pages;
  await first.evaluate("reopen()");
  await first.evaluate("client.devices.describe({ capabilities: { remoteControllable: true } })");
  await first.evaluate("client.flushed()");
  await second.evaluate("reopen()");
  await second.evaluate("until(() => client.status().role === 'follower')");
  await first.evaluate("hide(true)");
  await first.evaluate("listen()");
  await second.evaluate("listen()");
  await isHeard(second);
  return pages;
}

/** What a follower said before a write is heard before it. @param {Page} follower */
async function isHeard(follower) {
  assert.equal(await add(follower, "heard"), "stored");
}

/** What a page has carried out. @param {Page} page */
function taken(page) {
  return page.evaluate("taken");
}

/** Ends a page as a lack of memory does: without a word. @param {Page} page */
async function kill(page) {
  const debug = await page.context().newCDPSession(page);
  const gone = new Promise((resolve) => page.once("crash", resolve));
  // There is no answer to this.
  debug.send("Page.crash").catch(() => undefined);
  await gone;
}

for (const build of BUILDS) {
  test(`the page that is seen carries out a command: ${build}`, OPTIONS, async (context) => {
    const { first, second, phone, errors } = await hiddenLeader(context, build);
    assert.equal(await phone.devices.send(DEVICE, PAUSE), "delivered");
    assert.deepEqual([await taken(first), await taken(second)], [[], ["phone: pause"]]);
    // Among equals the one that leads.
    await first.evaluate("hide(false)");
    await isHeard(second);
    assert.equal(await phone.devices.send(DEVICE, { type: "stop" }), "delivered");
    assert.deepEqual(await taken(first), ["phone: stop"]);
    // One that does not listen is passed over, and the other's answer is the device's.
    await first.evaluate("deafen()");
    await second.evaluate("deafen()");
    await second.evaluate("listen('not_supported')");
    await second.evaluate("hide(true)");
    await isHeard(second);
    assert.equal(await phone.devices.send(DEVICE, { type: "play" }), "not_supported");
    assert.deepEqual(await taken(second), ["phone: pause", "phone: play"]);
    // Nobody listens.
    await second.evaluate("deafen()");
    await isHeard(second);
    assert.equal(await phone.devices.send(DEVICE, PAUSE), "not_supported");
    assert.deepEqual([(await taken(first)).length, (await taken(second)).length], [1, 2]);
    assert.deepEqual(errors, [[], []]);
  });

  test(`a page that died is passed over in time: ${build}`, OPTIONS, async (context) => {
    const { first, second, phone } = await hiddenLeader(context, build);
    await kill(second);
    assert.equal(await phone.devices.send(DEVICE, PAUSE), "delivered");
    assert.deepEqual(await taken(first), ["phone: pause"]);
  });

  test(`who leads after the leader died hears commands: ${build}`, OPTIONS, async (context) => {
    const { first, second, phone } = await hiddenLeader(context, build);
    await kill(first);
    await second.evaluate("until(() => client.status().role === 'leader')");
    await second.evaluate("client.syncNow()");
    assert.equal(await phone.devices.send(DEVICE, PAUSE), "delivered");
    assert.deepEqual(await taken(second), ["phone: pause"]);
  });
}

test(
  "a page that hangs when it is offered a command does not do it later",
  OPTIONS,
  async (context) => {
    const { first, second, phone } = await hiddenLeader(context, "omega-sync.iife.js");
    const wake = await hang(second);
    assert.equal(await phone.devices.send(DEVICE, PAUSE), "delivered");
    assert.deepEqual(await taken(first), ["phone: pause"], "the other one did");
    await wake();
    // It has heard the offer by now, and would have the command.
    await isHeard(second);
    assert.equal(await phone.devices.send(DEVICE, { type: "stop" }), "delivered");
    assert.deepEqual(
      [await taken(first), await taken(second)],
      [["phone: pause"], ["phone: stop"]],
    );
  },
);

/**
 * Lets a page hang, as one does that is busy: what comes for it waits. (What a debugger stops loses it.)
 * @param {Page} page @returns {Promise<() => Promise<void>>} ends it
 */
async function hang(page) {
  /** @type {Promise<() => Promise<void>>} */
  const asked = new Promise((resolve) => {
    page.route("**/hang", (route) => resolve(() => route.fulfill({ body: "" })));
  });
  page.evaluate(`rest().then(() => {
    const request = new XMLHttpRequest();
    request.open("GET", "/hang", false);
    request.send();
  })`);
  return asked;
}
