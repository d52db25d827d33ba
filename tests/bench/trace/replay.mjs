// Replays a trace through the npm package as an app uses it: one client for each device, and the
// server's end of their household, on a network that counts.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MemoryStorage, open } from "omega-sync";
import { loadReplica, readRows, startEngine } from "omega-sync/engine";
import { TraceClock } from "./clock.mjs";
import { playState } from "./file.mjs";
import { Meter, Network } from "./network.mjs";
import { description, viewOf } from "./view.mjs";

/** @typedef {import("omega-sync").Client} Client */
/** @typedef {import("./file.mjs").TraceEvent} TraceEvent */

/**
 * @typedef {object} Tv
 * @property {string} device
 * @property {Client} client
 * @property {MemoryStorage} storage
 * @property {Meter} meter
 */

/**
 * @typedef {object} Cost of one operation of an online device, at the sockets
 * @property {import("./file.mjs").Operation["k"] | "dev"} kind
 * @property {number} update up from its author
 * @property {number} ack down to its author
 * @property {number[]} relays down to each other device that is online
 */

/**
 * @typedef {object} CatchUp of a device that returns, in bytes; not what it made while away
 * @property {number} device
 * @property {number} away_ms
 * @property {number} hello
 * @property {number} answer
 */

/** Whose household it is, by the tokens. */
export const HOUSEHOLD = "home-7c9e6679";
const SECRET = "a secret for tokens that nobody checks";
const TOKEN_LIFE_S = 3_600;
const SEED_BYTES = 16;
/** Tells of an event whose work never ends. */
const TURNS_MAX = 1_000;
/** A device of the household that was never there before. */
const FRESH_DEVICE = "tv-kitchen";

/** The wasm file as the package exports it. */
export function wasmBytes() {
  return readFileSync(fileURLToPath(import.meta.resolve("omega-sync/wasm")));
}

/** A macrotask ends every chain of promises; taken before timers are. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

export class Replay {
  /** @type {Tv[]} */
  tvs = [];
  /** @type {Cost[]} */
  costs = [];
  /** @type {CatchUp[]} */
  catchUps = [];
  /** Bytes that a new device of the household exchanges at the end. */
  fresh = new Meter();
  operations = 0;
  deviceEvents = 0;
  /** What each device shows at the end, the fresh one last. @type {import("./view.mjs").View[]} */
  views = [];
  #trace;
  #room;
  #clock;
  #network;
  /** @type {Map<number, number>} device → since when it is offline */
  #offline = new Map();

  /** @param {import("./file.mjs").Trace} trace @param {import("./network.mjs").RoomEnd} room */
  constructor(trace, room) {
    this.#trace = trace;
    this.#room = room;
    this.#clock = new TraceClock(trace.header.t0, `trace ${trace.header.seed}`);
    this.#network = new Network(room, this.#clock);
  }

  /** @param {(done: number) => void} [progress] told from time to time */
  async run(progress) {
    await startEngine(wasmBytes);
    await this.#takeFirstSeed();
    this.#clock.take();
    try {
      await this.#openAll();
      let done = 0;
      for (const event of this.#trace.events) {
        await this.#event(event);
        done += 1;
        if (done % 10_000 === 0) progress?.(done);
      }
      await this.#finish();
    } finally {
      for (const { client } of this.tvs) await client.close();
      this.#clock.release();
    }
  }

  /** The sum of a meter over the devices of the trace. @param {"update" | "ack" | "relay"} kind */
  sum(kind) {
    return this.tvs.reduce((sum, { meter }) => sum + meter[kind], 0);
  }

  /** In Node the seed of the first client comes from a file: not one of the trace's gets it. */
  async #takeFirstSeed() {
    const device = "nobody";
    const socketClass = this.#network.socketClass(device, "");
    const client = await open({
      url: "https://sync.example",
      device,
      token: () => Promise.reject(new Error("never online")),
      storage: new MemoryStorage(),
      WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
        /** @type {unknown} */ (socketClass)
      ),
    });
    await client.close();
  }

  /**
   * Replica ids are random, and a tie of two stamps goes to the higher one. The oracle gives it to
   * the later device of the list: so the ids are drawn first and dealt out in their order.
   */
  async #openAll() {
    const { devices } = this.#trace.header;
    const seeds = devices.map(() => this.#clock.random(SEED_BYTES));
    const drawn = seeds.map((seed) => ({ seed, id: replicaId(seed) }));
    drawn.sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const [at, device] of devices.entries()) {
      const { seed, id } = /** @type {{seed: Uint8Array, id: string}} */ (drawn[at]);
      this.#clock.prepare(seed);
      const tv = await this.#open(device);
      this.tvs.push(tv);
      const replica = tv.client.status().replica;
      if (replica !== id) throw new Error(`replica ${replica} of ${device} is not the drawn ${id}`);
    }
  }

  /** @param {string} device @returns {Promise<Tv>} once it is up to date */
  async #open(device) {
    const token = sign(device, this.#clock.now_ms);
    const socketClass = this.#network.socketClass(device, token);
    const storage = new MemoryStorage();
    const client = await open({
      url: "https://sync.example",
      device,
      token: async () => token,
      storage,
      WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
        /** @type {unknown} */ (socketClass)
      ),
    });
    client.on("error", (error) => {
      this.#network.failure ??= error;
    });
    client.on("rejected", (rejected) => {
      this.#network.failure ??= new Error(`refused: ${JSON.stringify(rejected)}`);
    });
    const tv = { device, client, storage, meter: this.#network.meter(device) };
    await this.#settle([tv]);
    return tv;
  }

  /** @param {TraceEvent} event */
  async #event(event) {
    this.#clock.now_ms = event.t;
    if (event.k === "off") await this.#off(event.d);
    else if (event.k === "on") await this.#on(event.d);
    else await this.#operate(event);
  }

  /** @param {number} device */
  async #off(device) {
    if (this.#offline.has(device)) return;
    this.#offline.set(device, this.#clock.now_ms);
    this.#tv(device).client.pause();
    await this.#settle([]);
  }

  /** @param {number} device */
  async #on(device) {
    const since = this.#offline.get(device);
    if (since === undefined) return;
    this.#offline.delete(device);
    const tv = this.#tv(device);
    const before = tv.meter.copy();
    tv.client.resume();
    await this.#settle([tv]);
    const { hello, answer } = tv.meter.since(before);
    this.catchUps.push({ device, away_ms: this.#clock.now_ms - since, hello, answer });
  }

  /** @param {import("./file.mjs").Operation | import("./file.mjs").Describe} event */
  async #operate(event) {
    const author = this.#tv(event.d);
    const others = this.tvs.filter((_, at) => at !== event.d && !this.#offline.has(at));
    const before = author.meter.copy();
    const relayed = others.map(({ meter }) => meter.relay);
    const written = write(author.client, event);
    this.operations += 1;
    if (event.k === "dev") this.deviceEvents += 1;
    const online = !this.#offline.has(event.d);
    await this.#settle(online ? [author] : []);
    await written;
    if (!online) return;
    const { update, ack } = author.meter.since(before);
    const relays = others.map(({ meter }, at) => meter.relay - (relayed[at] ?? 0));
    this.costs.push({ kind: event.k, update, ack, relays });
  }

  /** Everything online once more, then a new device at a server that has only its store. */
  async #finish() {
    for (const device of [...this.#offline.keys()]) await this.#on(device);
    await this.#settle(this.tvs);
    this.views = this.tvs.map(({ client }) => viewOf(client));
    for (const { client } of this.tvs) client.pause();
    await this.#settle([]);
    this.#room.restart();
    const newcomer = await this.#open(FRESH_DEVICE);
    // Reading who is there asks the server for it.
    this.views.push(viewOf(newcomer.client));
    await newcomer.client.close();
    this.fresh = newcomer.meter.copy();
  }

  /**
   * Lets everything under way arrive.
   * @param {Tv[]} upToDate these must have nothing left to send
   */
  async #settle(upToDate) {
    const isDone = (/** @type {Tv} */ { client }) =>
      client.status().state === "live" && client.pending === 0;
    for (let turns = 0; turns < TURNS_MAX; turns += 1) {
      await turn();
      if (this.#network.failure) throw this.#network.failure;
      if (upToDate.every(isDone)) return;
    }
    const states = upToDate.map(({ device, client }) => [device, client.status()]);
    throw new Error(`not up to date at ${this.#clock.now_ms}: ${JSON.stringify(states)}`);
  }

  /** @param {number} at */
  #tv(at) {
    const tv = this.tvs[at];
    if (tv === undefined) throw new Error(`no device ${at}`);
    return tv;
  }
}

/**
 * @param {Client} client
 * @param {import("./file.mjs").Operation | import("./file.mjs").Describe} event
 */
function write(client, event) {
  if (event.k === "dev") return client.devices.describe(description(event));
  if (event.k === "add") return client.watchlist.add(event.c);
  if (event.k === "rem") return client.watchlist.remove(event.c);
  return client.progress.set(event.c, {
    positionSeconds: event.p ?? 0,
    durationSeconds: event.u ?? 0,
    state: playState(event.s ?? 0),
  });
}

/** @param {Uint8Array} seed @returns {string} 16 hex digits */
function replicaId(seed) {
  const { replica } = loadReplica([], "", new Uint32Array(seed.slice().buffer));
  const [[, , id] = []] = readRows(replica, "about", []);
  replica.free();
  return String(id);
}

/**
 * A token as `omega-edge token` issues it.
 * @param {string} device @param {number} now_ms
 */
function sign(device, now_ms) {
  const now_s = Math.floor(now_ms / 1_000);
  const claims = {
    ...{ iss: "omega-sync", aud: "omega-edge", sub: HOUSEHOLD, did: device },
    ...{ scope: "read write control", iat: now_s, nbf: now_s, exp: now_s + TOKEN_LIFE_S },
  };
  const parts = [{ typ: "JWT", alg: "HS256" }, claims];
  const signed = parts
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}
