// The two frames about taste of docs/protocol.md. The encoded patterns in them stay bytes.
import { checkedId, need, numberToJson, Reader, toHex } from "./numbers.mjs";

const REQUEST_TAG = 4;
const ANSWER_TAG = 8;
const CAP_BYTES_MIN = 1_024;
const CAP_BYTES_MAX = 65_536;
const TRENDS_MAX = 256;
const ANSWER_LISTED_MAX = 1_024;
const REGION_NAME_BYTES_MAX = 8;
const GENRE_BYTES_MAX = 32;
const PATTERN_ID_BYTES = 16;
const RECEIPTS = 6;
const U32_MAX = 2 ** 32 - 1;

const REQUEST = { optedOut: 1, wantsTitles: 2, batch: 4, gone: 8 };
const ANSWER = {
  full: 1,
  more: 2,
  notPrivate: 4,
  receipt: 8,
  patterns: 16,
  removed: 32,
  trends: 64,
  titles: 128,
};
const OUTCOMES = /** @type {const} */ (["ok", "conflict", "rate_limited"]);

/**
 * What a frame about taste says, in the shape of the vectors.
 * @param {"client" | "server"} from @param {Uint8Array} bytes
 */
export function decodeTaste(from, bytes) {
  const reader = new Reader(bytes);
  const frame = from === "client" ? readRequest(reader) : readAnswer(reader);
  reader.end();
  return frame;
}

/** @param {Reader} reader */
function readRequest(reader) {
  need(reader.u8() === REQUEST_TAG, "tag and number of a request");
  const flags = reader.u8();
  need(flags < REQUEST.gone * 2, "flags of a request");
  const known = readKnown(reader);
  const position = u32(reader);
  const tables = reader.fixed32();
  const answerBytes = u32(reader);
  need(
    answerBytes >= CAP_BYTES_MIN && answerBytes <= CAP_BYTES_MAX,
    "bytes of the answer",
    "limit",
  );
  const gone = flags & REQUEST.gone ? readIds(reader) : [];
  const batch = flags & REQUEST.batch ? { number: u32(reader), message: message(reader) } : null;
  return {
    tag: "request",
    opted_out: (flags & REQUEST.optedOut) !== 0,
    wants_titles: (flags & REQUEST.wantsTitles) !== 0,
    known,
    position,
    tables,
    answer_bytes: answerBytes,
    gone,
    batch,
  };
}

/** @param {Reader} reader */
function readAnswer(reader) {
  need(reader.u8() === ANSWER_TAG, "tag and number of an answer");
  const outcome = OUTCOMES[reader.u8()];
  need(outcome !== undefined, "outcome of an answer");
  if (outcome === "rate_limited") return { tag: "answer", outcome, retry_after_s: u32(reader) };
  const flags = reader.u8();
  /** @param {number} flag */
  const has = (flag) => (flags & flag) !== 0;
  return {
    tag: "answer",
    outcome,
    full: has(ANSWER.full),
    more: has(ANSWER.more),
    not_private: has(ANSWER.notPrivate),
    known: readKnown(reader),
    next: u32(reader),
    epoch: numberToJson(reader.varint()),
    tables: reader.fixed32(),
    receipt: has(ANSWER.receipt) ? readReceipt(reader) : null,
    patterns: has(ANSWER.patterns) ? message(reader) : null,
    removed: has(ANSWER.removed) ? readIds(reader) : [],
    trends: has(ANSWER.trends) ? readTrends(reader) : null,
    titles: has(ANSWER.titles) ? readTitles(reader) : null,
  };
}

/** @param {Reader} reader */
function readKnown(reader) {
  const [version, titles] = [reader.varint(), reader.varint()];
  const trends = reader.varint();
  return {
    version: numberToJson(version),
    titles: numberToJson(titles),
    trends: numberToJson(trends),
  };
}

/** @param {Reader} reader */
function readReceipt(reader) {
  const number = u32(reader);
  const taken = reader.u8();
  need(taken < RECEIPTS, "what became of a batch");
  return { number, taken };
}

/** @param {Reader} reader */
function readTrends(reader) {
  const region = reader.text(REGION_NAME_BYTES_MAX);
  const untilMs = numberToJson(reader.varint());
  const list = readList(reader, TRENDS_MAX, () => {
    const content = reader.contentId();
    const genre = reader.text(GENRE_BYTES_MAX);
    const lower = genre.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    need(genre === lower && checkedId(genre) === genre, "a genre");
    return { content, genre, score: u32(reader) };
  });
  return { region, until_ms: untilMs, list };
}

/** @param {Reader} reader */
function readTitles(reader) {
  const contents = readList(reader, ANSWER_LISTED_MAX, () => reader.contentId());
  return { contents, message: message(reader) };
}

/** @param {Reader} reader */
function readIds(reader) {
  return readList(reader, ANSWER_LISTED_MAX, () =>
    toHex(reader.raw(PATTERN_ID_BYTES).slice().reverse()),
  );
}

/** @param {Reader} reader */
function message(reader) {
  return toHex(reader.raw(reader.small(CAP_BYTES_MAX, "limit")));
}

/** @template T @param {Reader} reader @param {number} max @param {() => T} read @returns {T[]} */
function readList(reader, max, read) {
  const list = [];
  for (let left = reader.small(max, "limit"); left > 0; left -= 1) list.push(read());
  return list;
}

/** @param {Reader} reader */
function u32(reader) {
  return reader.small(U32_MAX);
}
