// A TV that is left on for a month does not grow: the real package and the server's own decisions,
// in time that passes as fast as the work in it is done.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { before, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { MemoryStorage, OmegaError, open } from "omega-sync";
import { ROOT } from "../../scripts/paths.mjs";
import { loadRoomEnd } from "../bench/trace/network.mjs";
import { nextMemory } from "./engine.mjs";
import { FakeTime } from "./fake-time.mjs";
import { House } from "./house.mjs";

/** @typedef {import("omega-sync").Client} Client */

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const T0 = 1_767_225_600_000;
const DAYS = 30;
const HOST = "sync.example";
/** The last days, and as many before them, are compared: all was at its usual size by then. */
const COMPARED_DAYS = 8;
/** Titles that are ever touched. */
const TITLES = 40;
const WRITE_EVERY_MS = 20 * SECOND_MS;
/** All are touched in less than a day. */
const WRITES_OF_A_TITLE = 25;
/** Token expired or refused. */
const UNAUTHORIZED = 4010;
/**
 * The means of JavaScript's heap may differ by this: the engine of Node goes on noting what types
 * it has met. In between are some 1,400 connections and 13,000 writes.
 */
const HEAP_BYTES_MAX = 96 * 1024;
/** The same of buffers: a frame that waits to be collected or not. */
const BUFFER_BYTES_MAX = 1_024;
/** The same of the stored image: numbers are longer and shorter. It has 600 bytes. */
const IMAGE_BYTES_MAX = 64;
/** The log that the engine keeps beside an image, see `LOG_BYTES_MIN` in the core. */
const LOG_BYTES = 32 * 1024;
/** Watching for wake-ups, and the engine's own. */
const TIMERS = 2;

// Code that is compiled, thrown away and compiled again is no part of what is measured.
for (const flag of ["--expose-gc", "--no-flush-bytecode"]) setFlagsFromString(flag);
const collect = /** @type {() => void} */ (runInNewContext("gc"));

/** Storage that counts what it holds, and fails when it is told to. */
class CountingStorage extends MemoryStorage {
  fails = false;
  #records = 0;
  #bytes = 0;
  #peak = { records: 0, recordBytes: 0, imageBytes: 0 };

  /** @override @param {import("omega-sync").StorageChange} change */
  async commit(change) {
    if (this.fails) throw new OmegaError("storage_failed", "the disk is busy");
    await super.commit(change);
    const { replace, append } = change;
    if (replace !== undefined) {
      this.#records = 1;
      this.#bytes = replace.length;
      this.#peak.imageBytes = Math.max(this.#peak.imageBytes, replace.length);
    }
    this.#records += append.length;
    for (const record of append) this.#bytes += record.length;
    this.#peak.records = Math.max(this.#peak.records, this.#records);
    this.#peak.recordBytes = Math.max(this.#peak.recordBytes, this.#bytes);
  }

  /** The most that there was since this was asked last. */
  takePeak() {
    const peak = this.#peak;
    this.#peak = { records: 0, recordBytes: 0, imageBytes: 0 };
    return peak;
  }
}

/** `document` or `window`, as far as the package looks at it, and how many listeners it has. */
class CountingTarget extends EventTarget {
  hidden = false;
  listeners = 0;

  /** @override @param {Parameters<EventTarget["addEventListener"]>} words */
  addEventListener(...words) {
    this.listeners += 1;
    super.addEventListener(...words);
  }

  /** @override @param {Parameters<EventTarget["removeEventListener"]>} words */
  removeEventListener(...words) {
    this.listeners -= 1;
    super.removeEventListener(...words);
  }
}

/** @type {import("../bench/trace/network.mjs").RoomEndClass} */
let RoomEnd;
before(async () => {
  execFileSync(process.execPath, [join(ROOT, "scripts", "room.mjs")], { stdio: "ignore" });
  RoomEnd = await loadRoomEnd();
});

/** One household: a TV that stays on, and a phone that comes and goes. */
class Month {
  time = new FakeTime(T0);
  storage = new CountingStorage();
  /** What happened that should not have. @type {unknown[]} */
  wrong = [];
  document = new CountingTarget();
  window = new CountingTarget();
  house = new House(new RoomEnd("home-soak"), this.time);
  tokens = 0;
  #writes = 0;
  #phoneStorage = new MemoryStorage();

  begin() {
    this.time.take();
    this.time.replace(globalThis, "document", this.document);
    this.time.replace(globalThis, "window", this.window);
    this.time.replace(globalThis, "fetch", this.house.fetch.bind(this.house));
  }

  /** @param {string} device @param {MemoryStorage} storage @returns {Promise<Client>} */
  async open(device, storage) {
    const client = await open({
      url: `https://${HOST}`,
      device,
      token: async () => {
        this.tokens += 1;
        return `token-of-${device}-${this.tokens}`;
      },
      storage,
      WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
        /** @type {unknown} */ (this.house.socketClass())
      ),
    });
    client.on("rejected", (rejected) => this.wrong.push(rejected));
    client.on("error", ({ code }) => {
      if (code !== "storage_failed") this.wrong.push(code);
    });
    // A home screen, which is drawn anew.
    client.on("change", () => {
      client.watchlist.items();
      client.progress.inProgress();
    });
    await client.devices.describe({ name: device, deviceType: "tv" });
    return client;
  }

  /**
   * One title after the other is watched, and put on the list or off it.
   * @param {Client} client @param {number} minutes
   */
  async watch(client, minutes) {
    for (let left_ms = minutes * MINUTE_MS; left_ms > 0; left_ms -= WRITE_EVERY_MS) {
      this.#writes += 1;
      const title = Math.floor(this.#writes / WRITES_OF_A_TITLE);
      const content = `tmdb:${title % TITLES}`;
      const positionSeconds = 10 * (this.#writes % WRITES_OF_A_TITLE);
      this.expectDurable(client.progress.set(content, { positionSeconds, durationSeconds: 8_160 }));
      if (positionSeconds === 0) {
        const listed = Math.floor(title / TITLES) % 2 === 0;
        const { watchlist } = client;
        this.expectDurable(listed ? watchlist.add(content) : watchlist.remove(content));
      }
      await this.time.pass(WRITE_EVERY_MS);
    }
  }

  /** @param {Promise<void>} write */
  expectDurable(write) {
    write.catch((error) => {
      if (error.code !== "storage_failed") this.wrong.push(error);
    });
  }

  /** @param {Client} tv */
  async day(tv) {
    const { time, house, document, window } = this;
    // 0:00, the socket is dropped every minute, sometimes with nobody there until the next one.
    for (let drops = 0; drops < 180; drops += 1) {
      house.drop();
      house.there = drops % 30 !== 28;
      await time.pass(MINUTE_MS);
    }
    // 3:00, standby.
    house.fallSilent();
    time.sleep(5 * HOUR_MS);
    await time.pass(HOUR_MS);
    // 9:00, a proxy that breaks sockets: everything goes by requests, then by a socket again.
    house.upgrades = false;
    house.drop();
    await this.watch(tv, 60);
    // For a while nothing is answered.
    house.deaf.add(HOST);
    await this.watch(tv, 5);
    house.deaf.delete(HOST);
    await this.watch(tv, 5);
    house.upgrades = true;
    // 10:00, tokens expire.
    for (let hour = 0; hour < 3; hour += 1) {
      house.drop(UNAUTHORIZED);
      await time.pass(HOUR_MS);
    }
    // 13:00, the page goes away and comes back, with something that waits.
    for (let times = 0; times < 6; times += 1) {
      this.expectDurable(tv.watchlist.add(`tmdb:${times}`));
      document.hidden = true;
      document.dispatchEvent(new Event("visibilitychange"));
      window.dispatchEvent(new Event("pagehide"));
      await time.pass(9 * MINUTE_MS);
      document.hidden = false;
      document.dispatchEvent(new Event("visibilitychange"));
      if (times % 2 === 0) window.dispatchEvent(new Event("online"));
      await time.pass(MINUTE_MS);
    }
    // 14:00, the disk is busy for a while.
    this.storage.fails = true;
    await this.watch(tv, 5);
    this.storage.fails = false;
    await this.watch(tv, 115);
    // 16:00, the phone is opened, used and closed, twice.
    for (let times = 0; times < 2; times += 1) {
      const phone = await this.open("phone", this.#phoneStorage);
      await this.watch(phone, 120);
      await phone.close();
    }
    // 20:00
    await this.watch(tv, 120);
    await tv.syncNow();
    await time.pass(2 * HOUR_MS);
  }

  /**
   * What there is at the end of a day, when all is exchanged.
   * @param {Client} tv @param {WebAssembly.Memory} memory
   */
  async sample(tv, memory) {
    assert.deepEqual(this.wrong, []);
    assert.deepEqual([tv.status().state, tv.pending], ["live", 0]);
    for (let times = 0; times < 4; times += 1) {
      await this.time.pass(0);
      collect();
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return {
      heap: heapUsed,
      buffers: arrayBuffers,
      wasm: memory.buffer.byteLength,
      timers: this.time.timers,
      listeners: this.document.listeners + this.window.listeners,
      sockets: this.house.sockets,
      underWay: this.house.underWay,
      ...this.storage.takePeak(),
    };
  }
}

test("a TV that is left on for a month does not grow", async (context) => {
  const started = nextMemory();
  const month = new Month();
  month.begin();
  context.after(() => month.time.release());
  const tv = await month.open("tv", month.storage);
  const memory = await started;
  const samples = [];
  for (let day = 0; day < DAYS; day += 1) {
    await month.day(tv);
    samples.push(await month.sample(tv, memory));
  }
  const { opened, requests } = month.house;
  context.diagnostic(`${opened} sockets, ${requests} requests, ${month.tokens} tokens`);
  for (const sample of samples) context.diagnostic(JSON.stringify(sample));

  const late = samples.slice(-COMPARED_DAYS);
  const early = samples.slice(-2 * COMPARED_DAYS, -COMPARED_DAYS);
  const [first] = early;
  assert.ok(first);
  for (const { recordBytes, imageBytes, ...sample } of [...early, ...late]) {
    const { wasm, timers, listeners, sockets, underWay } = sample;
    assert.deepEqual(
      { wasm, timers, listeners, sockets, underWay },
      { wasm: first.wasm, timers: TIMERS, listeners: first.listeners, sockets: 1, underWay: 0 },
    );
    assert.ok(recordBytes <= LOG_BYTES + imageBytes, `${recordBytes} bytes are stored`);
  }
  const grows = (/** @type {"buffers" | "imageBytes" | "heap"} */ what) =>
    mean(late.map((sample) => sample[what])) - mean(early.map((sample) => sample[what]));
  assert.ok(grows("buffers") <= BUFFER_BYTES_MAX, `${grows("buffers")} more bytes in buffers`);
  assert.ok(grows("imageBytes") <= IMAGE_BYTES_MAX, `${grows("imageBytes")} more in an image`);
  const grown = grows("heap");
  context.diagnostic(`the heap grew by ${Math.round(grown)} bytes between the compared days`);
  assert.ok(grown <= HEAP_BYTES_MAX, `the heap grew by ${Math.round(grown)} bytes`);
  await tv.close();
  const { sockets, underWay } = month.house;
  assert.deepEqual([month.time.timers, sockets, underWay], [0, 0, 0]);
  assert.equal(month.document.listeners + month.window.listeners, 0);
});

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
