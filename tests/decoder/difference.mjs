// A difference of docs/protocol.md: the present values of the keys that were touched, put in place
// of the receiver's. A state is the difference from the empty one.
import {
  bitLength,
  CONTENT_ID_BYTES_MAX,
  COUNTER_MAX,
  checkedId,
  fnv1a,
  need,
  Reader,
  stampOf,
  utf8,
  Writer,
} from "./numbers.mjs";
import { even, NumberModel, RangeReader, rare } from "./rangecoder.mjs";
import {
  compareDots,
  compareIds,
  compareTexts,
  DEFAULT_PROFILE,
  DEVICE_TYPE_COUNT,
  DEVICES_MAX,
  ENTRIES_MAX,
  emptyState,
  entryOf,
  FINISHED,
  joinTitle,
  latestMs,
  NUMBER_MAX,
  needCapabilities,
  needStampMs,
  needWithinLimits,
  OBSERVED_MAX,
  PLAY_STATE_COUNT,
  PROFILES_EVER_MAX,
  PROFILES_MAX,
  REPLICAS_MAX,
  splitTitle,
  tidyEntry,
} from "./state.mjs";

const STATE_VERSION = 1;
const OFFER_STATES_MAX = 8;
const DIFFERENCE_BYTES_MAX = 524_288;
const U32_MAX = 2 ** 32 - 1;
/** The greatest distance in seconds of a base, and how many steps of it an age takes. */
const AGE_STEPS_MAX = 39;
const STAMP_SECONDS_MAX = Math.floor(2 ** 48 / 1000);
/** Expected length in bits of the base's seconds: from the others' highest stamp, or from 1970. */
const BASE_BITS = 15;
const BASE_BITS_FROM_ZERO = 31;
/** Trees of a text: by the byte before, modulo this. */
const TEXT_TREES = 32;

/** @typedef {import("./rangecoder.mjs").Tree} Tree */
/** @typedef {import("./state.mjs").State} State */
/** @typedef {import("./state.mjs").Dot} Dot */
/** @typedef {import("./state.mjs").Profile} Profile */

/** @returns {Tree} */
const tree = () => new Map();

/** Models of an entry: one set for new titles, one for known ones. @param {boolean} known */
function entryModels(known) {
  return { adds: even(), progress: even(), noAdds: rare(known ? 2 : 20), noProgress: rare(20) };
}

/** All models of one difference. */
function differenceModels() {
  return {
    touched: even(),
    countSome: rare(2),
    textLength: new NumberModel(4, CONTENT_ID_BYTES_MAX),
    textBytes: Array.from({ length: TEXT_TREES }, tree),
    raised: even(),
    baseBefore: rare(2),
    baseMs: even(),
    fractions: even(),
    ageFollows: rare(1),
    counter: rare(6),
    otherReplica: rare(4),
    touchedReplica: tree(),
    otherReplicaPlace: tree(),
    named: rare(1),
    titlesTouched: rare(1),
    newPrefix: rare(2),
    noNumber: rare(2),
    gap: new NumberModel(12, NUMBER_MAX, true),
    number: new NumberModel(12, NUMBER_MAX),
    newEntry: entryModels(false),
    knownEntry: entryModels(true),
    severalAdds: rare(4),
    takenOff: rare(2),
    otherDuration: rare(2),
    duration: new NumberModel(13, U32_MAX),
    playState: tree(),
    atEnd: Array.from({ length: PLAY_STATE_COUNT }, even),
    beyondEnd: rare(6),
    beyond: new NumberModel(6, U32_MAX),
    before: new NumberModel(6, U32_MAX),
    deviceTouched: rare(3),
    deviceType: tree(),
    capabilities: Array.from({ length: 32 }, even),
    seenHigher: rare(1),
  };
}

/** Reads one difference and puts its values into a state. */
class DifferenceReader {
  #models = differenceModels();
  #state;
  #range;
  /** @type {bigint[]} */
  #touched = [];
  /** @type {bigint[]} */
  #others = [];
  /** The highest stamp here, by touched replica. @type {Map<bigint, bigint>} */
  #highest = new Map();
  #base = 0n;
  #whole = true;
  #age = new NumberModel(0, 0);

  /** @param {Uint8Array} bytes @param {State} state of the receiver, changed in place */
  constructor(bytes, state) {
    this.#range = new RangeReader(bytes);
    this.#state = state;
  }

  apply() {
    if (this.#bit("touched") === 1) {
      this.#replicas();
      this.#stamps();
      this.#profiles();
      this.#devices();
      this.#seen();
    }
    this.#range.end();
    needWithinLimits(this.#state);
  }

  /**
   * @typedef {ReturnType<typeof differenceModels>} Models
   * @typedef {{ [K in keyof Models]: Models[K] extends { lean: number } ? K : never }} Bits
   * @typedef {Bits[keyof Models]} BitName
   */
  /** @param {BitName} name of a model */
  #bit(name) {
    return this.#range.bit(this.#models[name]);
  }

  /** @param {number} max */
  #count(max) {
    const count = this.#bit("countSome") === 0 ? 0 : this.#range.small() + 1;
    need(count <= max, `a list of ${count}`, "limit");
    return count;
  }

  /** @param {number} max */
  #ids(max) {
    /** @type {bigint[]} */
    const ids = [];
    for (let left = this.#count(max); left > 0; left -= 1) {
      const id = this.#range.direct64();
      need(ids.length === 0 || id > /** @type {bigint} */ (ids.at(-1)), "unsorted ids");
      ids.push(id);
    }
    return ids;
  }

  #text() {
    const length = this.#models.textLength.read(this.#range);
    const bytes = new Uint8Array(length);
    let before = 0;
    for (let at = 0; at < length; at += 1) {
      const of = /** @type {Tree} */ (this.#models.textBytes[before % TEXT_TREES]);
      before = this.#range.symbol(of, 256);
      bytes[at] = before;
    }
    return utf8(bytes);
  }

  #replicas() {
    const { seen } = this.#state;
    const fresh = this.#ids(REPLICAS_MAX);
    const known = [...seen.keys()].filter((id) => !fresh.includes(id)).sort(compareIds);
    const raised = known.filter(() => this.#bit("raised") === 1);
    this.#touched = [...fresh, ...raised].sort(compareIds);
    this.#others = known.filter((id) => !raised.includes(id));
  }

  #stamps() {
    const { seen } = this.#state;
    const from = latestMs(this.#others.map((id) => seen.get(id) ?? 0n));
    const before = this.#bit("baseBefore") === 1;
    const bits = from === 0n ? BASE_BITS_FROM_ZERO : BASE_BITS;
    const seconds = new NumberModel(bits, STAMP_SECONDS_MAX).read(this.#range);
    const ms = this.#bit("baseMs") === 1 ? this.#range.uniform(1000) : 0;
    const distance = BigInt(seconds) * 1000n + BigInt(ms);
    this.#base = needStampMs(before ? from - distance : from + distance);
    this.#whole = this.#bit("fractions") === 0;
    const age = this.#bit("ageFollows") === 1 ? this.#greatestAge() : seconds;
    this.#age = new NumberModel(bitLength(age), age);
  }

  #greatestAge() {
    const steps = this.#range.direct(6);
    need(steps <= AGE_STEPS_MAX, "an age that no stamp has");
    const low = Math.min(steps, 3);
    const more = this.#range.direct(Math.max(0, low - 1));
    const first = steps === 0 ? 0 : 2 ** (low - 1);
    return (first + more + 1) * 2 ** Math.max(0, steps - 3) - 1;
  }

  #stamp() {
    const seconds = this.#age.read(this.#range);
    const ms = this.#whole ? 0 : this.#range.uniform(1000);
    const at = needStampMs(this.#base - BigInt(seconds) * 1000n - BigInt(ms));
    const counter = this.#bit("counter") === 1 ? this.#range.small() + 1 : 0;
    need(counter <= COUNTER_MAX, "a logical counter above 16 bits");
    return stampOf(at, counter);
  }

  /** @returns {Dot} */
  #dot() {
    const both = this.#touched.length > 0 && this.#others.length > 0;
    const other = both ? this.#bit("otherReplica") === 1 : this.#touched.length === 0;
    const list = other ? this.#others : this.#touched;
    need(list.length > 0, "a dot of no replica");
    const of = other ? this.#models.otherReplicaPlace : this.#models.touchedReplica;
    const replica = /** @type {bigint} */ (list[this.#range.symbol(of, list.length)]);
    const stamp = this.#stamp();
    if (other) need(stamp <= (this.#state.seen.get(replica) ?? 0n), "a dot that was not seen");
    else if (stamp > (this.#highest.get(replica) ?? -1n)) this.#highest.set(replica, stamp);
    return { replica, stamp };
  }

  #profiles() {
    const { profiles, deleted } = this.#state;
    const gone = this.#ids(PROFILES_EVER_MAX);
    const fresh = this.#ids(PROFILES_MAX);
    for (const id of [...gone, ...fresh]) {
      need(id !== DEFAULT_PROFILE, "the default profile is always there");
    }
    for (const id of gone) {
      profiles.delete(id);
      deleted.add(id);
    }
    for (const id of fresh) {
      need(!deleted.has(id), "a new profile that was deleted");
      if (!profiles.has(id)) profiles.set(id, { titles: new Map() });
    }
    for (const id of [...profiles.keys()].sort(compareIds)) {
      const profile = /** @type {Profile} */ (profiles.get(id));
      if (fresh.includes(id) || this.#bit("named") === 1) {
        profile.name = { dot: this.#dot(), text: this.#text() };
      }
      if (this.#bit("titlesTouched") === 1) this.#titles(profile);
    }
  }

  /** @param {Profile} profile */
  #titles(profile) {
    const usual = usualPrefix(profile);
    const both = new Set(profile.titles.keys());
    /** @type {ReturnType<typeof splitTitle> | undefined} */
    let before;
    for (let left = this.#count(ENTRIES_MAX); left > 0; left -= 1) {
      before = this.#title(before, usual);
      const content = joinTitle(before.prefix, before.number);
      both.delete(content);
      this.#entry(profile, content, false);
    }
    let left = this.#count(ENTRIES_MAX);
    if (left === 0) return;
    const titles = [...both].sort(compareTexts);
    const check = this.#range.direct(8);
    const written = new Writer();
    for (const content of titles) written.text(content);
    need(check === fnv1a(written.bytes) % 256, "other titles than the sender's", "checksum");
    need(left <= titles.length, "more known titles than there are");
    titles.forEach((content, at) => {
      if (!this.#range.chosen(left, titles.length - at)) return;
      left -= 1;
      this.#entry(profile, content, true);
    });
  }

  /**
   * @param {ReturnType<typeof splitTitle> | undefined} before
   * @param {string | undefined} usual prefix
   */
  #title(before, usual) {
    const guess = before === undefined ? usual : before.prefix;
    const same = this.#bit("newPrefix") === 0;
    const prefix = same ? guess : this.#text();
    need(prefix !== undefined, "there is no usual prefix");
    if (before !== undefined && same) {
      const first = before.number === undefined ? 0 : before.number + 1;
      const model = before.number === undefined ? this.#models.number : this.#models.gap;
      const number = first + model.read(this.#range);
      need(number <= NUMBER_MAX, "a title's number of more than 15 digits");
      return { prefix, number };
    }
    need(before === undefined || compareTexts(before.prefix, prefix) < 0, "unsorted prefixes");
    const number = this.#bit("noNumber") === 1 ? undefined : this.#models.number.read(this.#range);
    return { prefix, number };
  }

  /** @param {Profile} profile @param {string} content @param {boolean} known */
  #entry(profile, content, known) {
    const models = known ? this.#models.knownEntry : this.#models.newEntry;
    const adds = this.#range.bit(models.adds) === 1;
    const progress = adds ? this.#range.bit(models.progress) === 1 : true;
    const noAdds = adds && this.#range.bit(models.noAdds) === 1;
    const noProgress = progress && this.#range.bit(models.noProgress) === 1;
    const entry = entryOf(profile, content);
    if (adds) entry.adds = noAdds ? [] : this.#adds();
    if (progress) {
      const duration = known ? entry.progress?.value?.duration : undefined;
      entry.progress = noProgress ? undefined : this.#progress(known, duration);
    }
    tidyEntry(profile, content);
  }

  #adds() {
    const count = this.#bit("severalAdds") === 0 ? 1 : this.#range.small() + 2;
    need(count <= OBSERVED_MAX, `${count} adds of a title`, "limit");
    /** @type {Dot[]} */
    const dots = [];
    for (let left = count; left > 0; left -= 1) {
      const dot = this.#dot();
      const last = dots.at(-1);
      need(last === undefined || compareDots(last, dot) < 0, "unsorted adds");
      dots.push(dot);
    }
    return dots;
  }

  /** @param {boolean} known @param {number | undefined} before the receiver's duration */
  #progress(known, before) {
    const dot = this.#dot();
    if (this.#bit("takenOff") === 1) return { dot };
    const same = known && this.#bit("otherDuration") === 0;
    const duration = same ? before : this.#models.duration.read(this.#range);
    need(duration !== undefined, "the receiver has no duration");
    const state = this.#range.symbol(this.#models.playState, PLAY_STATE_COUNT);
    return { dot, value: { state, position: this.#position(state, duration), duration } };
  }

  /** @param {number} state @param {number} duration */
  #position(state, duration) {
    const atEnd = /** @type {import("./rangecoder.mjs").Model} */ (this.#models.atEnd[state]);
    if (this.#range.bit(atEnd) === 1) return duration;
    if (duration === 0 || this.#bit("beyondEnd") === 1) {
      const beyond = duration + 1 + this.#models.beyond.read(this.#range);
      need(beyond <= U32_MAX, "a position above 32 bits");
      return beyond;
    }
    if (state !== FINISHED) return this.#range.uniform(duration);
    const position = duration - 1 - this.#models.before.read(this.#range);
    need(position >= 0, "a position below 0");
    return position;
  }

  #devices() {
    const { devices } = this.#state;
    /** @type {string[]} */
    const fresh = [];
    for (let left = this.#count(DEVICES_MAX); left > 0; left -= 1) {
      const id = checkedId(this.#text());
      const last = fresh.at(-1);
      need(last === undefined || compareTexts(last, id) < 0, "unsorted devices");
      fresh.push(id);
    }
    const known = [...devices.keys()].filter((id) => !fresh.includes(id)).sort(compareTexts);
    for (const id of fresh) devices.set(id, this.#device(undefined));
    for (const id of known) {
      if (this.#bit("deviceTouched") === 0) continue;
      const record = devices.get(id)?.record;
      devices.set(id, this.#device(record ?? "taken off"));
    }
  }

  /** @param {import("./state.mjs").Record | "taken off" | undefined} before the receiver's */
  #device(before) {
    const dot = this.#dot();
    if (this.#bit("takenOff") === 1) return { dot };
    need(before !== "taken off", "the receiver has no record to go on from");
    const same = before ?? this.#description();
    return { dot, record: { ...same, app_version: this.#text() } };
  }

  #description() {
    const type = this.#range.symbol(this.#models.deviceType, DEVICE_TYPE_COUNT);
    const bits = this.#models.capabilities.map((model) => this.#range.bit(model));
    const capabilities = bits.reduce(
      (/** @type {number} */ all, bit, at) => all + bit * 2 ** at,
      0,
    );
    needCapabilities(capabilities);
    return { type, capabilities, name: this.#text(), platform: this.#text() };
  }

  #seen() {
    const { seen } = this.#state;
    for (const replica of this.#touched) {
      const highest = this.#highest.get(replica);
      const follows = highest === undefined || this.#bit("seenHigher") === 1;
      const stamp = follows ? this.#stamp() : highest;
      need(highest === undefined || !follows || stamp > highest, "a stamp that is not higher");
      need(stamp >= (seen.get(replica) ?? 0n), "a replica that was seen less far");
      seen.set(replica, stamp);
    }
  }
}

/** The prefix that more titles of a profile have than any other. @param {Profile} profile */
function usualPrefix({ titles }) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const content of titles.keys()) {
    const { prefix } = splitTitle(content);
    counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
  }
  const [first, second] = [...counts].sort(([, left], [, right]) => right - left);
  return first !== undefined && first[1] > (second?.[1] ?? 0) ? first[0] : undefined;
}

/**
 * Reads a difference and the receiver's state after it.
 * @param {Reader} reader @param {State} before of the receiver, left as it is
 */
export function readDifference(reader, before) {
  const length = reader.small(DIFFERENCE_BYTES_MAX, "limit");
  const bytes = reader.raw(length);
  const after = structuredClone(before);
  if (length === 0) return after;
  need(bytes.at(-1) !== 0, "a zero at the end of the range coding", "trailing");
  new DifferenceReader(bytes, after).apply();
  return after;
}

/** Passes a difference whose receiver is not here. @param {Reader} reader */
export function passDifference(reader) {
  reader.raw(reader.small(DIFFERENCE_BYTES_MAX, "limit"));
}

/** Reads a state. @param {Reader} reader */
export function readState(reader) {
  need(reader.u8() === STATE_VERSION, "another state version", "version");
  return readDifference(reader, emptyState());
}

/** States to the end, one at least. @param {Reader} reader */
export function readStates(reader) {
  const states = [readState(reader)];
  while (reader.left > 0) {
    need(states.length < OFFER_STATES_MAX, "too many states", "limit");
    states.push(readState(reader));
  }
  return states;
}

/** A whole state. @param {Uint8Array} bytes */
export function decodeState(bytes) {
  const reader = new Reader(bytes);
  const state = readState(reader);
  reader.end();
  return state;
}

/** A whole difference. @param {Uint8Array} bytes @param {State} before */
export function decodeDifference(bytes, before) {
  const reader = new Reader(bytes);
  const after = readDifference(reader, before);
  reader.end();
  return after;
}
