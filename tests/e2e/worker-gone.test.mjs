// A Worker that dies after it started, without a word: whoever waits is told, and a logout still erases.
import assert from "node:assert/strict";
import { test } from "node:test";
import { add, TEST_MS_MAX, twoPages } from "./tabs.mjs";

const OPTIONS = { timeout: TEST_MS_MAX };
const WORKER = "omega-sync.worker.js";

/** Keeps hold of the Worker that starts next, and lets the page's timers run fast when it is killed. */
const HOLD = `{
  const { Worker, setTimeout } = window;
  window.Worker = function (...values) {
    window.held = new Worker(...values);
    return held;
  };
  window.kill = () => {
    held.terminate();
    window.setTimeout = (work, ms) => setTimeout(work, ms / 50);
  };
}`;
const SAID = ".then(() => 'done', ({ code }) => code)";

for (const end of ["destroy", "close"]) {
  test(`a Worker that died is noticed, and ${end} ends`, OPTIONS, async (context) => {
    const { first, second } = await twoPages(context, [], WORKER);
    await first.evaluate(HOLD);
    await first.evaluate("reopen()");
    assert.equal(await add(first, "before"), "stored");
    await first.evaluate("errors = []; client.on('error', ({ code }) => errors.push(code))");
    const said = await first.evaluate(`(() => {
      kill();
      return Promise.all([
        client.watchlist.add("never")${SAID},
        client.flushed()${SAID},
        client.${end}()${SAID},
      ]);
    })()`);
    assert.deepEqual(said, ["engine_failed", "engine_failed", "done"]);
    assert.deepEqual(await first.evaluate("errors"), ["engine_failed"]);
    // The next one has what was stored, and may lead at once.
    await second.evaluate("reopen()");
    await second.evaluate("until(() => client.status().role === 'leader')");
    if (end === "close") assert.ok(await second.evaluate("client.watchlist.has('before')"));
  });
}

test("a Worker that died before a write is told to it", OPTIONS, async (context) => {
  const { first } = await twoPages(context, [], WORKER);
  await first.evaluate(HOLD);
  await first.evaluate("reopen()");
  await first.evaluate("kill()");
  assert.equal(await add(first, "never"), "engine_failed");
  assert.equal(await first.evaluate("client.status().state"), "stopped");
});
