// Commands and presence of docs/protocol.md: what one device asks of another, and who is here.
import { checkedId, idToJson, need, numberToJson, TENANT_ID_BYTES_MAX } from "./numbers.mjs";
import { DEFAULT_PROFILE } from "./state.mjs";

/** @typedef {import("./numbers.mjs").Reader} Reader */

const LEVEL_MAX = 100;
const PRESENT_DEVICES_MAX = 256;
const U32_MAX = 2 ** 32 - 1;

const KINDS = /** @type {const} */ ([
  "play",
  "pause",
  "stop",
  "seek",
  "volume_set",
  "volume_mute",
  "volume_unmute",
  "load_content",
  "cast_to",
]);
const HANDOFF = 9;
const WATCH = 10;
/** Beside a kind: said before. */
const AGAIN = 0x80;
/** Beside a status: a position follows. */
const POSITION = 0x80;
const REPLIES = ["done", "not_supported", "invalid"];
const STATUSES = [
  "delivered",
  "expired",
  "offline",
  "not_supported",
  "invalid",
  "device_unknown",
  "forbidden",
  "rate_limited",
];

/** @param {Reader} reader */
function readDevice(reader) {
  return checkedId(reader.text(TENANT_ID_BYTES_MAX));
}

/** A position that may be missing. @param {Reader} reader @returns {object} */
function readPosition(reader) {
  const next = reader.small(U32_MAX + 1);
  return next === 0 ? {} : { position_s: next - 1 };
}

/** @param {number} kind @param {Reader} reader @returns {object} */
function readCommand(kind, reader) {
  const command = KINDS[kind];
  need(command !== undefined, `command ${kind}`);
  switch (command) {
    case "seek":
      return { command, position_s: reader.small(U32_MAX) };
    case "volume_set": {
      const level = reader.u8();
      need(level <= LEVEL_MAX, "a volume above the highest", "limit");
      return { command, level };
    }
    case "load_content":
      return { command, content: reader.contentId(), ...readPosition(reader) };
    case "cast_to":
      return { command, device: readDevice(reader) };
    default:
      return { command };
  }
}

/** @param {Reader} reader */
function readHandoff(reader) {
  const id = reader.fixed64();
  const profile = id === DEFAULT_PROFILE ? "" : idToJson(id);
  return { command: "handoff", profile, content: reader.contentId(), ...readPosition(reader) };
}

/** @param {Reader} reader */
export function readAsked(reader) {
  const head = reader.u8();
  if (head === WATCH) return { command: "watch" };
  const kind = head & ~AGAIN;
  const again = (head & AGAIN) === 0 ? {} : { again: true };
  const id = idToJson(reader.fixed64());
  const target = readDevice(reader);
  const ends_ms = numberToJson(reader.varint());
  const asked = kind === HANDOFF ? readHandoff(reader) : readCommand(kind, reader);
  return { id, target, ends_ms, ...again, ...asked };
}

/** @param {Reader} reader */
export function readReply(reader) {
  const id = idToJson(reader.fixed64());
  const reply = REPLIES[reader.u8()];
  need(reply !== undefined, "an unknown reply");
  return { id, reply };
}

/** @param {Reader} reader */
export function readOrder(reader) {
  const kind = reader.u8();
  const id = idToJson(reader.fixed64());
  const from = readDevice(reader);
  const ends_ms = numberToJson(reader.varint());
  return { id, from, ends_ms, ...readCommand(kind, reader) };
}

/** @param {Reader} reader */
export function readStatus(reader) {
  const id = idToJson(reader.fixed64());
  const head = reader.u8();
  const status = STATUSES[head & ~POSITION];
  need(status !== undefined, "an unknown status");
  const position = (head & POSITION) === 0 ? {} : { position_s: reader.small(U32_MAX) };
  return { id, status, ...position };
}

/** @param {Reader} reader */
export function readPresence(reader) {
  const all = reader.u8();
  need(all <= 1, "neither all devices nor changes");
  const devices = [];
  for (let left = reader.small(PRESENT_DEVICES_MAX, "limit"); left > 0; left -= 1) {
    const device = readDevice(reader);
    const gone = reader.varint();
    devices.push(gone === 0n ? { device } : { device, gone_s: numberToJson(gone - 1n) });
  }
  return { all, devices };
}
