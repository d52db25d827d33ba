// The network of one household on the server's end from tests/room: it drops, refuses and falls
// silent as it is told. It keeps nothing of what has passed through it.
import { roomOutputs } from "../bench/trace/outputs.mjs";

/** @typedef {import("../bench/trace/network.mjs").RoomEnd} RoomEnd */
/** @typedef {import("../bench/trace/network.mjs").Requests} Requests */

const BINARY = new Headers({ "Content-Type": "application/octet-stream" });
const CLOSED_ABNORMALLY = 1006;
const OPEN = 1;
const CLOSED = 3;
/** First byte of a client's frames about taste. */
const TASTE_TAG = 4;

export class House {
  /** Whether sockets can be opened. */
  upgrades = true;
  /** Whether anybody is there at all. */
  there = true;
  /** Addresses that take what comes and never answer, and those where nobody is: hosts. */
  deaf = new Set();
  gone = new Set();
  /** What was done, by what it was: sockets opened, requests answered, questions whether it is there. */
  opened = 0;
  requests = 0;
  questions = 0;
  /** Requests that have no answer yet. */
  underWay = 0;
  /** The id of the tables that patterns are coded with; 0 for none. */
  tables = 0;
  #room;
  #time;
  #connections = 0;
  /** @type {Map<number, HouseSocket>} */
  #sockets = new Map();

  /** @param {RoomEnd & Requests} room @param {import("./fake-time.mjs").FakeTime} time */
  constructor(room, time) {
    this.#room = room;
    this.#time = time;
  }

  /** How many sockets are open. */
  get sockets() {
    return this.#sockets.size;
  }

  /**
   * The class for `open`.
   * @param {string} [device] whose it is: then it can be told what to do
   * @param {typeof globalThis} [realm] of which frame
   */
  socketClass(device, realm = globalThis) {
    const house = this;
    return class extends HouseSocket {
      /** @param {string} url */
      constructor(url) {
        super(house, new URL(url).host, device, realm);
      }
    };
  }

  /**
   * What takes the place of `fetch`.
   * @param {string} url @param {{body?: Uint8Array, signal?: AbortSignal}} [said]
   */
  async fetch(url, { body, signal } = {}) {
    this.underWay += 1;
    try {
      const { host } = new URL(url);
      if (this.deaf.has(host)) await calledOff(signal);
      return this.#answer(host, url, body);
    } finally {
      this.underWay -= 1;
    }
  }

  /** @param {string} host @param {string} url @param {Uint8Array} [body] */
  #answer(host, url, body) {
    if (body === undefined) this.questions += 1;
    if (!this.there || this.gone.has(host)) throw new TypeError("nobody there");
    if (body === undefined) return { ok: true, status: 200, url };
    this.requests += 1;
    const answer = body[0] === TASTE_TAG ? this.#taste(body) : this.#exchange(body);
    return {
      ok: true,
      status: 200,
      headers: BINARY,
      arrayBuffer: async () => answer.slice().buffer,
    };
  }

  /** @param {Uint8Array} body */
  #exchange(body) {
    this.#connections += 1;
    const own = this.#connections;
    const outputs = roomOutputs(this.#room.exchange(own, body.slice(), this.#time.now_ms));
    const answer = outputs.shift()?.frame ?? new Uint8Array();
    this.#carry(outputs);
    return answer;
  }

  /** @param {Uint8Array} frame */
  #taste(frame) {
    return this.#room.taste(frame.slice(), this.tables, this.#time.now_ms);
  }

  /** Ends every connection, with a word to both ends. @param {number} [code] */
  drop(code = CLOSED_ABNORMALLY) {
    for (const socket of [...this.#sockets.values()]) socket.lost(code);
  }

  /** Ends every connection at the server's end; the other end hears nothing. */
  fallSilent() {
    for (const socket of [...this.#sockets.values()]) this.disconnect(socket);
  }

  /** A frame is gone, and its connections with it. @param {typeof globalThis} realm */
  forget(realm) {
    for (const socket of [...this.#sockets.values()]) if (socket.realm === realm) socket.close();
  }

  /** @param {HouseSocket} socket @returns {boolean} */
  connect(socket) {
    if (!this.there || !this.upgrades || this.gone.has(socket.host)) return false;
    this.opened += 1;
    this.#connections += 1;
    socket.connection = this.#connections;
    this.#sockets.set(socket.connection, socket);
    const { connection, device } = socket;
    if (device !== undefined) {
      this.#carry(roomOutputs(this.#room.join(connection, device, this.#time.now_ms)));
    }
    return true;
  }

  /** @param {HouseSocket} socket */
  disconnect(socket) {
    if (!this.#sockets.delete(socket.connection)) return;
    this.#carry(roomOutputs(this.#room.closed(socket.connection, this.#time.now_ms)));
  }

  /** @param {HouseSocket} socket @param {Uint8Array} frame */
  up(socket, frame) {
    if (this.#sockets.get(socket.connection) !== socket) return;
    const { connection } = socket;
    if (frame[0] === TASTE_TAG) socket.deliver(this.#taste(frame));
    else this.#carry(roomOutputs(this.#room.frame(connection, frame, this.#time.now_ms)));
  }

  /** @param {ReturnType<typeof roomOutputs>} outputs */
  #carry(outputs) {
    for (const { connection, frame, code } of outputs) {
      const socket = this.#sockets.get(connection);
      if (frame !== undefined) socket?.deliver(frame);
      else socket?.lost(code ?? CLOSED_ABNORMALLY);
    }
  }
}

/** The part of a browser's WebSocket that the package uses. */
class HouseSocket {
  binaryType = "blob";
  readyState = 0;
  connection = 0;
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  /** @type {((event: any) => void) | null} */
  onerror = null;
  #house;

  /**
   * @param {House} house @param {string} host
   * @param {string | undefined} device @param {typeof globalThis} realm
   */
  constructor(house, host, device, realm) {
    this.#house = house;
    this.realm = realm;
    this.host = host;
    this.device = device;
    if (house.deaf.has(host)) return;
    this.#later(() => {
      if (house.connect(this)) {
        this.readyState = OPEN;
        this.onopen?.({});
      } else this.lost(CLOSED_ABNORMALLY);
    });
  }

  /** @param {Uint8Array} data */
  send(data) {
    const frame = data.slice();
    this.#later(() => this.#house.up(this, frame));
  }

  /** @param {Uint8Array} frame */
  deliver(frame) {
    this.#later(() => this.onmessage?.({ data: new this.realm.Uint8Array(frame).buffer }));
  }

  close() {
    this.readyState = CLOSED;
    this.#house.disconnect(this);
  }

  /** @param {number} code */
  lost(code) {
    if (this.readyState === CLOSED) return;
    this.close();
    this.onclose?.({ code });
  }

  /** Soon and in order, but never within the caller. @param {() => void} work */
  #later(work) {
    queueMicrotask(() => {
      if (this.readyState !== CLOSED) work();
    });
  }
}

/** Rejects when a request is called off, else never. @param {AbortSignal} [signal] */
function calledOff(signal) {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}
