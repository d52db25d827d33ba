// Worker mode with something else in the place of the engine: `open` says so, and nothing stays undone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { TEST_MS_MAX, twoPages } from "./tabs.mjs";

const OPTIONS = { timeout: TEST_MS_MAX };
const WORKER = "omega-sync.worker.js";

/** @param {import("node:test").TestContext} context @param {string} more settings of `open` */
async function refusal(context, more) {
  const { first } = await twoPages(context, [], WORKER);
  /** @type {string} */
  const said = await first.evaluate(`(async () => {
    const engine = await (await fetch("omega-sync.iife.js")).text();
    const file = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    return reopen(${more}).then(() => "opened", ({ code, message }) => code + ": " + message);
  })()`);
  return said;
}

for (const [what, script] of [
  ["a page", "location.href"],
  ["a script with a mistake", 'file("<!doctype html>")'],
  ["another script", 'file("window.other = 1")'],
]) {
  test(`${what} is not the engine`, OPTIONS, async (context) => {
    assert.match(await refusal(context, `{ script: ${script} }`), /^wasm_failed: .*did not run/);
  });
}

test("a module and a script that do not come", OPTIONS, async (context) => {
  const more = "{ wasm: Promise.reject(new TypeError('Failed to fetch')) }";
  assert.match(await refusal(context, more), /^wasm_failed: .*Failed to fetch/);
  const thrown = "{ script: () => { throw new TypeError('no script'); } }";
  assert.match(await refusal(context, thrown), /^wasm_failed: .*no script/);
});

test("an engine of another version", OPTIONS, async (context) => {
  const older = 'file(engine.replace(/"\\d+\\.\\d+\\.\\d+"/, \'"0.0.0-older"\'))';
  assert.match(await refusal(context, `{ script: ${older} }`), /^wasm_failed: .*0\.0\.0-older/);
});
