// A network without delay or loss between clients of the npm package and the server's end of their
// household, and the meters at each client's socket.
//
// No frame is looked into. What one is follows from its place: the first of a connection upwards is
// its hello, what that connection gets for it is the answer (welcome and catch-up), what it gets
// for a later frame is the ack, and what the other connections get is a relay.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOM_END } from "../../../scripts/paths.mjs";
import { roomOutputs } from "./outputs.mjs";

const MODULE = "omega_sync_room_end";

/**
 * @typedef {object} RoomEnd what tests/room exports
 * @property {(connection: number, bytes: Uint8Array, unix_ms: number) => unknown[]} frame
 * @property {(connection: number, unix_ms: number) => unknown[]} closed
 * @property {() => void} restart
 * @property {() => void} free
 */

/**
 * @typedef {object} Requests what it takes beside a session's frames: a session in one request, frames
 * about taste, and of which device a connection will be
 * @property {(connection: number, bytes: Uint8Array, unix_ms: number) => unknown[]} exchange
 * @property {(connection: number, device: string, unix_ms: number) => unknown[]} join
 * @property {(frame: Uint8Array, tables: number, unix_ms: number) => Uint8Array} taste
 */

/** @typedef {new (household: string) => RoomEnd & Requests} RoomEndClass */

/** Needs scripts/room.mjs. @returns {Promise<RoomEndClass>} */
export async function loadRoomEnd() {
  const glue = await import(pathToFileURL(join(ROOM_END, `${MODULE}_bg.js`)).href);
  const bytes = readFileSync(join(ROOM_END, `${MODULE}_bg.wasm`));
  const { instance } = await WebAssembly.instantiate(bytes, { [`./${MODULE}_bg.js`]: glue });
  glue.__wbg_set_wasm(instance.exports);
  return glue.RoomEnd;
}

/** Bytes of WebSocket messages at one client's socket, ever since it exists. */
export class Meter {
  hello = 0;
  /** Of `hello`, the token, where the first frame carries one. */
  token = 0;
  answer = 0;
  update = 0;
  ack = 0;
  relay = 0;
  /** The frames of all answers, one length each. @type {number[]} */
  answers = [];

  /** @param {Meter} before */
  since(before) {
    const rest = new Meter();
    for (const kind of KINDS) rest[kind] = this[kind] - before[kind];
    return rest;
  }

  copy() {
    return Object.assign(new Meter(), this);
  }
}

const KINDS = /** @type {const} */ (["hello", "token", "answer", "update", "ack", "relay"]);

export class Network {
  /** @type {Map<string, Meter>} by device */
  meters = new Map();
  /** What went wrong where nobody could hear it. @type {Error | undefined} */
  failure;
  #room;
  #clock;
  /** @type {Map<number, VirtualSocket>} */
  #sockets = new Map();
  #connections = 0;

  /** @param {RoomEnd} room @param {import("./clock.mjs").TraceClock} clock */
  constructor(room, clock) {
    this.#room = room;
    this.#clock = clock;
  }

  /**
   * The WebSocket class of one device, for `open`.
   * @param {string} device @param {string} token
   */
  socketClass(device, token) {
    const network = this;
    this.meters.set(device, new Meter());
    return class extends VirtualSocket {
      constructor() {
        super(network, device, token);
      }
    };
  }

  /** @param {VirtualSocket} socket @returns {number} its connection */
  connect(socket) {
    this.#connections += 1;
    this.#sockets.set(this.#connections, socket);
    return this.#connections;
  }

  /** @param {VirtualSocket} socket */
  disconnect(socket) {
    if (!this.#sockets.delete(socket.connection)) return;
    this.guard(() => this.#room.closed(socket.connection, this.#clock.now_ms));
  }

  /** @param {VirtualSocket} socket @param {Uint8Array} frame */
  up(socket, frame) {
    if (this.#sockets.get(socket.connection) !== socket) return;
    const first = !socket.greeted;
    socket.greeted = true;
    const meter = this.meter(socket.device);
    meter[first ? "hello" : "update"] += frame.length;
    if (first) meter.token += socket.tokenBytesIn(frame);
    const done = this.#room.frame(socket.connection, frame, this.#clock.now_ms);
    for (const output of roomOutputs(done)) {
      const target = this.#sockets.get(output.connection);
      if (output.frame === undefined || target === undefined) {
        const whom = target?.device ?? "nobody";
        throw new Error(`the server closed the connection of ${whom}: code ${output.code}`);
      }
      const kind = target !== socket ? "relay" : first ? "answer" : "ack";
      const receiver = this.meter(target.device);
      receiver[kind] += output.frame.length;
      if (kind === "answer") receiver.answers.push(output.frame.length);
      target.deliver(output.frame);
    }
  }

  /** @param {string} device */
  meter(device) {
    const meter = this.meters.get(device);
    if (meter === undefined) throw new Error(`no meter for ${device}`);
    return meter;
  }

  /** Sockets have no caller to throw to: the first failure is kept for the replay to find. */
  guard(/** @type {() => void} */ work) {
    try {
      work();
    } catch (error) {
      this.failure ??= /** @type {Error} */ (error);
    }
  }
}

/** The part of a browser's WebSocket that the package uses. */
class VirtualSocket {
  binaryType = "blob";
  readyState = 0;
  greeted = false;
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  /** @type {((event: any) => void) | null} */
  onerror = null;
  #network;
  #token;

  /** @param {Network} network @param {string} device @param {string} token */
  constructor(network, device, token) {
    this.#network = network;
    this.#token = Buffer.from(token);
    this.device = device;
    this.connection = network.connect(this);
    this.#later(() => {
      this.readyState = 1;
      this.onopen?.({});
    });
  }

  /** @param {Uint8Array} data */
  send(data) {
    const frame = data.slice();
    this.#later(() => this.#network.up(this, frame));
  }

  /** @param {Uint8Array} frame */
  deliver(frame) {
    this.#later(() => this.onmessage?.({ data: frame.slice().buffer }));
  }

  close() {
    this.readyState = 3;
    this.#network.disconnect(this);
  }

  /**
   * How many bytes of a hello are the token; none when it travels elsewhere.
   * @param {Uint8Array} hello
   */
  tokenBytesIn(hello) {
    return Buffer.from(hello).includes(this.#token) ? this.#token.length : 0;
  }

  /** Soon and in order, but never within the caller, as on a real network. */
  #later(/** @type {() => void} */ work) {
    queueMicrotask(() => {
      if (this.readyState !== 3) this.#network.guard(work);
    });
  }
}
