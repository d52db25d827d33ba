// Operations of docs/protocol.md: deltas read with the context that both ends of a direction keep,
// and the digest of an operation.
import {
  COUNTER_MAX,
  DEVICE_TEXT_BYTES_MAX,
  DecodeError,
  fnv1a,
  msOf,
  need,
  PROFILE_NAME_BYTES_MAX,
  Reader,
  stampOf,
  Writer,
  zigzag,
} from "./numbers.mjs";
import {
  compareDots,
  DEFAULT_PROFILE,
  DEVICE_TYPE_COUNT,
  joinTitle,
  NUMBER_MAX,
  needCapabilities,
  needStampMs,
  OBSERVED_MAX,
  PLAYING,
  splitTitle,
} from "./state.mjs";

export const CONTEXT_ENTRIES_MAX = 1_024;
const DELTA_OPERATIONS_MAX = 500;
const U32_MAX = 2 ** 32 - 1;

/** Bits of the head. */
const OTHER_KIND = 0x80;
const PROFILE_FOLLOWS = 0x40;
const TITLE_FOLLOWS = 0x20;
const DURATION_FOLLOWS = 0x10;
const POSITION_FOLLOWS = 0x08;
const TIME_FOLLOWS = 0x04;
/** Kinds by the low bits of the head. */
const KINDS = /** @type {const} */ ({
  0: "add",
  1: "remove",
  2: "progress_removed",
  3: "name",
  4: "delete",
  5: "device",
  7: "end",
});
/** The kinds up to this one have a title. */
const TITLE_KIND_MAX = 2;
/** Form of the time: 0, 1, 2 are this many bytes more than their own number. */
const TIME_BYTES_MIN = 2;
const TIME_RELATIVE = 3;

/** @typedef {import("./state.mjs").Dot} Dot */
/** @typedef {import("./state.mjs").Operation} Operation */
/** @typedef {import("./state.mjs").Progress} Progress */
/** @typedef {{ content: string, progress?: Progress, stamp: bigint }} Title */
/** @typedef {{ profile: bigint, title: Title | undefined, pace: bigint }} Author */
/**
 * The adds of a title that an observation without dots names, given how many versions the author
 * had seen beyond the context's.
 * @typedef {(profile: bigint, content: string, version: bigint) => Dot[]} Live
 */
/** @typedef {{ through: bigint, operations: Operation[] }} Delta */
/**
 * @typedef {object} ContextOptions
 * @property {bigint} [startMs] the welcome's time
 * @property {bigint} [version] the one that the welcome leads to
 * @property {"up" | "down" | "stored"} direction in what is stored, no title is remembered
 */

/** @returns {Author} */
function newAuthor() {
  return { profile: DEFAULT_PROFILE, title: undefined, pace: 0n };
}

/** What both ends of one direction remember. */
export class Context {
  /** @type {Title[]} */
  titles = [];
  /** @type {string[]} */
  prefixes = [];
  /** @type {bigint[]} */
  replicas = [];
  /** @type {Map<bigint, Author>} */
  authors = new Map();
  author = newAuthor();

  /** @param {ContextOptions} options */
  constructor({ direction, startMs = 0n, version = 0n }) {
    this.direction = direction;
    this.last = stampOf(startMs, 0);
    this.version = version;
  }

  /** @param {Reader} reader @returns {bigint} the author of an update */
  readAuthor(reader) {
    const replica = this.readReplica(reader);
    this.author = this.authors.get(replica) ?? newAuthor();
    this.authors.set(replica, this.author);
    return replica;
  }

  /** @param {Reader} reader */
  readReplica(reader) {
    const place = reader.varint();
    if (place > 0n) {
      need(place <= this.replicas.length, "a replica that was not named yet", "limit");
      return /** @type {bigint} */ (this.replicas[Number(place) - 1]);
    }
    if (this.replicas.length === CONTEXT_ENTRIES_MAX) this.#forgetReplicas();
    const replica = reader.fixed64();
    need(!this.replicas.includes(replica), "a known replica by its id");
    this.replicas.push(replica);
    return replica;
  }

  /** @param {Reader} reader @returns {Title} the title that follows */
  readTitle(reader) {
    const word = reader.varint();
    if (this.direction === "stored") {
      need(word === 0n, "what is stored names titles by their ids");
      return { content: reader.contentId(), stamp: 0n };
    }
    if ((word & 1n) === 1n) {
      const back = word >> 1n;
      need(back < BigInt(this.titles.length), "a title that was not named yet");
      return /** @type {Title} */ (this.titles.at(-1 - Number(back)));
    }
    if (this.titles.length === CONTEXT_ENTRIES_MAX) this.#forgetTitles();
    const content = word === 0n ? reader.contentId() : this.#withPrefix((word >> 1n) - 1n);
    need(!this.titles.some((title) => title.content === content), "a known title as a new one");
    const { prefix, number } = splitTitle(content);
    const known = this.prefixes.includes(prefix);
    need(word > 0n || number === undefined || !known, "a known prefix as a new one");
    if (number !== undefined && !known) this.prefixes.push(prefix);
    const title = { content, stamp: 0n };
    this.titles.push(title);
    return title;
  }

  /** @param {bigint} word */
  #withPrefix(word) {
    const count = BigInt(this.prefixes.length);
    need(count > 0n, "a prefix that was not named yet");
    const number = word / count;
    need(number <= BigInt(NUMBER_MAX), "a title's number of more than 15 digits");
    const prefix = /** @type {string} */ (this.prefixes[Number(word % count)]);
    return joinTitle(prefix, Number(number));
  }

  /** A client's author is in no list. */
  #forgetReplicas() {
    this.replicas = [];
    this.authors.clear();
    if (this.direction !== "up") this.author = newAuthor();
  }

  #forgetTitles() {
    this.titles = [];
    this.prefixes = [];
    this.author.title = undefined;
    for (const author of this.authors.values()) author.title = undefined;
  }
}

/** Reads the operations of one delta. */
class DeltaReader {
  /** @type {Operation[]} */
  #operations = [];
  #reader;
  #context;
  #live;

  /** @param {Reader} reader @param {Context} context @param {Live} live */
  constructor(reader, context, live) {
    this.#reader = reader;
    this.#context = context;
    this.#live = live;
  }

  /** @returns {Delta} */
  delta() {
    /** @type {bigint | undefined} */
    let through;
    let ended = false;
    let count = 0;
    while (this.#reader.left > 0) {
      need(!ended, "an operation after the end");
      const operation = this.operation();
      need(operation.stamp > 0n, "the stamp of nobody");
      need(through === undefined || operation.stamp > through, "stamps that do not ascend");
      through = operation.stamp;
      count += 1;
      need(count <= DELTA_OPERATIONS_MAX, "too many operations", "limit");
      ended = operation.kind === "end";
      if (!ended) this.#operations.push(/** @type {Operation} */ (operation));
    }
    need(through !== undefined, "a delta of nothing");
    return { through, operations: this.#operations };
  }

  /** @returns {Operation | { stamp: bigint, kind: "end" }} */
  operation() {
    const head = this.#reader.u8();
    return (head & OTHER_KIND) === 0 ? this.#progress(head) : this.#other(head);
  }

  /** @param {number} head */
  #profile(head) {
    const { author } = this.#context;
    if ((head & PROFILE_FOLLOWS) === 0) return author.profile;
    const profile = this.#reader.fixed64();
    need(profile !== author.profile, "the author's last profile as another one");
    author.profile = profile;
    return profile;
  }

  /** @param {number} head */
  #title(head) {
    const { author, direction } = this.#context;
    if ((head & TITLE_FOLLOWS) === 0) {
      need(author.title !== undefined, "the author has no last title");
      return author.title;
    }
    const title = this.#context.readTitle(this.#reader);
    need(title !== author.title, "the author's last title as another one");
    if (direction !== "stored") author.title = title;
    return title;
  }

  /** @param {number} head @returns {Operation} */
  #progress(head) {
    const context = this.#context;
    const profile = this.#profile(head);
    const title = this.#title(head);
    const before = title.progress;
    const paced = stampOf(msOf(title.stamp) + context.author.pace, 0);
    const predicted = before === undefined ? context.last : paced;
    const stamp = this.#progressStamp(head, predicted);
    const since = msOf(stamp) - msOf(title.stamp);
    const guess = before === undefined ? 0 : predictedPosition(before, since);
    const position = this.#position(head, guess);
    const duration = this.#duration(head, before?.duration ?? 0);
    const value = { state: head & 3, position, duration };
    if (before?.state === PLAYING) context.author.pace = since < 0n ? 0n : since;
    title.progress = value;
    title.stamp = stamp;
    context.last = stamp;
    const content = title.content;
    return { stamp, profile, kind: "progress", content, progress: value };
  }

  /** @param {number} head @param {bigint} predicted */
  #progressStamp(head, predicted) {
    if ((head & TIME_FOLLOWS) === 0) {
      needStampMs(msOf(predicted));
      return predicted;
    }
    const stamp = this.#reader.relativeStamp(predicted);
    need(stamp !== predicted, "the predicted stamp as another one");
    return stamp;
  }

  /** @param {number} head @param {number} guess */
  #position(head, guess) {
    const follows = (head & POSITION_FOLLOWS) !== 0;
    const moved = follows ? this.#reader.signed() : 0n;
    need(!follows || moved !== 0n, "the predicted position as another one");
    const position = BigInt(guess) + moved;
    need(position >= 0n && position <= BigInt(U32_MAX), "a position outside 32 bits");
    return Number(position);
  }

  /** @param {number} head @param {number} before */
  #duration(head, before) {
    if ((head & DURATION_FOLLOWS) === 0) return before;
    const duration = this.#reader.small(U32_MAX);
    need(duration !== before, "the last duration as another one");
    return duration;
  }

  /** @param {number} head @returns {Operation | { stamp: bigint, kind: "end" }} */
  #other(head) {
    const code = head & 7;
    need(code in KINDS, "an unknown kind");
    const kind = KINDS[/** @type {keyof typeof KINDS} */ (code)];
    const titled = code <= TITLE_KIND_MAX;
    need(titled || (head & TITLE_FOLLOWS) === 0, `a title of ${kind}`);
    const unprofiled = kind === "end" || kind === "device";
    need(!unprofiled || (head & PROFILE_FOLLOWS) === 0, `a profile of ${kind}`);
    const profile = unprofiled ? DEFAULT_PROFILE : this.#profile(head);
    const content = titled ? { content: this.#title(head).content } : {};
    const stamp = this.#time((head >> 3) & 3);
    this.#context.last = stamp;
    if (kind === "end") return { stamp, kind };
    const operation = { stamp, profile, kind, ...content };
    return { ...operation, ...this.#payload(operation) };
  }

  /** @param {number} form */
  #time(form) {
    const { last } = this.#context;
    if (form === TIME_RELATIVE) {
      const stamp = this.#reader.relativeStamp(last);
      need(timeForm(stamp, last) === TIME_RELATIVE, "a relative stamp where bytes would do");
      return stamp;
    }
    const after = this.#reader.fixed(TIME_BYTES_MIN + form);
    const stamp = stampOf(needStampMs(msOf(last) + after), 0);
    need(timeForm(stamp, last) === form, "a time in more bytes than it needs");
    return stamp;
  }

  /** @param {Omit<Operation, "observed">} operation @returns {Partial<Operation>} */
  #payload({ kind, profile, content = "", stamp }) {
    if (kind === "add" || kind === "remove") {
      return { observed: this.#observed(profile, content, stamp) };
    }
    if (kind === "name") return { name: this.#reader.text(PROFILE_NAME_BYTES_MAX) };
    if (kind !== "device") return {};
    const device = this.#reader.contentId();
    const present = this.#reader.u8();
    need(present <= 1, "a record that is neither there nor not");
    return present === 0 ? { device } : { device, record: readRecord(this.#reader) };
  }

  /** @param {bigint} profile @param {string} content @param {bigint} stamp */
  #observed(profile, content, stamp) {
    const word = this.#reader.varint();
    if (word === 0n) return this.#observedDots(stamp);
    const again = this.#operations.some(
      ({ kind, ...other }) =>
        (kind === "add" || kind === "remove") &&
        other.profile === profile &&
        other.content === content,
    );
    need(!again, "a second operation on a title without its dots");
    need(this.#context.direction === "up" || word === 1n, "versions the server does not count");
    this.#context.version += word - 1n;
    return this.#live(profile, content, this.#context.version).toSorted(compareDots);
  }

  /** @param {bigint} stamp of the operation */
  #observedDots(stamp) {
    const count = this.#reader.small(OBSERVED_MAX, "limit");
    /** @type {Dot[]} */
    const dots = [];
    for (let left = count; left > 0; left -= 1) {
      const replica = this.#context.readReplica(this.#reader);
      const last = dots.at(-1);
      const dot = { replica, stamp: this.#reader.relativeStamp(last?.stamp ?? stamp) };
      need(last === undefined || compareDots(last, dot) < 0, "unsorted dots");
      dots.push(dot);
    }
    return dots;
  }
}

/**
 * Where a title is after some time.
 * @param {Progress} before @param {bigint} sinceMs
 */
function predictedPosition({ state, position, duration }, sinceMs) {
  if (state !== PLAYING) return position;
  const seconds = sinceMs + 500n < 0n ? 0 : Number((sinceMs + 500n) / 1000n);
  const end = duration === 0 ? U32_MAX : duration;
  return Math.max(position, Math.min(position + seconds, end));
}

/** The form that a time is written in. @param {bigint} stamp @param {bigint} last */
function timeForm(stamp, last) {
  const after = msOf(stamp) - msOf(last);
  const plain = (stamp & BigInt(COUNTER_MAX)) === 0n && after >= 0n && after < 1n << 32n;
  if (!plain) return TIME_RELATIVE;
  return [16n, 24n].filter((bits) => after >= 1n << bits).length;
}

/** A device's record as part of an operation. @param {Reader} reader */
function readRecord(reader) {
  const type = reader.u8();
  need(type < DEVICE_TYPE_COUNT, "an unknown device type");
  const capabilities = reader.small(U32_MAX);
  needCapabilities(capabilities);
  const name = reader.text(DEVICE_TEXT_BYTES_MAX);
  const platform = reader.text(DEVICE_TEXT_BYTES_MAX);
  return { type, capabilities, name, platform, app_version: reader.text(DEVICE_TEXT_BYTES_MAX) };
}

/** Where nothing says what lives. @returns {Dot[]} */
function nothingLives() {
  throw new DecodeError("invalid", "there is no state to see what was observed");
}

/** Operations to the end. @param {Reader} reader @param {Context} context @param {Live} [live] */
export function readDelta(reader, context, live = nothingLives) {
  return new DeltaReader(reader, context, live).delta();
}

/** One stored operation, from an empty context. @param {Reader} reader */
export function readStoredOperation(reader) {
  const context = new Context({ direction: "stored" });
  const operation = new DeltaReader(reader, context, nothingLives).operation();
  need(operation.kind !== "end", "an end where an operation belongs");
  return /** @type {Operation} */ (operation);
}

/** The digest of an operation after another one. @param {number} before @param {Operation} of */
export function digestOf(before, { kind, stamp, profile, ...operation }) {
  const writer = new Writer();
  const { content, progress } = operation;
  writer.fixed(4, BigInt(before));
  const places =
    (profile === 0n ? 0 : PROFILE_FOLLOWS) | (content === undefined ? 0 : TITLE_FOLLOWS);
  const form = timeForm(stamp, 0n);
  writer.raw([places | (progress === undefined ? otherHead(kind, form) : progressHead(progress))]);
  if (profile !== 0n) writer.fixed(8, profile);
  if (content !== undefined) {
    writer.varint(0n);
    writer.text(content);
  }
  if (progress !== undefined || form === TIME_RELATIVE) writer.relativeStamp(stamp, 0n);
  else writer.fixed(TIME_BYTES_MIN + form, msOf(stamp));
  if (progress?.position) writer.varint(zigzag(BigInt(progress.position)));
  if (progress?.duration) writer.varint(BigInt(progress.duration));
  if (kind === "add" || kind === "remove") writer.varint(1n);
  if (operation.name !== undefined) writer.text(operation.name);
  if (operation.device !== undefined) writeDevice(writer, operation.device, operation.record);
  return fnv1a(writer.bytes);
}

/** @param {Operation["kind"]} kind @param {number} form */
function otherHead(kind, form) {
  const code = Object.entries(KINDS).find(([, name]) => name === kind)?.[0];
  return OTHER_KIND | (form << 3) | Number(code);
}

/** @param {Progress} progress */
function progressHead({ state, position, duration }) {
  const follows = (position === 0 ? 0 : POSITION_FOLLOWS) | (duration === 0 ? 0 : DURATION_FOLLOWS);
  return state | follows | TIME_FOLLOWS;
}

/**
 * @param {Writer} writer
 * @param {string} device @param {import("./state.mjs").Record | undefined} record
 */
function writeDevice(writer, device, record) {
  writer.text(device);
  writer.raw([record === undefined ? 0 : 1]);
  if (record === undefined) return;
  writer.raw([record.type]);
  writer.varint(BigInt(record.capabilities));
  for (const text of [record.name, record.platform, record.app_version]) writer.text(text);
}
