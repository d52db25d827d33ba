// What a page's origin has stored.

/** @typedef {import("./browser.mjs").Page} Page */

/** Everything that is in any database of the page's origin. @param {Page} page @returns {Promise<number>} */
export function left(page) {
  return page.evaluate(async () => {
    let count = 0;
    for (const { name } of await indexedDB.databases()) {
      /** @type {IDBDatabase} */
      const database = await new Promise((resolve, reject) => {
        const request = indexedDB.open(String(name));
        request.onerror = () => reject(request.error);
        request.onsuccess = () => resolve(request.result);
      });
      const stores = Array.from(database.objectStoreNames);
      const transaction = database.transaction(stores);
      const counts = stores.map((store) => transaction.objectStore(store).count());
      await new Promise((resolve) => {
        transaction.oncomplete = resolve;
      });
      for (const { result } of counts) count += result;
      database.close();
    }
    return count;
  });
}
