// The package's engine without the package's driver: storage is a list of records, the
// network is whoever carries its frames. What speeds are measured on.
import { roomOutputs } from "./outputs.mjs";

/** @typedef {typeof import("omega-sync/engine")} Engine */
/** @typedef {import("./file.mjs").Operation} Operation */

const SEED_WORDS = 4;
const TOKEN = "a token that nobody checks";

/** A peer's seed, the same in each run. @param {number} number */
export function seedOf(number) {
  return new Uint32Array(SEED_WORDS).fill(number + 1);
}

export class Peer {
  /** What a storage would hold: an image and the records after it. @type {Uint8Array[]} */
  records = [];
  /** Frames that wait for the network. @type {Uint8Array[]} */
  frames = [];
  #engine;
  #replica;
  #start_ms;

  /**
   * @param {Engine} engine @param {number} start_ms the steady clock's zero
   * @param {Uint32Array} seed @param {Uint8Array[]} [records]
   */
  constructor(engine, start_ms, seed, records = []) {
    this.#engine = engine;
    this.#start_ms = start_ms;
    this.#replica = engine.loadReplica(records, "", seed).replica;
    this.#take(this.#engine.callWrite(this.#replica, "firstOutputs", []));
  }

  /** Its socket is open: the hello waits in `frames`. @param {number} t */
  connect(t) {
    const now = /** @type {const} */ ([t, t - this.#start_ms]);
    this.#take(this.#engine.callWrite(this.#replica, "online", [], ...now));
    this.#take(this.#engine.callWrite(this.#replica, "opened", [TOKEN], ...now));
  }

  /** One call and the reading of what it returns. @param {Operation} operation */
  operate({ k, t, c, p = 0, u = 0, s = 0 }) {
    const steady = t - this.#start_ms;
    /** @param {"progressSet" | "watchlistAdd" | "watchlistRemove"} name @param {number[]} values */
    const write = (name, ...values) =>
      this.#take(this.#engine.callWrite(this.#replica, name, ["", c, ...values], t, steady));
    if (k === "prog") write("progressSet", p, u, STATES[s] ?? 0);
    else write(k === "add" ? "watchlistAdd" : "watchlistRemove");
  }

  /** One frame and the reading of what comes of it. @param {Uint8Array} bytes @param {number} t */
  receive(bytes, t) {
    this.#take(this.#engine.callWrite(this.#replica, "frame", [bytes], t, t - this.#start_ms));
  }

  /** The frames so far, which leave with this. */
  takeFrames() {
    return this.frames.splice(0);
  }

  pending() {
    return this.#engine.standingOf(this.#replica).pending;
  }

  /** What the home screen asks first. @returns {number} how many titles there are */
  firstQuery() {
    return this.#engine.readRows(this.#replica, "progressAll", [""]).length;
  }

  /** @returns {boolean} whether it has caught up */
  isLive() {
    return this.#engine.standingOf(this.#replica).state === "live";
  }

  free() {
    this.#replica.free();
  }

  /** @param {number} answer */
  #take(answer) {
    for (const output of this.#engine.readOutputs(answer)) {
      if (output.kind === "append") this.records.push(output.bytes);
      else if (output.kind === "replace") this.records = [output.bytes];
      else if (output.kind === "send") this.frames.push(output.bytes);
    }
  }
}

/** The trace's numbers of play states as the engine has them. */
const STATES = [0, 1, 3];

/** A room end with peers on it, and everything that each of them receives. */
export class Household {
  /** @type {Peer[]} */
  peers = [];
  /** @type {Uint8Array[][]} by peer */
  received = [];
  #room;

  /** @param {import("./network.mjs").RoomEnd} room */
  constructor(room) {
    this.#room = room;
  }

  /** @param {Peer} peer @param {number} t */
  join(peer, t) {
    this.peers.push(peer);
    this.received.push([]);
    peer.connect(t);
    this.carry(t);
    if (!peer.isLive()) throw new Error("a peer could not catch up");
  }

  /** Carries frames until nobody has one left. @param {number} t */
  carry(t) {
    let moved = true;
    while (moved) {
      moved = false;
      for (const [at, peer] of this.peers.entries()) {
        for (const frame of peer.takeFrames()) {
          moved = true;
          this.#up(at, frame, t);
        }
      }
    }
  }

  /** @param {number} at @param {Uint8Array} frame @param {number} t */
  #up(at, frame, t) {
    for (const { connection, frame: down, code } of roomOutputs(this.#room.frame(at, frame, t))) {
      const peer = this.peers[connection];
      if (down === undefined || peer === undefined) {
        throw new Error(`the room closed connection ${connection}: code ${code}`);
      }
      this.received[connection]?.push(down);
      peer.receive(down, t);
    }
  }

  /** How many frames each peer has received so far. @param {number} at */
  receivedBy(at) {
    return this.received[at] ?? [];
  }
}
