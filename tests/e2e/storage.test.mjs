// IndexedDB in a real browser: garbled records, a full disk, a newer version, and two tabs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DEMO_DIST } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { newHousehold } from "../js/tv.mjs";
import { openBrowser, uncaught } from "./browser.mjs";
import { TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

const DEVICE = "tv-living";
const DATABASE = `omega-sync:${DEVICE}`;

/** @param {import("node:test").TestContext} context */
async function oneTv(context) {
  const edge = await Edge.start("--dev", "--static", DEMO_DIST);
  context.after(() => edge.dispose());
  const browser = await openBrowser(context);
  const address = `${edge.address}/tv.html?device=${DEVICE}&household=${newHousehold()}`;
  const page = browser.pages()[0] ?? (await browser.newPage());
  const errors = uncaught(page);
  await page.bringToFront();
  await page.goto(address);
  await says(page, "state", "live");
  return { edge, browser, page, address, errors };
}

/** @param {Page} page @param {string} field @param {string} text */
async function says(page, field, text) {
  await page.getByTestId(field).getByText(text, { exact: true }).waitFor();
}

/** @param {Page} page @param {string} event */
async function happened(page, event) {
  await page.locator(".events").getByText(event).first().waitFor();
}

/**
 * Adds a title, and waits until the list has it: before that a tab that follows says that nothing waits.
 * @param {Page} page @param {string} content
 */
async function addTitle(page, content) {
  await page.getByTestId("row-all").getByTestId(`tile-${content}`).click();
  await page.getByTestId("list-toggle").click();
  await page.keyboard.press("Backspace");
  await listed(page, content).waitFor();
}

/** @param {Page} page @param {string} content */
function listed(page, content) {
  return page.getByTestId("row-watchlist").getByTestId(`tile-${content}`);
}

/**
 * Opens the TV's database beside the app and runs `change(store)` on one of its stores.
 * @param {Page} page on the TV's origin, without the app @param {string} store @param {string} change
 */
function inDatabase(page, store, change) {
  return page.evaluate(`new Promise((resolve, reject) => {
    const request = indexedDB.open(${JSON.stringify(DATABASE)});
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      const transaction = database.transaction(${JSON.stringify(store)}, "readwrite");
      const asked = (${change})(transaction.objectStore(${JSON.stringify(store)}));
      transaction.oncomplete = () => {
        database.close();
        resolve(asked && asked.result);
      };
      transaction.onabort = () => reject(transaction.error);
    };
  })`);
}

/** Leaves the app but stays on its origin. @param {Page} page @param {Edge} edge */
function leaveApp(page, edge) {
  return page.goto(`${edge.address}/style.css`);
}

test("a garbled record is set aside, and the TV recovers from the server", async (context) => {
  const { edge, page, address, errors } = await oneTv(context);
  await addTitle(page, "gladiator");
  await addTitle(page, "memento");
  await says(page, "pending", "0");
  const replica = await page.getByTestId("replica").textContent();

  await leaveApp(page, edge);
  await inDatabase(page, "log", "(store) => store.put('not bytes at all', 9)");
  await page.goto(address);
  await happened(page, "storage_corrupt");
  await says(page, "state", "live");
  for (const content of ["gladiator", "memento"]) await listed(page, content).waitFor();
  assert.notEqual(await page.getByTestId("replica").textContent(), replica);

  await leaveApp(page, edge);
  const kept = await inDatabase(page, "aside", "(store) => store.getAll()");
  const [entry] = /** @type {Array<{records: unknown[], reason: string}>} */ (kept);
  assert.ok(entry?.records.includes("not bytes at all"), JSON.stringify(kept));
  assert.notEqual(entry?.reason, "");
  await page.goto(address);
  await says(page, "state", "live");
  await listed(page, "memento").waitFor();
  assert.deepEqual(errors, []);
});

test("nothing but garbage in the log: the TV starts anew and recovers", async (context) => {
  const { edge, page, address } = await oneTv(context);
  await addTitle(page, "gladiator");
  await says(page, "pending", "0");
  await leaveApp(page, edge);
  const garbage = "(store) => { store.clear(); store.put(new Uint8Array(64).fill(7)); }";
  await inDatabase(page, "log", garbage);
  await page.goto(address);
  await happened(page, "storage_corrupt");
  await listed(page, "gladiator").waitFor();
});

test("a database of a newer version is refused and not touched", async (context) => {
  const { edge, page, address } = await oneTv(context);
  await addTitle(page, "gladiator");
  await says(page, "pending", "0");
  await leaveApp(page, edge);
  await page.evaluate(`new Promise((resolve, reject) => {
    const request = indexedDB.open(${JSON.stringify(DATABASE)}, 2);
    request.onerror = () => reject(request.error);
    request.onsuccess = () => resolve(request.result.close());
  })`);
  const before = await inDatabase(page, "log", "(store) => store.count()");
  await page.goto(address);
  await page.getByTestId("failure").getByText("newer version").waitFor();
  await leaveApp(page, edge);
  assert.equal(await inDatabase(page, "log", "(store) => store.count()"), before);
});

test("two tabs of one TV show the same, and the second goes on without the first", async (context) => {
  const { browser, page: first, address } = await oneTv(context);
  await addTitle(first, "gladiator");
  const second = await browser.newPage();
  await second.goto(address);
  await says(second, "state", "live");
  await listed(second, "gladiator").waitFor();
  await addTitle(second, "memento");
  await says(second, "pending", "0");
  await listed(first, "memento").waitFor();
  await first.close();
  await addTitle(second, "snatch");
  await says(second, "pending", "0");
  await second.reload();
  for (const content of ["gladiator", "memento", "snatch"]) await listed(second, content).waitFor();
});

test("a connection that the TV dropped is opened once, and none is left when it is closed", {
  timeout: TEST_MS_MAX,
}, async (context) => {
  const { first } = await twoPages(context, []);
  const left = await first.evaluate(`(async () => {
      const connections = new Set();
      const begin = IDBDatabase.prototype.transaction;
      IDBDatabase.prototype.transaction = function (...values) {
        connections.add(this);
        return begin.apply(this, values);
      };
      const drop = async () => {
        await reopen();
        await rest();
        for (const connection of connections) connection.close();
      };
      const remove = () => new Promise((resolve, reject) => {
        const request = indexedDB.deleteDatabase(${JSON.stringify(DATABASE)});
        request.onblocked = () => reject(new Error("a connection is open"));
        request.onsuccess = resolve;
      });
      await drop();
      await Promise.all([client.watchlist.add("a"), client.aside()]);
      await client.close();
      await remove();
      await drop();
      await Promise.all([client.aside(), client.close()]);
      await remove();
    })().catch(String)`);
  assert.equal(left, undefined);
});
