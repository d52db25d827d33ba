// Pages that can't store, as in some private windows: the session works from memory, and says so once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../js/until.mjs";
import { uncaught } from "./browser.mjs";
import { add, BUILDS, status, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** What is wrong, as a script that runs before the page's own. */
const FAULTS = [
  {
    name: "there is no IndexedDB",
    script: "Object.defineProperty(window, 'indexedDB', { value: undefined });",
  },
  {
    name: "it can't be opened",
    script: `IDBFactory.prototype.open = () => {
      const error = new DOMException("not in a private window", "InvalidStateError");
      const request = { error };
      setTimeout(() => request.onerror(), 0);
      return request;
    };`,
  },
  {
    name: "no transaction begins",
    script: `IDBDatabase.prototype.transaction = () => {
      throw new DOMException("not in a private window", "UnknownError");
    };`,
  },
  {
    name: "every transaction is aborted",
    script: `const start = IDBDatabase.prototype.transaction;
    IDBDatabase.prototype.transaction = function (...values) {
      const transaction = start.apply(this, values);
      setTimeout(() => transaction.abort(), 0);
      return transaction;
    };
    // What was asked of it gets no answer.
    Object.defineProperty(IDBRequest.prototype, "onsuccess", {
      set(listener) {
        if (this instanceof IDBOpenDBRequest) this.addEventListener("success", listener);
      },
    });`,
  },
];

for (const build of BUILDS) {
  test(`a page that can't store works from memory: ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { browser, first, phone } = await twoPages(context, [], build);
    for (const [at, { name, script }] of FAULTS.entries()) {
      const page = await browser.newPage();
      const errors = uncaught(page);
      await page.addInitScript(script);
      await page.goto(first.url());
      await page.evaluate("reopen()");
      await page.evaluate(`{
        window.said = [];
        client.on("error", ({ code }) => said.push(code));
      }`);
      assert.equal(await add(page, `mine ${at}`), "stored", name);
      await page.evaluate("client.flushed()");
      await eventually(phone, name, () => phone.watchlist.has(`mine ${at}`));
      await phone.watchlist.add(`theirs ${at}`);
      await page.evaluate(`until(() => client.watchlist.has('theirs ${at}'))`);
      const { storage, role, state } = await status(page);
      assert.deepEqual([storage, role, state], ["memory", "leader", "live"], name);
      assert.deepEqual(await page.evaluate("said"), ["storage_memory"], name);
      assert.deepEqual((await page.evaluate("client.exportData()")).aside, []);
      await page.evaluate("client.close()");
      await page.close();
      assert.deepEqual(errors, [], name);
    }
  });
}

/** Fails to open the databases that `faulty` names, and counts those that are open. */
const SOME_FAIL = `
  window.opened = new Set();
  const { open } = IDBFactory.prototype;
  IDBFactory.prototype.open = function (name, version) {
    if (window.faulty?.test(name)) {
      const request = { error: new DOMException("not this one", window.fault) };
      setTimeout(() => request.onerror(), 0);
      return request;
    }
    const request = open.call(this, name, version);
    request.addEventListener("success", () => opened.add(request.result));
    return request;
  };
  const { close } = IDBDatabase.prototype;
  IDBDatabase.prototype.close = function () {
    opened.delete(this);
    close.call(this);
  };`;

test("a page that can't store taste says so once, and stores the household", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const { browser, first } = await twoPages(context, [], "omega-sync.patterns.iife.js");
  const page = await browser.newPage();
  const errors = uncaught(page);
  await page.addInitScript(SOME_FAIL);
  await page.goto(first.url());
  for (const [faulty, storage] of /** @type {const} */ ([
    ["/:taste$/", "indexeddb"],
    ["/:titles$/", "indexeddb"],
    ["/:(taste|titles)$/", "indexeddb"],
    ["/./", "memory"],
  ])) {
    await page.evaluate(`{ faulty = ${faulty}; fault = "QuotaExceededError"; }`);
    await page.evaluate("reopen()");
    await page.evaluate(`{
      window.said = [];
      client.on("error", ({ code }) => said.push(code));
    }`);
    assert.equal(await add(page, "mine"), "stored", faulty);
    await page.evaluate("client.taste.optOut(true)");
    assert.equal((await status(page)).storage, storage, faulty);
    assert.deepEqual(await page.evaluate("said"), ["storage_memory"], faulty);
  }
  await page.evaluate(`{ faulty = /:titles$/; fault = "VersionError"; }`);
  assert.equal(await page.evaluate("reopen().catch(({ code }) => code)"), "storage_newer");
  const open = "Array.from(opened, ({ name }) => name)";
  assert.deepEqual(await page.evaluate(open), [], "nothing is left open");
  assert.deepEqual(errors, []);
});
