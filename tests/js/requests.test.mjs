// Where WebSockets don't get through, where an address is down, and for apps that ask now and then: on
// the real server, through a proxy that breaks upgrades.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createListener } from "node:net";
import { test } from "node:test";
import { open } from "omega-sync";
import { open as openWithTaste } from "omega-sync/patterns";
import WebSocket from "ws";
import { Edge } from "./edge.mjs";
import { Gateway } from "./gateway.mjs";
import { codeOf, newHousehold, openTv, titles } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @typedef {import("node:test").TestContext} TestContext */
/** @typedef {import("./gateway.mjs").Answer} Answer */

const SocketClass = /** @type {import("omega-sync").WebSocketConstructor} */ (
  /** @type {unknown} */ (WebSocket)
);

/** As a frame it is a welcome of the version 7, after which a client would stop for good. */
const PAGE = { status: 200, type: "text/html", body: `<${"p>Log in at our desk".padEnd(60)}` };
/** What captive portals, gateways and firewalls say in the server's place. @type {Answer[]} */
const NOBODY = [
  { status: 403 },
  { status: 403, type: "text/html", body: "<h1>Blocked</h1>" },
  { status: 403, type: "application/json", body: '{"code":"constructor"}' },
  { status: 403, type: "application/json", body: "null" },
  { status: 200, type: "text/html", body: "<h1>Log in to our network</h1>" },
  PAGE,
  { status: 200 },
];

/**
 * An address that takes every connection and never answers.
 * @param {TestContext} context
 */
async function deafAddress(context) {
  /** Requests that wait. @type {Set<import("node:net").Socket>} */
  const waiting = new Set();
  const heard = { waiting, requests: 0, address: "" };
  const server = createListener((socket) => {
    context.after(() => socket.destroy());
    // Node opens a connection in advance: one is a request when something is said on it.
    socket.once("data", () => {
      heard.requests += 1;
      waiting.add(socket);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => waiting.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => server.close());
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  heard.address = `http://127.0.0.1:${port}`;
  return heard;
}

/** An address that answers every request with the same. @param {TestContext} context */
async function answering(context, /** @type {number} */ status) {
  const heard = { requests: 0, address: "" };
  const server = createServer((question, answer) => {
    heard.requests += 1;
    question.resume();
    answer.writeHead(status, { "Content-Type": "application/octet-stream" }).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => server.close());
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  heard.address = `http://127.0.0.1:${port}`;
  return heard;
}

/** @param {TestContext} context */
async function behindProxy(context) {
  const edge = await Edge.start();
  context.after(() => edge.dispose());
  const proxy = await new Gateway(edge).start();
  context.after(() => proxy.stop());
  return { edge, proxy, household: newHousehold() };
}

test("behind a proxy that breaks WebSockets everything goes by requests, and back", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  const testing = { socketRetryMs: 500 };
  const tv = await openTv(context, edge, household, "tv", { url: proxy.address, testing });
  const other = await openTv(context, edge, household, "other");
  await tv.watchlist.add("mine");
  await tv.flushed();
  await eventually(tv, "polling", () => tv.status().state === "polling");
  await eventually(other, "it arrives", () => titles(other).length === 1);
  await other.watchlist.add("theirs");
  await other.flushed();
  await tv.syncNow();
  assert.deepEqual(titles(tv), ["mine", "theirs"]);
  assert.ok(proxy.seen.includes("upgrade") && proxy.seen.includes("POST /api/v1/sync"));
  assert.equal(tv.status().closeReason, "");
  proxy.upgrades = true;
  await tv.watchlist.remove("theirs");
  await eventually(tv, "a socket again", () => tv.status().state === "live");
  await eventually(other, "the removal", () => titles(other).length === 1);
});

test("a server may be mounted under a path, by socket and by request", async (context) => {
  const { proxy, household, edge } = await behindProxy(context);
  proxy.mount = "/omega";
  const socket = proxy.address.replace("http", "ws");
  for (const url of [`${proxy.address}/omega`, `${proxy.address}/omega/`, `${socket}/omega/ws`]) {
    for (const state of ["live", "polling"]) {
      proxy.upgrades = state === "live";
      const device = `tv-${state}`;
      const token = async () => `${edge.token(household, device)}\n`;
      const tv = await openTv(context, edge, household, device, { url, token });
      await eventually(tv, `${state} by ${url}`, () => tv.status().state === state);
      await tv.close();
    }
  }
});

test("a socket that is tried again and finds nobody costs one try, not one after the other", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  const testing = { socketRetryMs: 1 };
  const tv = await openTv(context, edge, household, "tv", { url: proxy.address, testing });
  await eventually(tv, "polling", () => tv.status().state === "polling");
  for (const title of ["first", "second"]) {
    proxy.seen.length = 0;
    await tv.watchlist.add(title);
    await tv.flushed();
    assert.deepEqual(proxy.seen.slice(0, 2), ["upgrade", "POST /api/v1/sync"]);
  }
});

test("an app that resumes gets a socket at once, though requests do", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  const tv = await openTv(context, edge, household, "tv", { url: proxy.address });
  await eventually(tv, "polling", () => tv.status().state === "polling");
  proxy.upgrades = true;
  tv.pause();
  tv.resume();
  await eventually(tv, "a socket", () => tv.status().state === "live");
});

test("an app that polls opens no socket, and sends a write when it says", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  const poll = { everySeconds: 300, afterWriteSeconds: 1 };
  const tv = await openTv(context, edge, household, "tv", { url: proxy.address, poll });
  await eventually(tv, "polling", () => tv.status().state === "polling");
  await tv.progress.set("film", { positionSeconds: 1, durationSeconds: 9 });
  await tv.progress.set("film", { positionSeconds: 2, durationSeconds: 9 });
  assert.equal(tv.pending, 2, "each might leave with a page at once, so both count");
  await tv.flushed();
  assert.ok(!proxy.seen.includes("upgrade"));
  const other = await openTv(context, edge, household, "other");
  await eventually(other, "it arrives", () => other.progress.resume("film") === 2);
  const without = { url: proxy.address, poll, WebSocket: undefined };
  const classless = await openTv(context, edge, household, "classless", without);
  await eventually(classless, "polling", () => classless.progress.resume("film") === 2);
  for (const wrong of [{ everySeconds: 0 }, { everySeconds: Number.NaN }]) {
    const said = await openTv(context, edge, household, "tv", { poll: wrong }).catch(codeOf);
    assert.equal(said, "invalid_option");
  }
});

test("the next address is used while the first is down, and left when it is back", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  proxy.upgrades = true;
  const { address } = proxy;
  await proxy.stop();
  const tv = await openTv(context, edge, household, "tv", {
    urls: [address, edge.address],
    testing: { firstUrlRetryMs: 200 },
  });
  await tv.watchlist.add("film");
  await tv.flushed();
  await eventually(tv, "live by the second", () => tv.status().state === "live");
  await proxy.start();
  await eventually(tv, "by the first", () => proxy.seen.includes("upgrade"));
  await eventually(tv, "live by the first", () => {
    return tv.status().state === "live" && proxy.tunnels === 1;
  });
  await proxy.stop();
  await tv.watchlist.add("another");
  await tv.flushed();
});

test("a request that is refused says why, and the token is asked for anew", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  let token = "expired-or-forged";
  let asked = 0;
  const tv = await openTv(context, edge, household, "tv", {
    url: proxy.address,
    poll: { everySeconds: 60 },
    token: async () => {
      asked += 1;
      return token;
    },
  });
  await tv.watchlist.add("film");
  await eventually(tv, "refused", () => tv.status().closeReason === "unauthorized");
  assert.equal(tv.pending, 1);
  token = edge.token(household, "tv");
  await tv.flushed();
  assert.ok(asked >= 2);
  // Refused for good: it stops, and keeps what it has.
  const stranger = edge.token(newHousehold(), "tv");
  token = stranger;
  await assert.rejects(tv.syncNow(), { code: "sync_failed" });
  await eventually(tv, "stopped", () => tv.status().state === "stopped");
  assert.equal(tv.status().closeReason, "household_mismatch");
  assert.deepEqual(titles(tv), ["film"]);
});

test("the server's own 403 is a refusal of the token, too", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  let token = edge.token(household, "tv", "--scope", "control");
  const options = { url: proxy.address, poll: { everySeconds: 60 }, token: async () => token };
  const tv = await openTv(context, edge, household, "tv", options);
  await tv.watchlist.add("film");
  await eventually(tv, "refused", () => tv.status().closeReason === "unauthorized");
  token = edge.token(household, "tv");
  await tv.syncNow();
  assert.equal(tv.pending, 0);
});

test("a gateway's bare 401 asks for another token, what else it says is no refusal", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  proxy.says = { status: 401 };
  let asked = 0;
  const tv = await openTv(context, edge, household, "tv", {
    url: proxy.address,
    token: async () => {
      asked += 1;
      return edge.token(household, "tv");
    },
  });
  /** @type {string[]} */
  const errors = [];
  tv.on("error", ({ code }) => errors.push(code));
  await tv.watchlist.add("film");
  await eventually(tv, "refused", () => tv.status().closeReason === "unauthorized");
  const before = asked;
  await assert.rejects(tv.syncNow(), { code: "sync_failed" });
  assert.ok(asked > before, "a new one");
  assert.equal(tv.status().closeReason, "unauthorized");
  for (const says of NOBODY) {
    proxy.says = says;
    await assert.rejects(tv.syncNow(), { code: "sync_failed" });
    assert.deepEqual([tv.status().closeReason, tv.pending], ["", 1], JSON.stringify(says));
  }
  proxy.says = undefined;
  await tv.syncNow();
  assert.deepEqual([tv.status().state, tv.pending, errors.length], ["polling", 0, 0]);
  const other = await openTv(context, edge, household, "other");
  await eventually(other, "nothing is lost", () => titles(other).join() === "film");
});

test("behind a captive portal at the first address the next one is used", async (context) => {
  const { edge, proxy, household } = await behindProxy(context);
  for (const says of [{ status: 403 }, PAGE]) {
    proxy.says = says;
    const urls = [proxy.address, edge.address];
    const tv = await openTv(context, edge, household, "tv", { urls });
    await tv.watchlist.add("film");
    await tv.syncNow();
    assert.deepEqual([tv.status().state, tv.status().closeReason], ["live", ""]);
    await tv.close();
  }
  assert.ok(proxy.seen.includes("POST /api/v1/sync"));
});

test("a request that gets no answer is called off by the next one, and by close", async (context) => {
  const deaf = await deafAddress(context);
  const tv = await open({
    ...{ url: deaf.address, device: "tv", token: async () => "unread", storage: "memory" },
    ...{ WebSocket: SocketClass, poll: { everySeconds: 600 } },
  });
  context.after(() => tv.close());
  for (let asked = 1; asked <= 8; asked += 1) {
    await until(`request ${asked} leaves`, () => deaf.requests === asked);
    await until("those before it are gone", () => deaf.waiting.size === 1);
    if (asked < 8) tv.syncNow().catch(() => undefined);
  }
  await tv.close();
  await until("the last one is gone", () => deaf.waiting.size === 0);
});

test("a request about taste that gets no answer is called off by close", async (context) => {
  const { edge, household } = await behindProxy(context);
  const deaf = await deafAddress(context);
  const token = edge.token(household, "tv");
  const tv = await openWithTaste({
    ...{ url: edge.address, device: "tv", token: async () => token, storage: "memory" },
    ...{ WebSocket: SocketClass, taste: { tables: `${deaf.address}/tables` } },
  });
  context.after(() => tv.close());
  await eventually(tv, "live", () => tv.status().state === "live");
  tv.taste.sync().catch(() => undefined);
  await until("the tables are asked for", () => deaf.requests === 1);
  await tv.close();
  await until("the request is gone", () => deaf.waiting.size === 0);
});

test("an empty answer is none: the next address is asked, and syncNow ends", async (context) => {
  const { edge, household } = await behindProxy(context);
  const empty = await answering(context, 200);
  const poll = { everySeconds: 600 };
  const alone = await openTv(context, edge, household, "alone", { url: empty.address, poll });
  await assert.rejects(alone.syncNow(), { code: "sync_failed" });
  const urls = [empty.address, edge.address];
  const tv = await openTv(context, edge, household, "tv", { urls, poll });
  await tv.watchlist.add("film");
  await tv.syncNow();
  assert.equal(tv.pending, 0);
  assert.ok(empty.requests >= 2);
});
