// A witness of a device's sessions: it reads the frames of both sides and what the device stores,
// by docs/protocol.md alone, and holds them against each other.
import assert from "node:assert/strict";
import { decodeDifference, decodeState } from "./difference.mjs";
import { decodeFrame } from "./frames.mjs";
import { DecodeError, fnv1a, fromHex, need, Reader, stampFromJson } from "./numbers.mjs";
import { Context, readDelta } from "./operations.mjs";
import { replay } from "./records.mjs";
import { applyOperation, emptyState, operationToJson, stateToJson } from "./state.mjs";

/** How many numbers a counted frame goes through before it starts anew. */
const NUMBERS = 16;
/** The mark of an epoch is so many low bits of it. */
const MARK_BITS = 32;

/** @typedef {import("./operations.mjs").Delta} Delta */
/** @typedef {import("./records.mjs").Replica} Replica */
/** @typedef {[string, ...any]} Output of the device: what it is, and its values */
/** @typedef {{ tag: string, number?: number, body?: string } & { [field: string]: any }} Frame */
/** @typedef {{ up: Context, down: Context, sent: number, received: number }} Connection */

/** What one device and its server say to each other. */
export class Witness {
  /** What is stored. @type {Uint8Array[]} */
  #log = [];
  /** The household as the server has told it. */
  #state = emptyState();
  #version = 0n;
  /** At which version an add came, by its dot. @type {Map<string, bigint>} */
  #came = new Map();
  /** Deltas without an answer. @type {Delta[]} */
  #onTheirWay = [];
  /** @type {Connection | undefined} */
  #connection;
  /** How many frames of each tag were read. @type {Map<string, number>} */
  frames = new Map();

  /** @param {string[]} records that were there before, in hex */
  constructor(records) {
    this.#log = records.map(fromHex);
  }

  /** What the stored records say. @returns {Replica} */
  get stored() {
    return replay(this.#log);
  }

  get state() {
    return stateToJson(this.#state);
  }

  get version() {
    return this.#version;
  }

  get waiting() {
    return this.#onTheirWay.length;
  }

  /**
   * What the device does, in its order: what it stores can be read at each moment.
   * @param {Output[]} outputs
   */
  take(outputs) {
    for (const [output, value] of outputs) {
      if (output === "append") this.#log.push(fromHex(value));
      else if (output === "replace") this.#log = [fromHex(value)];
      else if (output === "send") this.#sent(value);
      assert.ok(this.stored);
    }
  }

  /** @param {string} bytes of a frame that the device sends */
  #sent(bytes) {
    const frame = this.#frame(bytes, "client");
    if (frame.tag === "hello") this.#hello(frame);
    else if (frame.tag === "delta") this.#delta(frame);
  }

  /**
   * @param {string} bytes of a frame that the device receives
   * @returns {boolean} whether it can go on after that frame
   */
  received(bytes) {
    try {
      this.#receive(bytes);
      return true;
    } catch (error) {
      if (error instanceof DecodeError) return false;
      throw error;
    }
  }

  /** @param {string} bytes */
  #receive(bytes) {
    const frame = this.#frame(bytes, "server");
    if (frame.tag === "welcome") this.#welcome(frame);
    else if (frame.tag === "snapshot") this.#snapshot(frame);
    else if (frame.tag === "difference") this.#difference(frame);
    else if (frame.tag === "update") this.#update(frame);
    else if (frame.tag === "ack") this.#answer(1n, []);
    else if (frame.tag === "report") this.#answer(BigInt(frame.advances), frame.voids);
  }

  /** @param {string} bytes @param {"client" | "server"} from @returns {Frame} */
  #frame(bytes, from) {
    /** @type {Frame} */
    const frame = decodeFrame(fromHex(bytes), from);
    this.frames.set(frame.tag, (this.frames.get(frame.tag) ?? 0) + 1);
    if (frame.number === undefined) return frame;
    const connection = this.#open;
    const side = from === "client" ? "sent" : "received";
    connection[side] += 1;
    need(frame.number === connection[side] % NUMBERS, `${frame.number} as number of ${frame.tag}`);
    return frame;
  }

  get #open() {
    assert.ok(this.#connection, "no welcome yet");
    return this.#connection;
  }

  /** A hello says what is stored. @param {Frame} hello */
  #hello(hello) {
    this.#onTheirWay = [];
    this.#connection = undefined;
    const { id, household = "", acked, cursor, session } = this.stored;
    assert.equal(BigInt(hello.session), session, "the session is stored before the hello");
    assert.equal(BigInt(`0x${hello.replica}`), id);
    assert.equal(hello.household, fnv1a(Buffer.from(household)), "the household's mark");
    if (hello.digest !== undefined) assert.equal(hello.digest, acked.digest);
    else assert.equal(acked.stamp, 0n, "an acknowledged operation goes with its digest");
    assert.equal(hello.cursor, cursor === undefined ? undefined : Number(cursor.version));
    if (cursor !== undefined) {
      assert.equal(BigInt(hello.epoch), BigInt.asUintN(MARK_BITS, cursor.epoch), "its mark");
    }
  }

  /** @param {Frame} welcome */
  #welcome(welcome) {
    const startMs = BigInt(welcome.server_ms);
    this.#connection = {
      up: new Context({ direction: "up", startMs }),
      down: new Context({ direction: "down", startMs }),
      sent: 0,
      received: 0,
    };
  }

  /** @param {Frame} snapshot */
  #snapshot(snapshot) {
    this.#state = decodeState(fromHex(snapshot.body ?? ""));
    this.#arriveAt(BigInt(snapshot.version));
  }

  /** @param {Frame} difference */
  #difference({ versions, body = "" }) {
    if (versions > 0) this.#state = decodeDifference(fromHex(body), this.#state);
    this.#arriveAt(this.#version + BigInt(versions));
  }

  /** @param {bigint} version that the welcome led to */
  #arriveAt(version) {
    this.#version = version;
    this.#open.up.version = version;
  }

  /** What is sent is what waits, and nothing before it was stored. @param {Frame} frame */
  #delta({ body = "" }) {
    const { id, outbox, sentThrough } = this.stored;
    const reader = new Reader(fromHex(body));
    const delta = readDelta(reader, this.#open.up, (profile, content, version) =>
      this.#adds(profile, content).filter(
        (dot) => dot.replica === id || this.#cameAt(dot) <= version,
      ),
    );
    for (const operation of delta.operations) {
      const waiting = outbox.find((entry) => entry.operation.stamp === operation.stamp);
      assert.ok(waiting, "an operation that is not stored");
      assert.deepEqual(operationToJson(operation), operationToJson(waiting.operation));
    }
    assert.ok(delta.through <= sentThrough, "that it may have left is stored first");
    this.#onTheirWay.push(delta);
  }

  /** @param {Frame} frame */
  #update({ body = "" }) {
    const reader = new Reader(fromHex(body));
    const author = this.#open.down.readAuthor(reader);
    const delta = readDelta(reader, this.#open.down, (profile, content) =>
      this.#adds(profile, content),
    );
    this.#version += 1n;
    this.#take(author, delta, []);
  }

  /** @param {bigint} versions @param {Array<{ stamp: [number, number] }>} voids */
  #answer(versions, voids) {
    const delta = this.#onTheirWay.shift();
    assert.ok(delta, "an ack of nothing");
    this.#version += versions;
    const refused = voids.map(({ stamp }) => stampFromJson(stamp));
    if (versions > 0n) this.#take(this.stored.id, delta, refused);
  }

  /** @param {bigint} author @param {Delta} delta @param {bigint[]} refused */
  #take(author, { through, operations }, refused) {
    for (const operation of operations) {
      if (refused.includes(operation.stamp)) continue;
      applyOperation(this.#state, author, operation);
      this.#came.set(keyOf({ replica: author, stamp: operation.stamp }), this.#version);
    }
    this.#state.seen.set(author, through);
  }

  /** @param {bigint} profile @param {string} content */
  #adds(profile, content) {
    return [...(this.#state.profiles.get(profile)?.titles.get(content)?.adds ?? [])];
  }

  /** @param {import("./state.mjs").Dot} dot @returns {bigint} before the welcome when not known */
  #cameAt(dot) {
    return this.#came.get(keyOf(dot)) ?? 0n;
  }
}

/** @param {import("./state.mjs").Dot} dot */
function keyOf({ replica, stamp }) {
  return `${replica}:${stamp}`;
}
