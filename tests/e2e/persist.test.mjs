// Whether the engine is asked to keep what is stored when the device runs out of room.
import assert from "node:assert/strict";
import { test } from "node:test";
import { add, BUILDS, TEST_MS_MAX, twoPages } from "./tabs.mjs";

/** Counts the questions, which are answered with `answer`, and can be another browser's. */
const ASKED = `
  let asked = 0;
  let answer = () => Promise.resolve(true);
  navigator.storage.persist = () => {
    asked += 1;
    return answer();
  };
  function be(userAgent) {
    Object.defineProperty(navigator, "userAgent", { value: userAgent, configurable: true });
  }
`;
const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

for (const build of BUILDS) {
  test(`storage is asked to be kept, where nobody is bothered: ${build}`, {
    timeout: TEST_MS_MAX,
  }, async (context) => {
    const { first: page, errors } = await twoPages(context, [], build);
    await page.addScriptTag({ content: ASKED });
    /** How often it asks at a start. @param {object} [more] */
    const asks = async (more) => {
      await page.evaluate(`asked = 0, reopen(${JSON.stringify(more)})`);
      // It asks in a task of its own.
      await page.evaluate("new Promise((resolve) => setTimeout(resolve, 0))");
      return page.evaluate("asked");
    };
    assert.equal(await asks(), 1);
    assert.equal(await asks({ persist: false }), 0);
    assert.equal(await asks({ storage: "memory" }), 0, "there is nothing to keep");
    await page.evaluate("answer = () => Promise.reject(new TypeError('no origin'))");
    assert.equal(await asks(), 1);
    await page.evaluate(`be(${JSON.stringify(FIREFOX)})`);
    assert.equal(await asks(), 0, "which asks the viewer");
    assert.equal(await asks({ persist: true }), 1, "because the app wants it");
    // As on plain http.
    await page.evaluate("Object.defineProperty(navigator, 'storage', { value: undefined })");
    assert.equal(await asks({ persist: true }), 0);
    assert.equal(await add(page, "one"), "stored");
    assert.deepEqual(errors, [[], []]);
  });
}
