// Logout in a real browser: what one user left is gone for the next, in every tab, also in one that was
// frozen meanwhile or still holds the database open.
import assert from "node:assert/strict";
import { test } from "node:test";
import { titles } from "../js/tv.mjs";
import { until } from "../js/until.mjs";
import { left } from "./left.mjs";
import { add, BUILDS, DEVICE, freeze, status, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

/** Logs the next user in. @param {Page} page */
function nextUser(page) {
  return page.evaluate("household = household + '-next'; client = undefined; reopen()");
}

for (const [from, build] of ["leader", "follower"].flatMap((role) =>
  BUILDS.map((build) => [role, build]),
)) {
  test(`logout in the ${from} stops both tabs and erases everything: ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first, second, phone, errors } = await twoPages(context, [], build);
    await first.evaluate("reopen()");
    await second.evaluate("reopen()");
    await add(first, "secret");
    await first.evaluate("client.flushed()");
    const [here, there] = from === "leader" ? [first, second] : [second, first];
    await here.evaluate("client.destroy()");
    await there.evaluate("until(() => client.status().closeReason === 'destroyed')");
    for (const page of [here, there]) {
      assert.equal(await page.evaluate("client.status().state"), "stopped");
      assert.equal(await page.evaluate("client.status().household"), "");
      assert.equal(await add(page, "more"), "destroyed");
      const read =
        "(() => { try { return client.watchlist.items().length; } catch (e) { return e.code } })()";
      assert.equal(await page.evaluate(read), "destroyed");
      assert.equal(await left(page), 0);
    }
    await nextUser(there);
    assert.deepEqual(await there.evaluate("titles()"), []);
    await add(there, "of the next");
    await there.evaluate("client.flushed()");
    assert.deepEqual(await there.evaluate("titles()"), ["of the next"]);
    await phone.syncNow();
    assert.deepEqual(titles(phone), ["secret"], "the server's copy stays");
    assert.deepEqual(errors, [[], []]);
  });
}

/** Logout and what apps do around it. */
const ORDERS = [
  "client.close().then(() => client.destroy())",
  "client.destroy().then(() => client.close())",
  "Promise.all([client.close(), client.destroy()])",
];

for (const build of BUILDS) {
  test(`logout in any order of calls erases all and breaks nothing, in ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first, second, errors } = await twoPages(context, [], build);
    for (const order of ORDERS) {
      for (const page of [first, second]) await page.evaluate("client = undefined, reopen()");
      await second.evaluate("until(() => client.status().role === 'follower')");
      await add(first, "secret");
      await first.evaluate(order);
      await second.evaluate("until(() => client.status().closeReason === 'destroyed')");
      assert.equal(await left(first), 0, order);
      const again = "client.destroy().then(() => client.close()).then(() => add('more'))";
      for (const page of [first, second]) {
        assert.equal(await page.evaluate(again), "destroyed", order);
        assert.equal((await status(page)).closeReason, "destroyed", order);
      }
    }
    // The server may have got the secret before it was erased here.
    await nextUser(first);
    await add(first, "of the next");
    await first.evaluate("shows(['of the next'])");
    assert.deepEqual(errors, [[], []]);
  });
}

for (const build of BUILDS) {
  test(`a tab that slept through a logout neither shows nor stores anything of the next user: ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first, second } = await twoPages(context, [], build);
    await first.evaluate("reopen()");
    await add(first, "secret");
    await first.evaluate("client.flushed()");
    await second.evaluate("reopen()");
    const wake = await freeze(first, "add('late')");
    await second.evaluate("client.destroy()");
    await nextUser(second);
    await add(second, "of the next");
    assert.equal(await wake(), "destroyed");
    await first.evaluate("until(() => client.status().state === 'stopped')");
    assert.equal((await status(first)).closeReason, "destroyed");
    await until("only the next user's title", async () => {
      const shown = await second.evaluate("titles()");
      return String(shown) === "of the next";
    });
    await first.evaluate("client.close()");
    await nextUser(first);
    await first.evaluate("shows(['of the next'])");
  });

  test(`what another household left is refused, not shown; wipe erases it: ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first } = await twoPages(context, [], build);
    await first.evaluate("reopen()");
    await add(first, "secret");
    await first.evaluate("client.flushed()");
    await first.evaluate("client.close()");
    const refused = await first.evaluate(
      "household += '-next', client = undefined, reopen().then(String, ({ code }) => code)",
    );
    assert.equal(refused, "household_mismatch");
    await first.evaluate(`OmegaSync.wipe({ device: "${DEVICE}" })`);
    assert.equal(await left(first), 0);
    await first.evaluate("reopen()");
    assert.deepEqual(await first.evaluate("titles()"), []);
    await first.evaluate(`OmegaSync.wipe({ device: "nobody" })`);
  });
}
