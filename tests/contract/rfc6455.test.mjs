// The server's sockets against RFC 6455, each rule named by its section. `/dev/echo` has the framing of
// all sockets; what a socket of the protocol adds is tested on `/ws`.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Edge } from "../js/edge.mjs";
import {
  accepted,
  BINARY,
  CLOSE,
  CONTINUATION,
  closing,
  frame,
  handshake,
  PING,
  PONG,
  Raw,
  TEXT,
} from "./raw.mjs";

/** The server's constant of this name. */
const READ_BYTES_MAX = 1 << 20;
const PROTOCOL_ERROR = 1002;
const INVALID_DATA = 1007;
const TOO_BIG = 1009;
/** Not UTF-8: a byte that is in none, a surrogate, one above U+10FFFF, one too long. */
const NOT_UTF8 = ["ff", "eda080", "f4908080", "c0af"].map((hex) => Buffer.from(hex, "hex"));

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start("--dev", "--address-rate", "0");
});
after(() => edge.dispose());

/** A socket that echoes. @param {import("node:test").TestContext} context */
async function echo(context) {
  const { raw, status } = await Raw.ask(edge.port, "/dev/echo", handshake());
  context.after(() => raw.destroy());
  assert.equal(status, 101);
  return raw;
}

/** What is sent ends the connection with this code. @param {import("node:test").TestContext} context */
async function refused(context, /** @type {number} */ code, /** @type {Buffer[]} */ ...bytes) {
  const raw = await echo(context);
  raw.send(...bytes);
  const [first, ...more] = await raw.end();
  assert.deepEqual([first?.opcode, first?.code, more.length], [CLOSE, code, 0]);
}

/** The next frame is a message with this. */
async function hears(
  /** @type {Raw} */ raw,
  /** @type {number} */ opcode,
  /** @type {string} */ text,
) {
  const heard = await raw.frame();
  assert.ok("payload" in heard, "the connection ended");
  assert.deepEqual([heard.opcode, heard.payload.toString()], [opcode, text]);
  // Section 5.1: a server masks nothing; 5.2: it reserves nothing, and lengths have their shortest form.
  assert.deepEqual([heard.fin, heard.rsv, heard.masked, heard.minimal], [1, 0, 0, true]);
}

test("4.2.2: the accept is made of the key", async (context) => {
  const headers = handshake();
  const { raw, status, headers: answer } = await Raw.ask(edge.port, "/ws", headers);
  context.after(() => raw.destroy());
  assert.equal(status, 101);
  assert.equal(answer["sec-websocket-accept"], accepted(headers["Sec-WebSocket-Key"]));
  assert.match(`${answer.upgrade} ${answer.connection}`, /^websocket upgrade$/i);
  assert.equal(answer["sec-websocket-extensions"], undefined);
});

const FAULTS = /** @type {const} */ ([
  ["4.2.1: no key", { "Sec-WebSocket-Key": undefined }],
  ["4.2.1: no upgrade", { Upgrade: undefined }],
  ["4.2.1: an upgrade to something else", { Upgrade: "h2c" }],
  ["4.2.1: no connection", { Connection: undefined }],
  ["4.2.1: a connection that stays as it is", { Connection: "keep-alive" }],
  ["4.2.1: no version", { "Sec-WebSocket-Version": undefined }],
  ["4.4: an older version", { "Sec-WebSocket-Version": "8" }],
  ["4.4: a version that never was", { "Sec-WebSocket-Version": "14" }],
  ["4.1: only subprotocols that nobody speaks", { "Sec-WebSocket-Protocol": "soap, wamp" }],
]);
for (const [name, change] of FAULTS) {
  test(`${name}: refused`, async (context) => {
    /** @type {Record<string, string>} */
    const headers = {};
    for (const [key, value] of Object.entries({ ...handshake(), ...change })) {
      if (value) headers[key] = value;
    }
    const answer = await Raw.ask(edge.port, "/ws", headers);
    context.after(() => answer.raw.destroy());
    assert.equal(answer.status, 426);
    assert.match(`${answer.headers.upgrade} ${answer.headers.connection}`, /^websocket upgrade$/);
    assert.equal(answer.headers["sec-websocket-version"], "13", "4.4: it says which it speaks");
  });
}

test("4.1: it answers with one subprotocol of those asked for", async (context) => {
  const headers = { ...handshake(), "Sec-WebSocket-Protocol": "soap, omega.v1" };
  const { raw, status, headers: answer } = await Raw.ask(edge.port, "/ws", headers);
  context.after(() => raw.destroy());
  assert.deepEqual([status, answer["sec-websocket-protocol"]], [101, "omega.v1"]);
});

test("4.1: another method than GET is refused", async (context) => {
  const headers = { ...handshake(), "Content-Length": "0" };
  const { raw, status } = await Raw.ask(edge.port, "/ws", headers, "POST");
  context.after(() => raw.destroy());
  assert.equal(status, 405);
});

test("5.3, 5.6: what is said comes back, however it is cut into packets", async (context) => {
  const raw = await echo(context);
  raw.send(frame(TEXT, "Grüße"), frame(BINARY, "bytes"), frame(TEXT, ""));
  await hears(raw, TEXT, "Grüße");
  await hears(raw, BINARY, "bytes");
  await hears(raw, TEXT, "");
  await raw.trickle(frame(TEXT, "byte by byte"));
  await hears(raw, TEXT, "byte by byte");
});

test("5.2: lengths at the edges of their forms", async (context) => {
  const raw = await echo(context);
  for (const length of [125, 126, 65_535, 65_536, READ_BYTES_MAX]) {
    raw.send(frame(TEXT, "x".repeat(length)));
    await hears(raw, TEXT, "x".repeat(length));
  }
});

test("5.4: control frames come between fragments, and are answered at once", async (context) => {
  const raw = await echo(context);
  raw.send(frame(TEXT, "one ", { fin: false }), frame(PING, "now"));
  await hears(raw, PONG, "now");
  raw.send(frame(CONTINUATION, "", { fin: false }), frame(PONG, "unasked"));
  raw.send(frame(CONTINUATION, "two", { fin: false }), frame(PING), frame(CONTINUATION, "."));
  await hears(raw, PONG, "");
  await hears(raw, TEXT, "one two.");
});

test("5.4: a continuation of nothing", (context) =>
  refused(context, PROTOCOL_ERROR, frame(CONTINUATION, "x")));

test("5.4: a message within another", (context) =>
  refused(context, PROTOCOL_ERROR, frame(TEXT, "x", { fin: false }), frame(TEXT, "y")));

for (const rsv of [1, 2, 4, 7]) {
  test(`5.2: reserved bits ${rsv}`, (context) =>
    refused(context, PROTOCOL_ERROR, frame(TEXT, "x", { rsv })));
}
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  test(`5.2: reserved opcode ${opcode}`, (context) =>
    refused(context, PROTOCOL_ERROR, frame(opcode, "x")));
}

test("5.1: a frame without a mask", (context) =>
  refused(context, PROTOCOL_ERROR, frame(TEXT, "x", { masked: false })));

test("5.5: a control frame of 126 bytes", (context) =>
  refused(context, PROTOCOL_ERROR, frame(PING, "x".repeat(126))));

test("5.5: a control frame in fragments", (context) =>
  refused(context, PROTOCOL_ERROR, frame(PING, "x", { fin: false })));

test("5.5.2, 5.5.3: a ping of 125 bytes comes back, and a pong does not", async (context) => {
  const raw = await echo(context);
  const bytes = "\u0000".repeat(125);
  raw.send(frame(PONG, "unasked"), frame(PING, bytes));
  await hears(raw, PONG, bytes);
});

for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999]) {
  test(`5.5.1, 7.4: a close of ${code} is answered with it`, (context) =>
    refused(context, code, frame(CLOSE, closing(code, "bye")), frame(TEXT, "nobody hears this")));
}
for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]) {
  test(`7.4: a close of ${code}, which nobody may send`, (context) =>
    refused(context, PROTOCOL_ERROR, frame(CLOSE, closing(code))));
}

test("5.5.1: a close without a code is answered by one", async (context) => {
  const raw = await echo(context);
  raw.send(frame(CLOSE));
  const [first, ...more] = await raw.end();
  assert.deepEqual([first?.opcode, first?.payload.length, more.length], [CLOSE, 0, 0]);
});

test("5.5.1: half of a code", (context) => refused(context, PROTOCOL_ERROR, frame(CLOSE, "x")));

for (const bytes of NOT_UTF8) {
  const hex = bytes.toString("hex");
  test(`8.1: text of ${hex}`, (context) =>
    refused(context, INVALID_DATA, frame(TEXT, Buffer.concat([Buffer.from("x"), bytes]))));
  test(`8.1: ${hex} in a fragment, and no other after it`, (context) =>
    refused(context, INVALID_DATA, frame(TEXT, bytes, { fin: false })));
  test(`5.5.1, 8.1: a reason of ${hex}`, (context) =>
    refused(context, INVALID_DATA, frame(CLOSE, closing(1000, bytes))));
}

test("8.1: a letter may be cut in two, but not left half", async (context) => {
  const raw = await echo(context);
  const bytes = Buffer.from("€");
  raw.send(frame(TEXT, bytes.subarray(0, 1), { fin: false }));
  raw.send(frame(CONTINUATION, bytes.subarray(1)));
  await hears(raw, TEXT, "€");
  await refused(context, INVALID_DATA, frame(TEXT, bytes.subarray(0, 2)));
});

test("5.6: binary may be anything", async (context) => {
  const raw = await echo(context);
  raw.send(frame(BINARY, Buffer.from("ff", "hex")));
  const heard = await raw.frame();
  assert.ok("payload" in heard && heard.opcode === BINARY && heard.payload[0] === 0xff);
});

test("10.4: too long is refused when it is announced", (context) =>
  refused(context, TOO_BIG, frame(BINARY, "", { announced: READ_BYTES_MAX + 1 })));

test("10.4: too long in fragments is refused at the fragment that makes it so", (context) => {
  const half = Buffer.alloc(READ_BYTES_MAX / 2);
  const first = frame(BINARY, half, { fin: false });
  return refused(context, TOO_BIG, first, frame(CONTINUATION, Buffer.alloc(half.length + 1)));
});

test("5.2: a length in a longer form than it needs is read all the same", async (context) => {
  // To use the shortest is the sender's duty; `hears` sees that the server does.
  const raw = await echo(context);
  raw.send(frame(TEXT, "short", { lengthBits: 16 }), frame(TEXT, "short", { lengthBits: 64 }));
  await hears(raw, TEXT, "short");
  await hears(raw, TEXT, "short");
});

test("5.2: a length of 2^63 or more", async (context) => {
  const raw = await echo(context);
  raw.send(frame(BINARY, "", { announced: 1n << 63n }));
  const [first] = await raw.end();
  assert.ok(first?.code === PROTOCOL_ERROR || first?.code === TOO_BIG, `${first?.code}`);
});
