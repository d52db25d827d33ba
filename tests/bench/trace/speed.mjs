// How fast the exported replica class is, with its storage in memory. What the server says is
// recorded before, so that only the replica's own work is timed. Medians of several runs.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isOperation } from "./file.mjs";

import { roomOutputs } from "./outputs.mjs";
import { Household, Peer, seedOf } from "./peer.mjs";

/** @typedef {import("./peer.mjs").Engine} Engine */
/** @typedef {import("./file.mjs").Operation} Operation */

/** Operations of a long trace that are timed, from its start. */
const OPERATIONS_MAX = 20_000;
const WARM_UP_RUNS = 3;
const RUNS = 7;
/** For what takes well below a millisecond. */
const SHORT_RUNS = 60;
/** Fresh WebAssembly instances, each with a first call. */
const INSTANCES = 15;
/** Below the number of deltas that may wait for their ack: every operation is sent at once. */
const ACK_EVERY = 4;
/** Peers are the devices of the trace and one that only listens. */
const LISTENER_SEED = 100;

const ENGINE = import.meta.resolve("omega-sync/engine");
const WASM = readFileSync(fileURLToPath(import.meta.resolve("omega-sync/wasm")));

/** @type {WebAssembly.Memory | undefined} of the engine that was started last */
let memory;

/**
 * @param {import("./file.mjs").Trace} trace
 * @param {import("./network.mjs").RoomEndClass} RoomEnd
 * @param {import("./replay.mjs").Replay} replay that has run
 * @param {import("./network.mjs").RoomEnd} room at the end of the replay
 */
export async function speeds(trace, RoomEnd, replay, room) {
  const all = trace.events.filter(isOperation);
  const operations = all.slice(0, OPERATIONS_MAX);
  const bench = new Bench(await freshEngine(), trace, RoomEnd, operations);
  console.error("timing local operations");
  const local = bench.local();
  console.error("timing remote operations");
  const remote_ops_s = bench.remote();
  console.error("timing bulk operations");
  const bulk = { ...bench.bulk(room, all.length), ...bench.bulkDelta() };
  console.error("timing loads");
  const stored = await replay.tvs[0]?.storage.load();
  return { ...local, remote_ops_s, ...bulk, ...(await bench.loads(stored ?? [])) };
}

class Bench {
  #engine;
  #start_ms;
  #end_ms;
  #devices;
  #RoomEnd;
  #operations;

  /**
   * @param {Engine} engine @param {import("./file.mjs").Trace} trace
   * @param {import("./network.mjs").RoomEndClass} RoomEnd @param {Operation[]} operations
   */
  constructor(engine, trace, RoomEnd, operations) {
    this.#engine = engine;
    this.#start_ms = trace.header.t0;
    this.#end_ms = trace.events.at(-1)?.t ?? trace.header.t0;
    this.#devices = trace.header.devices.length;
    this.#RoomEnd = RoomEnd;
    this.#operations = operations;
  }

  /** One replica makes every operation; each gives a record to store and a frame to send. */
  local() {
    const { operations, replies, frames: acks } = this.#record([0], 0);
    const once = () => {
      const peer = this.#greeted(0, replies);
      let calls_ms = 0;
      let acks_ms = 0;
      for (let at = 0; at < operations.length; at += ACK_EVERY) {
        const group = operations.slice(at, at + ACK_EVERY);
        const groupAcks = acks.slice(at, at + ACK_EVERY);
        const begin = performance.now();
        for (const operation of group) peer.operate(operation);
        const called = performance.now();
        for (const [nth, ack] of groupAcks.entries()) peer.receive(ack, group[nth]?.t ?? 0);
        acks_ms += performance.now() - called;
        calls_ms += called - begin;
      }
      const sent = peer.takeFrames().length;
      if (sent !== acks.length) throw new Error(`${sent} frames, not ${acks.length}`);
      peer.free();
      return { calls_ms, both_ms: calls_ms + acks_ms };
    };
    for (let run = 0; run < WARM_UP_RUNS; run += 1) once();
    const runs = Array.from({ length: RUNS }, once);
    const perSecond = (/** @type {number[]} */ took_ms) =>
      Math.round((operations.length / exactMedian(took_ms)) * 1_000);
    return {
      local_ops_s: perSecond(runs.map(({ calls_ms }) => calls_ms)),
      local_acked_ops_s: perSecond(runs.map(({ both_ms }) => both_ms)),
    };
  }

  /** A replica takes the frames that it gets while the others use theirs, one operation each. */
  remote() {
    const authors = Array.from({ length: this.#devices }, (_, device) => device);
    const seeds = [...authors, LISTENER_SEED];
    const { operations, replies, frames } = this.#record(seeds, this.#devices);
    const once = () => {
      const peer = this.#greeted(LISTENER_SEED, replies);
      const begin = performance.now();
      for (const [at, frame] of frames.entries()) peer.receive(frame, operations[at]?.t ?? 0);
      const took_ms = performance.now() - begin;
      peer.free();
      return took_ms;
    };
    for (let run = 0; run < WARM_UP_RUNS; run += 1) once();
    const took_ms = exactMedian(Array.from({ length: RUNS }, once));
    return Math.round((operations.length / took_ms) * 1_000);
  }

  /**
   * Lets peers that are always online make the operations, each its device's own or, where there is
   * one peer, all of them; notes what one of them receives. An operation that changes nothing in
   * this order of things (a removal that another one forestalled) is left out.
   * @param {number[]} seeds of the peers @param {number} noted
   */
  #record(seeds, noted) {
    const household = new Household(new this.#RoomEnd("home"));
    for (const seed of seeds) {
      household.join(new Peer(this.#engine, this.#start_ms, seedOf(seed)), this.#start_ms);
    }
    const received = household.receivedBy(noted);
    const replies = received.slice();
    const operations = [];
    for (const operation of this.#operations) {
      const before = received.length;
      household.peers[seeds.length === 1 ? 0 : operation.d]?.operate(operation);
      household.carry(operation.t);
      if (received.length > before + 1) throw new Error("an operation came in two frames");
      if (received.length > before) operations.push(operation);
    }
    for (const peer of household.peers) peer.free();
    return { operations, replies, frames: received.slice(replies.length) };
  }

  /**
   * A device that has nothing takes the whole state in one catch-up.
   * @param {import("./network.mjs").RoomEnd} room @param {number} operations made so far
   */
  bulk(room, operations) {
    room.restart();
    const household = new Household(room);
    const newcomer = new Peer(this.#engine, this.#start_ms, seedOf(LISTENER_SEED));
    household.join(newcomer, this.#end_ms);
    newcomer.free();
    const [welcome, ...state] = household.receivedBy(0);
    if (welcome === undefined || state.length === 0) throw new Error("no catch-up");
    const once = () => {
      const peer = new Peer(this.#engine, this.#start_ms, seedOf(LISTENER_SEED));
      peer.connect(this.#end_ms);
      peer.receive(welcome, this.#end_ms);
      const begin = performance.now();
      for (const frame of state) peer.receive(frame, this.#end_ms);
      const took_ms = performance.now() - begin;
      if (!peer.isLive()) throw new Error("the catch-up is not complete");
      peer.free();
      return took_ms;
    };
    for (let run = 0; run < SHORT_RUNS; run += 1) once();
    const took_ms = /** @type {number} */ (exactMedian(Array.from({ length: SHORT_RUNS }, once)));
    return { bulk_ops_s: Math.round((operations / took_ms) * 1_000), bulk_ms: micro(took_ms) };
  }

  /** What a device made offline and its outbox kept is uploaded: time of the server's end. */
  bulkDelta() {
    let operations = 0;
    const once = () => {
      const room = new this.#RoomEnd("home");
      const author = new Peer(this.#engine, this.#start_ms, seedOf(0));
      for (const operation of this.#operations) author.operate(operation);
      operations = author.pending();
      author.connect(this.#end_ms);
      const took_ms = uploadTime(author, room, this.#end_ms);
      author.free();
      room.free();
      return took_ms;
    };
    for (let run = 0; run < WARM_UP_RUNS; run += 1) once();
    const took_ms = /** @type {number} */ (exactMedian(Array.from({ length: RUNS }, once)));
    const bulk_delta_ops_s = Math.round((operations / took_ms) * 1_000);
    return { bulk_delta_ops_s, bulk_delta_operations: operations };
  }

  /**
   * Fresh instances load what a device has stored and answer a first query.
   * @param {Uint8Array[]} stored an image and the records after it
   */
  async loads(stored) {
    const owner = new Peer(this.#engine, this.#start_ms, seedOf(0), stored);
    const image = owner.records.slice();
    owner.free();
    const from = (/** @type {Engine} */ engine, /** @type {Uint8Array[]} */ records) => {
      const begin = performance.now();
      const { replica } = engine.loadReplica(records, "", seedOf(0));
      const titles = engine.readRows(replica, "progressAll", [""]).length;
      const took_ms = performance.now() - begin;
      replica.free();
      if (titles === 0) throw new Error("nothing to show");
      return took_ms;
    };
    for (let run = 0; run < SHORT_RUNS; run += 1) from(this.#engine, image);
    const warm = Array.from({ length: SHORT_RUNS }, () => from(this.#engine, image));
    const first = [];
    const records = [];
    let wasm_memory_bytes = 0;
    for (let instance = 0; instance < INSTANCES; instance += 1) {
      first.push(from(await freshEngine(), image));
      wasm_memory_bytes = memory?.buffer.byteLength ?? 0;
      records.push(from(await freshEngine(), stored));
    }
    return {
      load_first_ms: micro(exactMedian(first)),
      load_warm_ms: micro(exactMedian(warm)),
      load_records_ms: micro(exactMedian(records)),
      image_bytes: image.reduce((sum, { length }) => sum + length, 0),
      records_bytes: stored.reduce((sum, { length }) => sum + length, 0),
      wasm_memory_bytes,
    };
  }

  /** A replica that has been greeted. @param {number} seed @param {Uint8Array[]} replies */
  #greeted(seed, replies) {
    const peer = new Peer(this.#engine, this.#start_ms, seedOf(seed));
    peer.connect(this.#start_ms);
    for (const reply of replies) peer.receive(reply, this.#start_ms);
    peer.takeFrames();
    if (!peer.isLive()) throw new Error("the recorded greeting does not fit");
    return peer;
  }
}

/**
 * Carries one peer's frames until it has none left.
 * @param {Peer} author @param {import("./network.mjs").RoomEnd} room @param {number} t
 * @returns {number} how long the room took for the frames after the hello, in milliseconds
 */
function uploadTime(author, room, t) {
  let took_ms = 0;
  let greeted = false;
  for (let frames = author.takeFrames(); frames.length > 0; frames = author.takeFrames()) {
    for (const frame of frames) {
      const begin = performance.now();
      const outputs = room.frame(0, frame, t);
      if (greeted) took_ms += performance.now() - begin;
      greeted = true;
      for (const { frame: down } of roomOutputs(outputs)) if (down) author.receive(down, t);
    }
  }
  if (author.pending() > 0) throw new Error("not everything was uploaded");
  return took_ms;
}

/** An instance of its own: a module is loaded once for each address. @returns {Promise<Engine>} */
async function freshEngine() {
  instances += 1;
  /** @type {Engine} */
  const engine = await import(`${ENGINE}?instance=${instances}`);
  const { instantiate } = WebAssembly;
  // The only way to the memory of an instance from outside: the package does not export it.
  WebAssembly.instantiate = /** @type {typeof instantiate} */ (
    async (
      /** @type {WebAssembly.Module} */ module,
      /** @type {WebAssembly.Imports} */ imports,
    ) => {
      const instance = await instantiate(module, imports);
      memory = /** @type {WebAssembly.Memory} */ (instance.exports.memory);
      return instance;
    }
  );
  try {
    await engine.startEngine(() => WASM);
  } finally {
    WebAssembly.instantiate = instantiate;
  }
  return engine;
}

let instances = 0;

/** @param {number[]} values at least one */
function exactMedian(values) {
  return values.slice().sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** To microseconds. @param {number} value_ms */
function micro(value_ms) {
  return Math.round(value_ms * 1_000) / 1_000;
}
