// The README's table of errors and the package's type name the same codes with the same words.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { MemoryStorage, OmegaError, open } from "omega-sync";
import WebSocket from "ws";
import { PKG, ROOT } from "../../scripts/paths.mjs";

/** @returns {string[]} each code with its meaning */
function codesOfType() {
  const source = readFileSync(join(PKG, "src", "errors.ts"), "utf8");
  const type = source.slice(source.indexOf("type ErrorCode ="), source.indexOf("/** Thrown"));
  const codes = [...type.matchAll(/\/\*\*\s*([\s\S]*?)\s*\*\/\s*\|\s*"(\w+)"/g)].map(
    ([, meaning = "", code = ""]) => `${code}: ${meaning.replace(/\s*\n\s*\*\s*/g, " ")}`,
  );
  assert.ok(codes.length > 20, "the type was read");
  assert.equal(codes.length, (type.match(/^ {2}\| "/gm) ?? []).length, "each code has its words");
  return codes;
}

test("every code is in the table, and no other", () => {
  const codes = codesOfType();
  const readme = readFileSync(join(PKG, "README.md"), "utf8");
  const table = readme.slice(readme.indexOf("## Errors"), readme.indexOf("## What it counts"));
  const rows = [...table.matchAll(/^\| `(\w+)` \| (.*) \|$/gm)].map(
    ([, code, meaning]) => `${code}: ${meaning}`,
  );
  assert.deepEqual(rows, codes);
});

/** The words of a type in `reasons.ts`. @param {string} name */
function wordsOf(name) {
  const source = readFileSync(join(PKG, "src", "reasons.ts"), "utf8");
  const [, type = ""] = source.split(`type ${name} =`);
  return [...(type.split(";\n")[0] ?? "").matchAll(/\| "(\w+)"/g)].map(([, word]) => word);
}

/** What matches in a source of the core. @param {string} file @param {RegExp} pattern */
function wordsOfCore(file, pattern) {
  const words = [...readFileSync(join(ROOT, "core", "src", file), "utf8").matchAll(pattern)];
  assert.ok(words.length > 3, `${file} was read`);
  return words.map(([, word]) => word);
}

test("the reasons of refusals and of ended connections are those of the engine", () => {
  const refusals = wordsOfCore("household.rs", /^ +Self::\w+ => "(\w+)",$/gm);
  assert.deepEqual(wordsOf("RejectedReason"), refusals);
  const ends = wordsOfCore("message/close.rs", /^ +\w+ = \d+, "(\w+)";$/gm);
  assert.deepEqual(wordsOf("CloseReason"), ends);
});

test("whatever fails is an OmegaError with one of these codes", async () => {
  const known = codesOfType().map((line) => line.slice(0, line.indexOf(":")));
  /** @param {unknown} error */
  const isKnown = (error) => {
    assert.ok(error instanceof OmegaError, String(error));
    assert.ok(known.includes(error.code) && error.code !== "engine_failed", error.code);
    assert.notEqual(error.message, "");
    return true;
  };
  const settings = {
    ...{ url: "http://127.0.0.1:1", device: "tv", token: async () => "unused" },
    storage: new MemoryStorage(),
    WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
      /** @type {unknown} */ (WebSocket)
    ),
  };
  const tv = await open(settings);
  const nobody = tv.forProfile("0123456789abcdef");
  const calls = [
    () => open({ ...settings, url: "nowhere" }),
    () => open({ ...settings, poll: { everySeconds: 0 } }),
    () => open({ ...settings, profile: "nobody" }),
    () => tv.watchlist.add(""),
    () => tv.watchlist.has(""),
    () => nobody.progress.remove("x"),
    () => tv.progress.set("x", { positionSeconds: -1, durationSeconds: 1 }),
    () => tv.profiles.rename("", ""),
    () => tv.devices.describe({ name: "x".repeat(65) }),
    () => tv.devices.send("b", { type: "seek", positionSeconds: -1 }),
    () => tv.syncNow(),
  ];
  const closed = [() => tv.flushed(), () => tv.watchlist.items(), () => tv.profiles.create("Kid")];
  for (const call of calls)
    await assert.rejects(async () => void (await call()), isKnown, `${call}`);
  await tv.close();
  for (const call of closed)
    await assert.rejects(async () => void (await call()), isKnown, `${call}`);
});
