// What a device stores, as docs/protocol.md says it: records, and the replica that they rebuild.
import { readState, readStates } from "./difference.mjs";
import { readReason, readTaken, readVoids, takenToJson } from "./frames.mjs";
import {
  checkedId,
  fnv1a,
  idToJson,
  need,
  numberToJson,
  Reader,
  stampToJson,
  TENANT_ID_BYTES_MAX,
} from "./numbers.mjs";
import { Context, digestOf, readDelta, readStoredOperation } from "./operations.mjs";
import { applyOperation, compareDots, operationToJson, stateToJson } from "./state.mjs";

const RECORD_VERSION = 1;
const CHECKSUM_BYTES = 4;
const OUTBOX_OPERATIONS_MAX = 10_000;
const REJECTED_MAX = 1_000;
/** Flags of an image. */
const IMAGE = { epoch: 1, cursor: 2, offer: 4 };
/** Tags. */
const TAG = {
  image: 1,
  made: 2,
  session: 3,
  sent: 4,
  acknowledged: 5,
  next: 6,
  taken: 7,
  madeAndSent: 8,
};

/** @typedef {import("./state.mjs").Operation} Operation */
/** @typedef {import("./state.mjs").Dot} Dot */
/** @typedef {import("./state.mjs").State} State */
/** @typedef {{ operation: Operation, floor: bigint, wall: bigint }} Waiting */
/** @typedef {{ operation: Operation, reason: string }} Rejected */
/** @typedef {{ epoch: bigint, version: bigint }} Cursor up to where the household is known */
/**
 * @typedef {object} Replica
 * @property {bigint} id
 * @property {string | undefined} household
 * @property {bigint | undefined} epoch
 * @property {Cursor | undefined} cursor
 * @property {State[] | undefined} owed
 * @property {import("./frames.mjs").Taken} acked
 * @property {bigint} session
 * @property {bigint} clock
 * @property {bigint} offsetMs
 * @property {bigint} sentThrough
 * @property {Waiting[]} outbox
 * @property {Rejected[]} rejected
 * @property {State} state
 */

/** A record's tag and the reader of its body. @param {Uint8Array} bytes */
export function openRecord(bytes) {
  need(bytes.length >= CHECKSUM_BYTES + 2, "a record without its frame", "truncated");
  const inner = bytes.subarray(0, -CHECKSUM_BYTES);
  const sum = new Reader(bytes.subarray(-CHECKSUM_BYTES)).fixed32();
  need(sum === fnv1a(inner), "bytes that are not those that were written", "checksum");
  const reader = new Reader(inner);
  need(reader.u8() === RECORD_VERSION, "another record version", "version");
  return { tag: reader.u8(), reader };
}

/** @param {Reader} reader @returns {Replica} */
function readImage(reader) {
  const id = reader.fixed64();
  const text = reader.text(TENANT_ID_BYTES_MAX);
  const flags = reader.u8();
  need((flags & ~(IMAGE.epoch | IMAGE.cursor | IMAGE.offer)) === 0, "unknown flags of an image");
  const epoch = (flags & IMAGE.epoch) === 0 ? undefined : reader.fixed64();
  const cursor = (flags & IMAGE.cursor) === 0 ? undefined : readCursor(reader);
  const acked = readTaken(reader);
  const session = reader.varint();
  const clock = reader.stamp();
  const offsetMs = reader.signed();
  const sentThrough = reader.stamp();
  const outbox = list(reader, OUTBOX_OPERATIONS_MAX, () => readWaiting(reader));
  const rejected = list(reader, REJECTED_MAX, () => readRejected(reader));
  const state = readState(reader);
  const owed = (flags & IMAGE.offer) === 0 ? undefined : readStates(reader);
  const household = text === "" ? undefined : checkedId(text);
  const known = { id, household, epoch, cursor, owed, acked, session, clock };
  return { ...known, offsetMs, sentThrough, outbox, rejected, state };
}

/** @param {Reader} reader @returns {Cursor} */
function readCursor(reader) {
  return { epoch: reader.fixed64(), version: reader.varint() };
}

/** @template T @param {Reader} reader @param {number} max @param {() => T} read */
function list(reader, max, read) {
  return Array.from({ length: reader.small(max, "limit") }, read);
}

/** @param {Reader} reader @returns {Waiting} */
function readWaiting(reader) {
  const operation = readStoredOperation(reader);
  return { operation, floor: reader.stamp(), wall: reader.varint() };
}

/** @param {Reader} reader @returns {Rejected} */
function readRejected(reader) {
  const operation = readStoredOperation(reader);
  return { operation, reason: readReason(reader) };
}

/**
 * The replica that an image and the records after it say.
 * @param {Uint8Array[]} records
 */
export function replay(records) {
  /** @type {Replica | undefined} */
  let replica;
  for (const bytes of records) {
    const { tag, reader } = openRecord(bytes);
    need((tag === TAG.image) === (replica === undefined), "not one image and then records");
    if (replica === undefined) replica = readImage(reader);
    else applyRecord(replica, tag, reader);
    reader.end();
  }
  need(replica !== undefined, "no image", "truncated");
  return replica;
}

/** @param {Replica} replica @param {number} tag @param {Reader} reader */
function applyRecord(replica, tag, reader) {
  if (tag === TAG.made || tag === TAG.madeAndSent) {
    const waiting = readWaiting(reader);
    push(replica, waiting);
    observe(replica, waiting.operation.stamp);
    if (tag === TAG.madeAndSent) replica.sentThrough = waiting.operation.stamp;
  } else if (tag === TAG.session) replica.session = reader.varint();
  else if (tag === TAG.sent) replica.sentThrough = reader.stamp();
  else if (tag === TAG.acknowledged) acknowledge(replica, reader);
  else if (tag === TAG.next) next(replica, reader);
  else {
    need(tag === TAG.taken, "an unknown record");
    replica.rejected = [];
  }
}

/**
 * An operation waits, in place of the last one on its list and title if that may not have left.
 * @param {Replica} replica @param {Waiting} waiting
 */
function push(replica, waiting) {
  const list = listOf(waiting.operation);
  const at = replica.outbox.findLastIndex(({ operation }) => listOf(operation) === list);
  const last = replica.outbox[at]?.operation;
  if (list === undefined || last === undefined || last.stamp <= replica.sentThrough) {
    replica.outbox.push(waiting);
    return;
  }
  replica.outbox.splice(at, 1);
  const { operation } = waiting;
  if (operation.observed !== undefined) {
    operation.observed = inherited(operation.observed, last, replica.id);
    if (operation.kind === "remove" && operation.observed.length === 0) return;
  }
  replica.outbox.push(waiting);
}

/** Which list of which profile an operation is about, and which title. @param {Operation} of */
function listOf({ kind, profile, content }) {
  if (content === undefined) return undefined;
  const list = kind === "add" || kind === "remove" ? "watchlist" : "progress";
  return `${list} ${profile} ${content}`;
}

/**
 * What two operations had observed, without the one that never left.
 * @param {Dot[]} observed @param {Operation} last @param {bigint} replica
 */
function inherited(observed, last, replica) {
  const own = { replica, stamp: last.stamp };
  const sorted = [...observed, ...(last.observed ?? [])].sort(compareDots);
  return sorted.filter((dot, at) => {
    const before = sorted[at - 1];
    const twice = before !== undefined && compareDots(before, dot) === 0;
    return !twice && compareDots(dot, own) !== 0;
  });
}

/** @param {Replica} replica @param {bigint} stamp */
function observe(replica, stamp) {
  if (stamp > replica.clock) replica.clock = stamp;
}

/** @param {Replica} replica @param {Reader} reader */
function acknowledge(replica, reader) {
  const taken = readTaken(reader);
  const versions = reader.varint();
  const voids = new Map(readVoids(reader).map(({ stamp, reason }) => [stamp, reason]));
  const done = replica.outbox.filter(({ operation }) => operation.stamp <= taken.stamp);
  needDigest(replica.acked.digest, done, taken);
  for (const { operation } of replica.outbox) {
    const reason = voids.get(operation.stamp);
    if (reason !== undefined) replica.rejected.push({ operation, reason });
    else if (done.some((one) => one.operation === operation))
      applyOperation(replica.state, replica.id, operation);
  }
  replica.rejected = replica.rejected.slice(-REJECTED_MAX);
  replica.outbox = replica.outbox.filter(
    ({ operation: { stamp } }) => stamp > taken.stamp && !voids.has(stamp),
  );
  if (taken.stamp > replica.acked.stamp) {
    replica.state.seen.set(replica.id, taken.stamp);
    replica.acked = taken;
  }
  if (replica.cursor !== undefined) replica.cursor.version += versions;
}

/**
 * The digest of what is acknowledged is that of the operations themselves.
 * @param {number} before @param {Waiting[]} done @param {import("./frames.mjs").Taken} taken
 */
function needDigest(before, done, { stamp, digest }) {
  if (done.at(-1)?.operation.stamp !== stamp || digest === 0) return;
  const chained = done.reduce((last, { operation }) => digestOf(last, operation), before);
  need(chained === digest, "a digest of other operations", "checksum");
}

/** @param {Replica} replica @param {Reader} reader */
function next(replica, reader) {
  const context = new Context({ direction: "stored" });
  const author = context.readAuthor(reader);
  const { through, operations } = readDelta(reader, context);
  for (const operation of operations) applyOperation(replica.state, author, operation);
  replica.state.seen.set(author, through);
  observe(replica, through);
  if (replica.cursor !== undefined) replica.cursor.version += 1n;
}

/** The shape of the vectors. @param {Replica} replica */
export function replicaToJson(replica) {
  const { household, epoch, cursor, owed, rejected } = replica;
  return {
    id: idToJson(replica.id),
    ...(household === undefined ? {} : { household }),
    ...(epoch === undefined ? {} : { epoch: idToJson(epoch) }),
    ...(cursor === undefined ? {} : { cursor: cursorToJson(cursor) }),
    owes_offer: owed !== undefined,
    ...(owed === undefined ? {} : { owed: owed.map(stateToJson) }),
    acked: takenToJson(replica.acked),
    session: numberToJson(replica.session),
    clock: stampToJson(replica.clock),
    offset_ms: numberToJson(replica.offsetMs),
    sent_through: stampToJson(replica.sentThrough),
    outbox: replica.outbox.map(({ operation, floor, wall }) => ({
      ...operationToJson(operation),
      floor: stampToJson(floor),
      wall: numberToJson(wall),
    })),
    rejected: rejected.map(({ operation, reason }) => ({ ...operationToJson(operation), reason })),
    state: stateToJson(replica.state),
  };
}

/** @param {Cursor} cursor */
function cursorToJson({ epoch, version }) {
  return { epoch: idToJson(epoch), version: numberToJson(version) };
}
