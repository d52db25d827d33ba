// Which of its addresses a client uses, and how long it waits for those that are deaf: in time that
// passes as fast as the work in it is done, on the core's own room.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { before, test } from "node:test";
import { MemoryStorage, open } from "omega-sync";
import { ROOT } from "../../scripts/paths.mjs";
import { loadRoomEnd } from "../bench/trace/network.mjs";
import { FakeTime } from "./fake-time.mjs";
import { House } from "./house.mjs";

const MINUTE_MS = 60_000;
const T0 = 1_767_225_600_000;
const FIRST = "first.example";
const SECOND = "second.example";
/** Four attempts of 15 seconds, and the pauses between them. */
const ATTEMPTS_MS = 3 * MINUTE_MS;
/** How often, and how many times, is looked whether a question is under way, which it is for 30 seconds. */
const LOOK_MS = 15_000;
const LOOKS_MAX = 40;
/** TVs that one event strikes at once. */
const FLEET = 20;
/** `SOCKET_RETRY_MS` and `FIRST_URL_RETRY_MS` of `transport.ts`: up to a quarter less. */
const RETRY_MS = 5 * MINUTE_MS;
/** Between two requests of an engine that gets no socket, at most. */
const REST_MS = 30_000;

/** @type {import("../bench/trace/network.mjs").RoomEndClass} */
let RoomEnd;
before(async () => {
  execFileSync(process.execPath, [join(ROOT, "scripts", "room.mjs")], { stdio: "ignore" });
  RoomEnd = await loadRoomEnd();
});

/**
 * A house with two addresses, and a TV that knows both.
 * @param {import("node:test").TestContext} context
 * @param {(house: House) => void} prepare
 * @param {Partial<import("omega-sync").OpenOptions>} [options]
 */
async function home(context, prepare, options) {
  const time = new FakeTime(T0);
  time.take();
  context.after(() => time.release());
  const house = new House(new RoomEnd("home-addresses"), time);
  time.replace(globalThis, "fetch", house.fetch.bind(house));
  prepare(house);
  const tv = await open({
    urls: [`https://${FIRST}`, `https://${SECOND}`],
    device: "tv",
    token: async () => "token",
    storage: new MemoryStorage(),
    WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
      /** @type {unknown} */ (house.socketClass())
    ),
    ...options,
  });
  context.after(() => tv.close());
  return { time, house, tv };
}

/** @param {Promise<unknown>} promise @returns {{how: string}} filled in when it has ended */
function outcome(promise) {
  const ended = { how: "" };
  promise.then(
    () => {
      ended.how = "resolved";
    },
    ({ code }) => {
      ended.how = code;
    },
  );
  return ended;
}

for (const poll of [undefined, { everySeconds: 600 }]) {
  const by = poll === undefined ? "socket" : "request";

  test(`an address that is deaf is left for the next one, by ${by}`, async (context) => {
    const { time, house, tv } = await home(context, (house) => house.deaf.add(FIRST), { poll });
    await tv.watchlist.add("film");
    await time.pass(ATTEMPTS_MS);
    assert.equal(tv.pending, 0);
    assert.equal(tv.status().state, poll === undefined ? "live" : "polling");
    assert.equal(house.underWay, 0);
  });

  test(`syncNow asks at every address before it says that nobody is there, by ${by}`, async (context) => {
    const { time, house, tv } = await home(context, (house) => house.gone.add(FIRST), { poll });
    const first = outcome(tv.syncNow());
    await time.pass(ATTEMPTS_MS);
    assert.equal(first.how, "resolved");
    house.gone.add(SECOND);
    house.drop();
    await time.pass(ATTEMPTS_MS);
    const second = outcome(tv.syncNow());
    await time.pass(ATTEMPTS_MS);
    assert.equal(second.how, "sync_failed");
    house.gone.delete(FIRST);
    const third = outcome(tv.syncNow());
    await time.pass(ATTEMPTS_MS);
    assert.equal(third.how, "resolved");
  });
}

test("the first address is asked for until close, and a question ends", async (context) => {
  const { time, house, tv } = await home(context, (house) => house.gone.add(FIRST));
  await time.pass(ATTEMPTS_MS);
  assert.equal(tv.status().state, "live");
  assert.equal(house.questions, 0);
  await time.pass(10 * MINUTE_MS);
  assert.ok(house.questions > 0, "it was asked for");
  house.gone.delete(FIRST);
  house.deaf.add(FIRST);
  for (let looks = 0; house.underWay === 0; looks += 1) {
    assert.ok(looks < LOOKS_MAX, "it is asked for again");
    await time.pass(LOOK_MS);
  }
  await time.pass(MINUTE_MS);
  assert.equal(house.underWay, 0, "a question without an answer is called off");
  for (let looks = 0; house.underWay === 0; looks += 1) {
    assert.ok(looks < LOOKS_MAX, "it is asked for again");
    await time.pass(LOOK_MS);
  }
  tv.pause();
  await time.pass(0);
  assert.equal(house.underWay, 0, "nor does a paused client wait for an answer");
  const before = house.questions;
  await time.pass(60 * MINUTE_MS);
  assert.equal(house.questions, before, "or ask");
  tv.resume();
  for (let looks = 0; house.underWay === 0; looks += 1) {
    assert.ok(looks < LOOKS_MAX, "it is asked for again");
    await time.pass(LOOK_MS);
  }
  await tv.close();
  await time.pass(0);
  assert.equal(house.underWay, 0);
  const asked = house.questions;
  house.deaf.delete(FIRST);
  await time.pass(60 * MINUTE_MS);
  assert.equal(house.questions, asked, "nobody asks any more");
  assert.equal(time.timers, 0);
});

/**
 * TVs of one house, which have all begun at the same time.
 * @param {import("node:test").TestContext} context
 * @param {(house: House) => void} prepare
 */
async function fleet(context, prepare) {
  const time = new FakeTime(T0);
  time.take();
  context.after(() => time.release());
  const house = new House(new RoomEnd("home-fleet"), time);
  prepare(house);
  /** When the first address was asked whether it is there. @type {number[]} */
  const questions = [];
  time.replace(globalThis, "fetch", (/** @type {string} */ url, /** @type {any} */ said) => {
    if (said?.body === undefined) questions.push(time.now_ms);
    return house.fetch(url, said);
  });
  const tvs = Array.from({ length: FLEET }, async (_, number) => {
    /** When it opened a socket. @type {number[]} */
    const sockets = [];
    const Socket = house.socketClass();
    const tv = await open({
      urls: [`https://${FIRST}`, `https://${SECOND}`],
      device: `tv-${number}`,
      token: async () => "token",
      storage: new MemoryStorage(),
      WebSocket: /** @type {any} */ (
        class extends Socket {
          /** @param {string} url */
          constructor(url) {
            super(url);
            sockets.push(time.now_ms);
          }
        }
      ),
    });
    context.after(() => tv.close());
    return { tv, sockets, settled_ms: 0 };
  });
  const opened = await Promise.all(tvs);
  for (const each of opened) {
    each.tv.on("status", ({ state }) => {
      if (each.settled_ms === 0 && /live|polling/.test(state)) each.settled_ms = time.now_ms;
    });
  }
  await time.pass(ATTEMPTS_MS);
  const times = opened.map(({ settled_ms }) => settled_ms);
  assert.ok(Math.min(...times) > 0, "all are at work");
  return { time, house, tvs: opened, questions };
}

/** @param {number[]} times_ms */
function span(times_ms) {
  return Math.max(...times_ms) - Math.min(...times_ms);
}

test("a fleet asks for its first address at different times", async (context) => {
  const { time, tvs, questions } = await fleet(context, (house) => house.gone.add(FIRST));
  const settled = tvs.map(({ settled_ms }) => settled_ms);
  await time.pass(Math.max(...settled) + RETRY_MS - time.now_ms);
  assert.equal(questions.length, FLEET);
  assert.ok(Math.min(...questions) >= Math.min(...settled) + (3 / 4) * RETRY_MS);
  assert.ok(span(questions) > span(settled) + RETRY_MS / 10, `${span(questions)} ms`);
});

test("a fleet behind a proxy that breaks sockets tries them again at different times", async (context) => {
  const { time, tvs } = await fleet(context, (house) => {
    house.upgrades = false;
  });
  await time.pass(RETRY_MS + REST_MS);
  const waits = tvs.map(({ sockets, settled_ms }) => {
    const again = sockets.find((at_ms) => at_ms > settled_ms) ?? Number.POSITIVE_INFINITY;
    return again - settled_ms;
  });
  assert.ok(Math.min(...waits) >= (3 / 4) * RETRY_MS, `${Math.min(...waits)} ms`);
  assert.ok(Math.max(...waits) <= RETRY_MS + REST_MS, `${Math.max(...waits)} ms`);
  assert.ok(span(waits) > REST_MS, `${span(waits)} ms: no more than the engine's own`);
});
