// Requests about taste, where there is no socket: whose answer it is, whose token, and that they end.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { MemoryStorage, open } from "omega-sync/patterns";
import WebSocket from "ws";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "./edge.mjs";
import { codeOf, newHousehold } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** First byte of a request about taste. */
const REQUEST_TAG = 4;
const DIST = join(PKG, "dist");

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/**
 * A TV that only makes requests.
 * @param {import("node:test").TestContext} context
 * @param {Partial<import("omega-sync/patterns").PatternsOptions>} more
 */
async function openTv(context, more) {
  const household = newHousehold();
  const tv = await open({
    url: edge.address,
    device: "tv",
    token: async () => edge.token(household, "tv"),
    storage: "memory",
    poll: { everySeconds: 300 },
    taste: { tables: async () => readFileSync(join(DIST, "omega-sync-tables.bin")) },
    ...more,
  });
  context.after(() => tv.close());
  await eventually(tv, "polling", () => tv.status().state === "polling");
  return tv;
}

/**
 * Puts something in the place of `fetch` until the test ends.
 * @param {import("node:test").TestContext} context
 * @param {(ask: () => Promise<Response>, url: string, init: RequestInit) => Promise<Response>} instead
 */
function replaceFetch(context, instead) {
  const { fetch } = globalThis;
  globalThis.fetch = (input, init = {}) => instead(() => fetch(input, init), String(input), init);
  context.after(() => {
    globalThis.fetch = fetch;
  });
}

/** @param {RequestInit} init */
const isOfTaste = ({ body }) => body instanceof Uint8Array && body[0] === REQUEST_TAG;

test("an answer is to the request that asked for it", async (context) => {
  const tv = await openTv(context, {});
  assert.equal(await tv.taste.sync(), "ok");
  /** @type {Array<{ answer: () => void, fail: (cause: Error) => void }>} */
  const held = [];
  replaceFetch(context, (ask, _url, init) => {
    if (!isOfTaste(init)) return ask();
    return new Promise((resolve, reject) => {
      held.push({ answer: () => ask().then(resolve, reject), fail: reject });
    });
  });
  const first = tv.taste.sync();
  await until("asked", () => held.length === 1);
  tv.pause();
  assert.equal(await first, "failed");
  tv.resume();
  await until("asked again", () => held.length === 2);
  const second = tv.taste.sync();
  held[0]?.fail(new Error("the network of before"));
  await new Promise(setImmediate);
  held[1]?.answer();
  assert.equal(await second, "ok");
});

test("a token of another device is not used for taste either", async (context) => {
  const household = newHousehold();
  let device = "tv";
  const tv = await openTv(context, { token: async () => edge.token(household, device) });
  assert.equal(await tv.taste.sync(), "ok");
  let asked = 0;
  replaceFetch(context, (ask) => {
    asked += 1;
    return ask();
  });
  device = "phone";
  assert.equal(await tv.taste.sync(), "failed");
  assert.equal(asked, 0);
});

test("the fetching of the package's tables ends with the client", async (context) => {
  const { open: openInPage } = await import(join(DIST, "patterns.js"));
  const household = newHousehold();
  /** @type {AbortSignal | null | undefined} */
  let signal;
  replaceFetch(context, (ask, url, init) => {
    // A server that has none to give.
    if (url.includes("/taste/tables/")) return Promise.resolve(new Response("", { status: 404 }));
    if (!url.includes("omega-sync-tables")) return ask();
    signal = init.signal;
    return new Promise((_, reject) => {
      signal?.addEventListener("abort", () => reject(new Error("called off")));
    });
  });
  /** @type {import("omega-sync/patterns").PatternsClient} */
  const tv = await openInPage({
    url: edge.address,
    device: "tv",
    token: async () => edge.token(household, "tv"),
    storage: new MemoryStorage(),
    wasm: readFileSync(join(DIST, "omega_sync_patterns_bg.wasm")),
    WebSocket,
  });
  context.after(() => tv.close());
  await eventually(tv, "live", () => tv.status().state === "live");
  const synced = tv.taste.sync().catch(codeOf);
  await until("fetched", () => signal);
  await tv.close();
  assert.equal(signal?.aborted, true);
  assert.equal(await synced, "closed");
});
