// A WebSocket client that can break every rule of RFC 6455: frames as bytes on a plain socket.
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { until } from "../js/until.mjs";

/** Section 1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/**
 * @typedef {object} FrameOptions
 * @property {boolean} [fin] the last of its message, which it is if nothing else is said
 * @property {number} [rsv] the three reserved bits
 * @property {boolean} [masked] as a client's frame must be
 * @property {0 | 16 | 64} [lengthBits] of the longer forms of the length; the shortest if nothing is said
 * @property {number | bigint} [announced] length that the frame says it has
 */

/** A frame of section 5.2. @param {number} opcode @param {Buffer | string} data @param {FrameOptions} [options] */
export function frame(opcode, data = "", options = {}) {
  const payload = Buffer.from(data);
  const { fin = true, rsv = 0, masked = true, announced = payload.length } = options;
  const length = BigInt(announced);
  const shortest = length < 126n ? 0 : length < 65_536n ? 16 : 64;
  const { lengthBits = shortest } = options;
  const short = lengthBits === 0 ? Number(length) : lengthBits === 16 ? 126 : 127;
  const head = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode, (masked ? 0x80 : 0) | short]);
  const more = Buffer.alloc(lengthBits / 8);
  if (lengthBits === 16) more.writeUInt16BE(Number(length));
  if (lengthBits === 64) more.writeBigUInt64BE(length);
  if (!masked) return Buffer.concat([head, more, payload]);
  const key = randomBytes(4);
  const body = Buffer.from(payload.map((byte, at) => byte ^ (key[at % 4] ?? 0)));
  return Buffer.concat([head, more, key, body]);
}

/** The payload of a close frame. @param {number} code @param {Buffer | string} reason */
export function closing(code, reason = "") {
  const number = Buffer.alloc(2);
  number.writeUInt16BE(code);
  return Buffer.concat([number, Buffer.from(reason)]);
}

/** The headers of a handshake that is as section 4.1 wants it. */
export function handshake() {
  return {
    Host: "127.0.0.1",
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
    "Sec-WebSocket-Version": "13",
  };
}

/** What the server must answer a key with (section 4.2.2). @param {string} key */
export function accepted(key) {
  return createHash("sha1").update(`${key}${GUID}`).digest("base64");
}

/** One connection. */
export class Raw {
  #received = Buffer.alloc(0);
  #over = false;
  /** @type {import("node:net").Socket} */
  #socket;

  /** @param {import("node:net").Socket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.on("data", (data) => {
      this.#received = Buffer.concat([this.#received, data]);
    });
    // A reset is an end too.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#over = true;
    });
  }

  /**
   * Sends a request and reads the head of its answer.
   * @param {number} port @param {string} path
   * @param {Record<string, string>} headers @param {string} [method]
   */
  static async ask(port, path, headers, method = "GET") {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    const raw = new Raw(socket);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
    const end = await until("the head of an answer", () => {
      const at = raw.#received.indexOf("\r\n\r\n");
      return at < 0 ? undefined : at + 4;
    });
    const [first = "", ...rest] = raw.#received.subarray(0, end).toString("latin1").split("\r\n");
    raw.#received = raw.#received.subarray(end);
    const named = rest.map((line) => line.split(": "));
    const answer = Object.fromEntries(
      named.map(([name = "", value]) => [name.toLowerCase(), value]),
    );
    return { raw, status: Number(first.split(" ")[1]), headers: answer };
  }

  /** @param {...Buffer} bytes */
  send(...bytes) {
    this.#socket.write(Buffer.concat(bytes));
  }

  /** Each byte in a packet of its own, as far as the system lets us. @param {Buffer} bytes */
  async trickle(bytes) {
    this.#socket.setNoDelay(true);
    for (const byte of bytes) {
      await new Promise((done) => this.#socket.write(Buffer.from([byte]), () => done(undefined)));
    }
  }

  /** The next frame, or nothing when the server has ended the connection without one. */
  frame() {
    return until(
      "a frame or the end",
      () => this.#take() ?? (this.#over ? { end: true } : undefined),
    );
  }

  /** The server has ended the connection, and what it sent before that. */
  async end() {
    const frames = [];
    for (;;) {
      const next = await this.frame();
      if ("end" in next) return frames;
      frames.push(next);
    }
  }

  destroy() {
    this.#socket.destroy();
  }

  #take() {
    const [first, second] = this.#received;
    if (first === undefined || second === undefined) return undefined;
    const short = second & 0x7f;
    const more = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (this.#received.length < 2 + more) return undefined;
    let length = short;
    if (more === 2) length = this.#received.readUInt16BE(2);
    if (more === 8) length = Number(this.#received.readBigUInt64BE(2));
    const end = 2 + more + length;
    if (this.#received.length < end) return undefined;
    const payload = Buffer.from(this.#received.subarray(2 + more, end));
    this.#received = this.#received.subarray(end);
    const code = (first & 0xf) === CLOSE && length >= 2 ? payload.readUInt16BE() : undefined;
    const { fin, rsv, masked } = { fin: first >> 7, rsv: (first >> 4) & 7, masked: second >> 7 };
    return {
      opcode: first & 0xf,
      fin,
      rsv,
      masked,
      minimal: length >= minimum(more),
      payload,
      code,
    };
  }
}

/** The least length that may be in a form (section 5.2). @param {number} more bytes of it */
function minimum(more) {
  return more === 8 ? 65_536 : more === 2 ? 126 : 0;
}
