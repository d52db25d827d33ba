// The README's table of errors and the package's type name the same codes with the same words.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { MemoryStorage, OmegaError, open } from "omega-sync";
import { open as openPatterns } from "omega-sync/patterns";
import WebSocket from "ws";
import { PKG, ROOT } from "../../scripts/paths.mjs";
import { codeOf } from "./tv.mjs";

const settings = {
  ...{ url: "http://127.0.0.1:1", device: "tv", token: async () => "unused" },
  WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
    /** @type {unknown} */ (WebSocket)
  ),
};

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
  const refusals = wordsOfCore("operation.rs", /^ +Self::\w+ => "(\w+)",$/gm);
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
  const tv = await open({ ...settings, storage: new MemoryStorage() });
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

test("a device's id is 1 to 64 bytes without control characters", async () => {
  const storage = "memory";
  for (const device of ["", "x".repeat(65), "é".repeat(33), "tv\n", "\u0085"]) {
    const opening = open({ ...settings, storage, device });
    await assert.rejects(opening, (error) => codeOf(error) === "invalid_device", device);
  }
  for (const device of ["x", "x".repeat(64), "é".repeat(32), "TV in the living room"]) {
    await (await open({ ...settings, storage, device })).close();
  }
});

test("what is said names what was wrong", async (context) => {
  /** @type {(wrong: object) => () => Promise<unknown>} */
  const opening = (wrong) => () =>
    open(/** @type {any} */ ({ ...settings, storage: "memory", ...wrong }));
  /** @type {(taste: object) => () => Promise<unknown>} */
  const tasting = (taste) => () => openPatterns({ ...settings, storage: "memory", taste });
  const tv = await open({ ...settings, storage: "memory" });
  context.after(() => tv.close());
  /** @type {[() => unknown, RegExp][]} */
  const said = [
    [opening({ poll: { everySeconds: 5, afterWriteSeconds: -1 } }), /^poll\.afterWriteSeconds /],
    [opening({ poll: { everySeconds: 0 } }), /^poll\.everySeconds /],
    [opening({ url: undefined, urls: "http://a" }), /^`urls` must be a list/],
    [opening({ storage: "Memory" }), /^`storage` must be "indexeddb"/],
    [opening({ name: "" }), /^`name` /],
    [opening({ WebSocket: "ws" }), /^`WebSocket` must be a class/],
    [opening({ url: "http://x:99999" }), /^"http:\/\/x:99999" is no address/],
    [opening({ url: "http://x y" }), /is no address/],
    [opening({ url: Symbol("x") }), /is no address/],
    [opening({ poll: { everySeconds: "10" } }), /^poll\.everySeconds /],
    [
      tasting({ quality: { successRate: 2 } }),
      /^taste\.quality\.successRate must be 0 to 1, not 2$/,
    ],
    [tasting({ quality: { sampleCount: -1 } }), /^taste\.quality\.sampleCount /],
    [tasting({ floor: 1 }), /^taste\.floor must be 0\.5 to 0\.999, not 1$/],
    [tasting({ bytes: { up: 1_023 } }), /^taste\.bytes\.up must be 1024 to 65536/],
    [tasting({ bytes: { down: 65_537 } }), /^taste\.bytes\.down /],
    [tasting({ intervalMs: { min: 999 } }), /^taste\.intervalMs\.min /],
    [tasting({ intervalMs: { min: 2_000, max: 1_999 } }), /^taste\.intervalMs\.max must be 2000 /],
    [
      () => tv.devices.send("b", /** @type {any} */ ({ type: "puase" })),
      /^a command's type is one of play, /,
    ],
    [() => tv.watchlist.add(/** @type {any} */ (603)), /^a content id .*, not number$/],
    [
      () => tv.progress.set("x", /** @type {any} */ (undefined)),
      /^progress needs .*, not undefined$/,
    ],
  ];
  for (const [call, message] of said) {
    await assert.rejects(async () => void (await call()), { name: "OmegaError", message });
  }
});

test("why a token was not had is said, not only passed along", async (context) => {
  for (const [token, why] of /** @type {const} */ ([
    [() => Promise.reject(new Error("the login is over")), /the login is over/],
    [async () => "Bearer x.y.z", /without `Bearer`/],
  ])) {
    const tv = await open({ ...settings, storage: "memory", token });
    context.after(() => tv.close());
    /** @type {OmegaError[]} */
    const errors = [];
    tv.on("error", (error) => errors.push(error));
    await assert.rejects(tv.syncNow(), { code: "sync_failed", message: /gave no token/ });
    assert.equal(codeOf(errors[0]), "token_failed");
    assert.match(String(errors[0]), why);
  }
});

test("a position that is no number is no position", async (context) => {
  const tv = await open({ ...settings, storage: "memory" });
  context.after(() => tv.close());
  for (const wrong of [null, "", "12", [], true]) {
    const update = { positionSeconds: /** @type {any} */ (wrong), durationSeconds: 60 };
    await assert.rejects(tv.progress.set("x", update), { code: "invalid_progress" });
  }
  await assert.rejects(tv.devices.describe({ name: /** @type {any} */ ({}) }));
});

test("after close status, pending, metrics and rejected say what was last", async () => {
  const tv = await open({ ...settings, storage: "memory" });
  await tv.watchlist.add("tmdb:603");
  const { replica } = tv.status();
  const closing = tv.close();
  assert.equal(tv.status().pending, 1, "meanwhile");
  await closing;
  const { state, closeReason, pending, ...facts } = tv.status();
  assert.deepEqual([state, closeReason, pending], ["stopped", "closed", 1]);
  assert.equal(facts.replica, replica);
  assert.deepEqual([tv.pending, tv.metrics().operations, tv.rejected()], [1, 1, []]);
  await assert.rejects(tv.takeRejected(), (error) => codeOf(error) === "closed");
});

test("after destroy nothing is left to say", async () => {
  const tv = await open({ ...settings, storage: "memory" });
  await tv.watchlist.add("tmdb:603");
  await tv.destroy();
  const { state, closeReason, replica } = tv.status();
  assert.deepEqual([state, closeReason, replica], ["stopped", "destroyed", ""]);
  assert.deepEqual([tv.pending, tv.metrics().operations, tv.rejected()], [0, 0, []]);
});

test("what is tried again by itself says so, and nothing else does", async (context) => {
  const storage = new MemoryStorage();
  storage.commit = () => Promise.reject(new Error("no disk"));
  storage.destroy = () => Promise.reject(new OmegaError("storage_failed", "it did not work"));
  const tv = await open({ ...settings, storage });
  context.after(() => tv.close());
  await assert.rejects(tv.watchlist.add("a"), {
    code: "storage_failed",
    message: /retried by itself$/,
  });
  await assert.rejects(tv.destroy(), { code: "storage_failed", message: "it did not work" });
});
