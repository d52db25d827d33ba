// Frames of docs/protocol.md: the tag, the number beside it, and what the fields of a body say.
import { readAsked, readOrder, readPresence, readReply, readStatus } from "./commands.mjs";
import { decodeState, passDifference, readStates } from "./difference.mjs";
import {
  checkedId,
  idToJson,
  need,
  numberToJson,
  Reader,
  stampToJson,
  TENANT_ID_BYTES_MAX,
  toHex,
} from "./numbers.mjs";

const PROTOCOL_VERSION = 1;
const FRAME_BYTES_MAX = 524_288;
const TOKEN_BYTES_MAX = 4_096;
const VOIDS_MAX = 4_096;
/** Bits of a frame's first byte. */
const TAG_BITS = 4;
const TAG_MASK = 0x0f;

export const REASONS = /** @type {const} */ ([
  "profile_deleted",
  "profile_unknown",
  "household_full",
  "default_profile",
  "forbidden",
]);
const FROM_CLIENT = /** @type {const} */ ([
  "hello",
  "delta",
  "offer",
  "ping",
  undefined,
  "command",
  "reply",
]);
const FROM_SERVER = /** @type {const} */ ([
  "welcome",
  "snapshot",
  "difference",
  "update",
  "ack",
  "report",
  "offered",
  "pong",
  undefined,
  "order",
  "status",
  "presence",
]);
/** Frames whose number counts; hello and welcome have the version there, the others 0. */
const COUNTED = new Set(["delta", "offer", "snapshot", "difference", "update", "ack", "report"]);
const FIRST = new Set(["hello", "welcome"]);

/** Flags of a hello, in the order of what they name. */
const HELLO = { household: 1, digest: 2, epoch: 4, version: 8, offer: 16, token: 32 };
/** Flags of a welcome. */
const WELCOME = { household: 1, epoch: 2, taken: 4, voids: 8 };

/** @typedef {{ stamp: bigint, reason: typeof REASONS[number] }} Refusal */
/** @typedef {{ stamp: bigint, digest: number }} Taken of a replica's last operation */
/**
 * @typedef {object} Hello
 * @property {bigint} replica
 * @property {bigint} session
 * @property {number} nonce
 * @property {number | undefined} household its mark
 * @property {number | undefined} digest of the last acknowledged own operation
 * @property {number | undefined} epoch its mark
 * @property {bigint | undefined} version up to which the epoch is known
 * @property {boolean} offer is owed
 * @property {string | undefined} token
 */
/**
 * @typedef {object} Welcome
 * @property {number} session modulo 256
 * @property {bigint} time Unix milliseconds
 * @property {string | undefined} household
 * @property {bigint | undefined} epoch
 * @property {Taken | undefined} taken
 * @property {Refusal[] | undefined} voids
 */

/** @param {number} flags @param {{ [name: string]: number }} of */
function needKnownFlags(flags, of) {
  const known = Object.values(of).reduce((all, flag) => all | flag, 0);
  need((flags & ~known) === 0, `unknown flags in ${flags}`);
}

/** @param {Reader} reader @returns {Hello} */
function readHello(reader) {
  const replica = reader.fixed64();
  const session = reader.varint();
  const nonce = reader.fixed32();
  const flags = reader.u8();
  needKnownFlags(flags, HELLO);
  /** @template T @param {number} flag @param {() => T} read */
  const named = (flag, read) => ((flags & flag) === 0 ? undefined : read());
  const household = named(HELLO.household, () => reader.fixed32());
  const digest = named(HELLO.digest, () => reader.fixed32());
  const epoch = named(HELLO.epoch, () => reader.fixed32());
  const version = named(HELLO.version, () => reader.varint());
  const token = named(HELLO.token, () => reader.text(TOKEN_BYTES_MAX));
  const offer = (flags & HELLO.offer) !== 0;
  return { replica, session, nonce, household, digest, epoch, version, offer, token };
}

/** @param {Reader} reader @returns {Welcome} */
function readWelcome(reader) {
  const flags = reader.u8();
  needKnownFlags(flags, WELCOME);
  const session = reader.u8();
  const time = reader.varint();
  /** @template T @param {number} flag @param {() => T} read */
  const named = (flag, read) => ((flags & flag) === 0 ? undefined : read());
  const household = named(WELCOME.household, () => checkedId(reader.text(TENANT_ID_BYTES_MAX)));
  const epoch = named(WELCOME.epoch, () => reader.fixed64());
  const taken = named(WELCOME.taken, () => readTaken(reader));
  const voids = named(WELCOME.voids, () => readVoids(reader));
  return { session, time, household, epoch, taken, voids };
}

/** @param {Reader} reader @returns {Taken} */
export function readTaken(reader) {
  return { stamp: reader.stamp(), digest: reader.fixed32() };
}

/** @param {Reader} reader */
export function readVoids(reader) {
  /** @type {Refusal[]} */
  const voids = [];
  for (let left = reader.small(VOIDS_MAX, "limit"); left > 0; left -= 1) {
    const stamp = reader.stamp();
    const last = voids.at(-1);
    need(last === undefined || last.stamp < stamp, "unsorted voids");
    voids.push({ stamp, reason: readReason(reader) });
  }
  return voids;
}

/** @param {Reader} reader */
export function readReason(reader) {
  const reason = REASONS[reader.u8()];
  need(reason !== undefined, "an unknown reason");
  return reason;
}

/**
 * @param {Reader} reader @param {string} tag
 * @returns {object} what the body says; of operations and differences the bytes
 */
function readBody(reader, tag) {
  switch (tag) {
    case "hello":
      return helloToJson(readHello(reader));
    case "welcome":
      return welcomeToJson(readWelcome(reader));
    case "snapshot":
      return { version: numberToJson(reader.varint()), ...readStateBody(reader) };
    case "difference":
      return readMove(reader);
    case "offer":
      return readOffer(reader);
    case "delta":
    case "update":
      return { body: toHex(reader.rest()) };
    case "report": {
      const next = reader.u8();
      need(next <= 1, "neither a next version nor none");
      return { advances: next, voids: readVoids(reader).map(voidToJson) };
    }
    case "command":
      return readAsked(reader);
    case "reply":
      return readReply(reader);
    case "order":
      return readOrder(reader);
    case "status":
      return readStatus(reader);
    case "presence":
      return readPresence(reader);
    default:
      return {};
  }
}

/** A state, which can be read without anything else. @param {Reader} reader */
function readStateBody(reader) {
  const body = reader.rest();
  decodeState(body);
  return { body: toHex(body) };
}

/** States of earlier epochs. @param {Reader} reader */
function readOffer(reader) {
  const body = reader.rest();
  readStates(new Reader(body));
  return { body: toHex(body) };
}

/** A difference, which only its receiver can read. @param {Reader} reader */
function readMove(reader) {
  const versions = reader.varint();
  const body = reader.rest();
  const inner = new Reader(body);
  if (versions > 0n) passDifference(inner);
  inner.end();
  return { versions: numberToJson(versions), body: toHex(body) };
}

/** @param {Refusal} refusal */
function voidToJson({ stamp, reason }) {
  return { stamp: stampToJson(stamp), reason };
}

/** @param {Hello} hello */
function helloToJson({ replica, session, version, offer, ...rest }) {
  return present({
    ...rest,
    replica: idToJson(replica),
    session: numberToJson(session),
    cursor: version === undefined ? undefined : numberToJson(version),
    owes_offer: offer || undefined,
  });
}

/** @param {Welcome} welcome */
function welcomeToJson({ time, epoch, taken, voids, ...rest }) {
  return present({
    ...rest,
    server_ms: numberToJson(time),
    epoch: epoch === undefined ? undefined : idToJson(epoch),
    taken: taken === undefined ? undefined : takenToJson(taken),
    voids: voids?.map(voidToJson),
  });
}

/** @param {Taken} taken */
export function takenToJson({ stamp, digest }) {
  return { stamp: stampToJson(stamp), digest };
}

/** Without what is not there. @param {object} fields */
function present(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/**
 * One whole frame, in the shape of the vectors.
 * @param {Uint8Array} bytes @param {"client" | "server"} from
 */
export function decodeFrame(bytes, from) {
  need(bytes.length <= FRAME_BYTES_MAX, "a frame above its limit", "limit");
  const reader = new Reader(bytes);
  const first = reader.u8();
  const tag = (from === "client" ? FROM_CLIENT : FROM_SERVER)[first & TAG_MASK];
  need(tag !== undefined, "an unknown tag");
  const number = first >> TAG_BITS;
  if (FIRST.has(tag)) need(number === PROTOCOL_VERSION, `version ${number}`, "version");
  else need(COUNTED.has(tag) || number === 0, "a number where nothing counts");
  const body = readBody(reader, tag);
  reader.end();
  const counted = COUNTED.has(tag) ? { number } : {};
  return { tag, ...(FIRST.has(tag) ? { version: number } : counted), ...body };
}
