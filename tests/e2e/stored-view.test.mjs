// What a page shows before there is any engine is what is stored, also where two pages took turns.
import assert from "node:assert/strict";
import { test } from "node:test";
import { add, addAll, DEVICE, freeze, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

const OPTIONS = { timeout: TEST_MS_MAX };
const WORKER = "omega-sync.worker.js";
const TITLES = ["a", "b", "c", "d"];

/** What the page shows when it is opened where no engine comes. @param {Page} page @returns {Promise<string[]>} */
async function firstScreen(page) {
  await page.evaluate("reopen({ script: 'missing.js' })");
  return page.evaluate("titles()");
}

test(
  "a page that followed and then led leaves the first screen right",
  OPTIONS,
  async (context) => {
    const { first, second } = await twoPages(context, [], WORKER);
    await first.evaluate("reopen()");
    await add(first, "0");
    await second.evaluate("reopen()");
    await second.evaluate("until(() => client.status().role === 'follower')");
    // It sees in one step what was stored in many.
    const wake = await freeze(second, "undefined");
    await addAll(first, TITLES);
    await wake();
    await second.evaluate(`shows(${JSON.stringify(["0", ...TITLES])})`);
    await first.evaluate("client.close()");
    await second.evaluate("until(() => client.status().role === 'leader')");
    await add(second, "z");
    await second.evaluate("client.close()");
    assert.deepEqual(await firstScreen(second), ["0", ...TITLES, "z"]);
  },
);

test("what was stored between a first screen and its engine counts", OPTIONS, async (context) => {
  const { first, second } = await twoPages(context, [], WORKER);
  await first.evaluate("reopen()");
  await add(first, "0");
  // Its engine starts when it is let.
  await second.evaluate("reopen({ wasm: new Promise((resolve) => { window.go = resolve; }) })");
  assert.deepEqual(await second.evaluate("titles()"), ["0"]);
  await addAll(first, TITLES);
  await first.evaluate("client.close()");
  await second.evaluate("go()");
  await second.evaluate(`shows(${JSON.stringify(["0", ...TITLES])})`);
  await add(second, "z");
  await second.evaluate("client.close()");
  assert.deepEqual(await firstScreen(second), ["0", ...TITLES, "z"]);
});

/** Makes what is stored lists of the form before this one. */
const OLDER_FORM = `new Promise((resolve) => {
  indexedDB.open("omega-sync:${DEVICE}").onsuccess = ({ target }) => {
    const transaction = target.result.transaction("meta", "readwrite");
    const meta = transaction.objectStore("meta");
    meta.get("generation:of").onsuccess = ({ target }) => {
      const [generation, form, name] = target.result.split(",");
      meta.put([generation, form - 1, name].join(), "generation:of");
    };
    transaction.oncomplete = () => {
      target.result.close();
      resolve();
    };
  };
})`;

test(
  "lists that another version stored in another form are not shown",
  OPTIONS,
  async (context) => {
    const { first } = await twoPages(context, [], WORKER);
    await first.evaluate("reopen()");
    await add(first, "0");
    assert.deepEqual(await firstScreen(first), ["0"]);
    await first.evaluate("client.close()");
    await first.evaluate(OLDER_FORM);
    const opened = "reopen({ script: 'missing.js' }).then(titles, ({ code }) => code)";
    assert.equal(await first.evaluate(opened), "wasm_failed");
    await first.evaluate("client = undefined");
    await first.evaluate("reopen()");
    assert.deepEqual(await first.evaluate("titles()"), ["0"]);
  },
);

test("what waits for the next commit is not stored with this one", OPTIONS, async (context) => {
  const { first, second } = await twoPages(context, [], WORKER);
  // Nothing is stored but what is written here.
  await first.evaluate("reopen({ url: 'http://127.0.0.1:1' })");
  await add(first, "0");
  await first.evaluate("rest()");
  // The answer about the generation is late in each commit until it is let go.
  await first.evaluate(`
    window.begun = 0;
    window.letGo = 0;
    const get = IDBObjectStore.prototype.get;
    IDBObjectStore.prototype.get = function (key) {
      const request = get.call(this, key);
      if (key !== "generation" || this.transaction.mode !== "readwrite") return request;
      begun += 1;
      const number = begun;
      const late = { transaction: this.transaction };
      const again = () => {
        if (number > letGo) get.call(this, key).onsuccess = again;
        else {
          late.result = request.result;
          late.onsuccess();
        }
      };
      request.onsuccess = again;
      return late;
    };`);
  const stored = add(first, "a");
  await first.waitForFunction("begun === 1", undefined, { polling: 20 });
  void add(first, "b").catch(() => undefined);
  await first.evaluate("shows(['0', 'a', 'b'])");
  await first.evaluate("letGo = 1");
  assert.equal(await stored, "stored");
  await first.close();
  assert.deepEqual(await firstScreen(second), ["0", "a"]);
});
