// What the driver makes of a platform and an app that do what they should not: it tells, and goes on.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage, OmegaError } from "omega-sync";
import WebSocket from "ws";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @typedef {import("node:test").TestContext} TestContext */
/** @typedef {import("omega-sync").WebSocketConstructor} WebSocketConstructor */

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** What a TV says of errors from now on. @param {import("omega-sync").Client} tv */
function errorsOf(tv) {
  /** @type {OmegaError[]} */
  const errors = [];
  tv.on("error", (error) => errors.push(error));
  return errors;
}

/** Sockets for `open`. @param {unknown} socket their class */
const sockets = (socket) => /** @type {WebSocketConstructor} */ (socket);

/** Sockets whose next `count` frames the platform refuses to send. */
function refusing(/** @type {number} */ count) {
  let left = count;
  return sockets(
    class extends WebSocket {
      /** @override @param {Uint8Array} frame */
      send(frame) {
        left -= 1;
        if (left >= 0) throw new Error("InvalidStateError");
        super.send(frame);
      }
    },
  );
}

/** A page, as far as the package looks at one, which hides and comes back. @param {TestContext} context */
function pageOf(context) {
  const page = Object.assign(new EventTarget(), { hidden: false });
  Object.assign(globalThis, { document: page });
  context.after(() => Reflect.deleteProperty(globalThis, "document"));
  return (/** @type {boolean} */ hidden) => {
    page.hidden = hidden;
    page.dispatchEvent(new Event("visibilitychange"));
  };
}

/**
 * What leaves by requests from now on, and how; it still leaves.
 * @param {TestContext} context
 */
function watchRequests(context) {
  const { fetch } = globalThis;
  /** @type {{outlives: boolean, authorized: boolean}[]} */
  const seen = [];
  globalThis.fetch = (input, init = {}) => {
    const { headers = {}, keepalive = false } = init;
    seen.push({ outlives: keepalive, authorized: "Authorization" in headers });
    return fetch(input, init);
  };
  context.after(() => {
    globalThis.fetch = fetch;
  });
  return seen;
}

/** A storage whose commits wait while it is held up. */
class HeldStorage extends MemoryStorage {
  /** @type {Promise<void>} */
  gate = Promise.resolve();
  commits = 0;

  /** @override @param {import("omega-sync").StorageChange} change */
  async commit(change) {
    this.commits += 1;
    await this.gate;
    await super.commit(change);
  }

  /** @returns {() => void} lets them go */
  hold() {
    let go = () => {};
    this.gate = new Promise((resolve) => {
      go = resolve;
    });
    return go;
  }
}

test("a socket that refuses to send is one that was lost: told, and the next one does", async (context) => {
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv", { WebSocket: refusing(1) });
  const errors = errorsOf(tv);
  await tv.watchlist.add("film");
  await tv.flushed();
  assert.deepEqual(
    errors.map(({ code, cause }) => [code, String(cause)]),
    [["sync_failed", "Error: InvalidStateError"]],
  );
});

test("sockets that never send: everything goes by requests", async (context) => {
  const always = refusing(Number.POSITIVE_INFINITY);
  const tv = await openTv(context, edge, newHousehold(), "tv", { WebSocket: always });
  await tv.watchlist.add("film");
  await tv.syncNow();
  assert.equal(tv.status().state, "polling");
  await tv.close();
});

test("a page that hides where nothing outlives it sends what waits all the same", async (context) => {
  const hide = pageOf(context);
  const household = newHousehold();
  const poll = { everySeconds: 600 };
  const tv = await openTv(context, edge, household, "tv", { poll });
  await tv.syncNow();
  const keepalive = Object.getOwnPropertyDescriptor(Request.prototype, "keepalive") ?? {};
  Reflect.deleteProperty(Request.prototype, "keepalive");
  const had = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
  context.after(() => {
    Object.defineProperty(Request.prototype, "keepalive", keepalive);
    if (had === undefined) Reflect.deleteProperty(globalThis, "navigator");
    else Object.defineProperty(globalThis, "navigator", had);
  });
  const seen = watchRequests(context);
  await tv.watchlist.add("film");
  hide(true);
  await tv.flushed();
  assert.equal(seen.length, 1);
  const other = await openTv(context, edge, household, "other");
  await eventually(other, "it arrives", () => titles(other).includes("film"));
});

test("the request that hides is the one that was made when the page hid", async (context) => {
  const hide = pageOf(context);
  const household = newHousehold();
  const storage = new HeldStorage();
  const poll = { everySeconds: 600 };
  const tv = await openTv(context, edge, household, "tv", { storage, poll });
  await tv.syncNow();
  const seen = watchRequests(context);
  await tv.watchlist.add("film");
  const { commits } = storage;
  const go = storage.hold();
  const synced = tv.syncNow();
  await until("a request is being stored", () => storage.commits > commits);
  hide(true);
  go();
  await synced;
  await until("both have left", () => seen.length >= 2);
  assert.deepEqual(seen.slice(0, 2), [
    { outlives: false, authorized: true },
    { outlives: true, authorized: false },
  ]);
});

test("nothing leaves after close, but for what a page that hides has to say", async (context) => {
  for (const hides of [false, true]) {
    const hide = pageOf(context);
    const storage = new HeldStorage();
    const poll = { everySeconds: 600 };
    const tv = await openTv(context, edge, newHousehold(), "tv", { storage, poll });
    await tv.syncNow();
    const seen = watchRequests(context);
    await tv.watchlist.add("film");
    const { commits } = storage;
    const go = storage.hold();
    tv.syncNow().catch(() => undefined);
    await until("a request is being stored", () => storage.commits > commits);
    if (hides) hide(true);
    const closed = tv.close();
    go();
    await closed;
    assert.deepEqual(seen, hides ? [{ outlives: true, authorized: false }] : []);
  }
});

/** A socket that finds nobody. @param {() => void} told when the client has heard of it */
function deadSockets(told) {
  return sockets(
    class {
      readyState = 0;
      /** @type {((event: {code: number}) => void) | null} */
      onclose = null;

      constructor() {
        setTimeout(() => {
          this.onclose?.({ code: 1006 });
          told();
        }, 1);
      }

      send() {}
      close() {}
    },
  );
}

test("syncNow ends when the app pauses between two tries", async (context) => {
  let paused = false;
  const tv = await openTv(context, edge, newHousehold(), "tv", {
    url: "http://127.0.0.1:1",
    token: async () => "unread",
    WebSocket: deadSockets(() => {
      if (paused) tv.pause();
    }),
  });
  paused = true;
  await assert.rejects(tv.syncNow(), { code: "sync_failed", message: /paused/ });
  assert.equal(tv.status().state, "offline");
});

for (const [way, options] of /** @type {const} */ ([
  ["socket", {}],
  ["request", { poll: { everySeconds: 600 } }],
])) {
  test(`by ${way}: syncNow ends when the app gives no token`, async (context) => {
    const tv = await openTv(context, edge, newHousehold(), "tv", {
      ...options,
      token: () => Promise.reject(new Error("no session")),
    });
    await assert.rejects(tv.syncNow(), { code: "sync_failed" });
  });
}

test("a command while nothing can be stored ends as one that was made offline", async (context) => {
  const storage = new MemoryStorage();
  const tv = await openTv(context, edge, newHousehold(), "tv", { storage });
  await tv.syncNow();
  storage.commit = () => Promise.reject(new OmegaError("storage_full", "full"));
  await assert.rejects(tv.watchlist.add("film"), { code: "storage_full" });
  assert.equal(await tv.devices.send("other", { type: "pause" }), "expired");
});

/** Sockets that are kept in a list. */
function listed() {
  /** @type {WebSocket[]} */
  const all = [];
  const kept = sockets(
    class extends WebSocket {
      /** @param {string} url @param {string[]} protocols */
      constructor(url, protocols) {
        super(url, protocols);
        all.push(this);
      }
    },
  );
  return { all, kept };
}

/** A storage that is held up, and then full. */
class FullStorage extends HeldStorage {
  isFull = false;

  /** @override @param {import("omega-sync").StorageChange} change */
  async commit(change) {
    await this.gate;
    if (this.isFull) throw new OmegaError("storage_full", "full");
    await super.commit(change);
  }
}

test("while nothing can be stored there is no socket, whatever else was to be done", async (context) => {
  const { all, kept } = listed();
  const storage = new FullStorage();
  const tv = await openTv(context, edge, newHousehold(), "tv", { storage, WebSocket: kept });
  const isLive = () => tv.status().state === "live";
  const refused = (/** @type {Promise<void>} */ write) =>
    assert.rejects(write, { code: "storage_full" });
  await eventually(tv, "live", isLive);
  storage.isFull = true;
  const withPause = refused(tv.watchlist.add("one"));
  tv.pause();
  await withPause;
  await until("its socket is closed", () => all.at(-1)?.readyState === WebSocket.CLOSED);
  storage.isFull = false;
  tv.resume();
  await eventually(tv, "live again", isLive);
  const go = storage.hold();
  storage.isFull = true;
  const first = refused(tv.watchlist.add("two"));
  await until("it is being stored", () => tv.pending > 0);
  const second = refused(tv.watchlist.add("three"));
  go();
  await Promise.all([first, second]);
  await until("its socket is closed", () => all.at(-1)?.readyState === WebSocket.CLOSED);
});

test("who calls close twice waits twice for what is being stored", async (context) => {
  const storage = new HeldStorage();
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv", { storage });
  const other = await openTv(context, edge, household, "other");
  await tv.syncNow();
  const [before, go] = [storage.commits, storage.hold()];
  await other.watchlist.add("film");
  await until("it is being stored", () => storage.commits > before);
  let closed = 0;
  const closes = [tv.close(), tv.close()].map((close) =>
    close.then(() => {
      closed += 1;
    }),
  );
  // Time enough for one that does not wait.
  await other.syncNow();
  assert.equal(closed, 0);
  go();
  await Promise.all(closes);
});

test("a clock that is set before the welcome costs a socket, and no five minutes of requests", async (context) => {
  const { now } = Date;
  context.after(() => {
    Date.now = now;
  });
  let opened = 0;
  const steps = sockets(
    class extends WebSocket {
      /** @override */
      emit(/** @type {string} */ event, /** @type {unknown[]} */ ...values) {
        if (event === "open") opened += 1;
        if (event === "message" && opened === 1) Date.now = () => now() + 3_000;
        return super.emit(event, ...values);
      }
    },
  );
  const tv = await openTv(context, edge, newHousehold(), "tv", { WebSocket: steps });
  await eventually(tv, "live", () => tv.status().state !== "connecting" && opened === 2);
  await tv.syncNow();
  assert.equal(tv.status().state, "live");
  await tv.close();
});
