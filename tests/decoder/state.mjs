// The household's state as docs/protocol.md says it, what an operation does to it, and its JSON.
import {
  CONTENT_ID_BYTES_MAX,
  checkedId,
  idToJson,
  msOf,
  need,
  STAMP_MS_MAX,
  stampFromJson,
  stampToJson,
} from "./numbers.mjs";

/** Bounds of the page's table of limits. */
export const ENTRIES_MAX = 5_000;
export const PROFILES_MAX = 32;
export const PROFILES_EVER_MAX = 512;
export const OBSERVED_MAX = 64;
export const REPLICAS_MAX = 1_024;
export const DEVICES_MAX = 64;
/** Digits of the number at the end of a title, at most. */
const NUMBER_DIGITS_MAX = 15;
export const NUMBER_MAX = 10 ** NUMBER_DIGITS_MAX - 1;
/** The profile that is always there. */
export const DEFAULT_PROFILE = 0n;
/** How many values bits 0 to 3 of the capabilities can take, and have. */
const RESOLUTIONS_MASK = 16;
const RESOLUTIONS = 5;
const TYPES = 5;
const STATES = ["playing", "paused", "stopped", "finished"];
/** The play state that the clock moves. */
export const PLAYING = 0;
export const FINISHED = 3;
const DEVICE_TYPES = ["tv", "phone", "tablet", "computer", "other"];

/** @typedef {{ replica: bigint, stamp: bigint }} Dot names an operation */
/**
 * @typedef {object} Record what a device says about itself
 * @property {number} type
 * @property {number} capabilities 32 bits
 * @property {string} name
 * @property {string} platform
 * @property {string} app_version
 */
/** @typedef {{ state: number, position: number, duration: number }} Progress seconds */
/** @typedef {{ dot: Dot, value?: Progress }} ProgressEntry without a value: taken off */
/** @typedef {{ dot: Dot, record?: Record }} DeviceEntry without a record: taken off */
/** @typedef {{ adds: Dot[], progress?: ProgressEntry | undefined }} Entry of a title */
/** @typedef {{ name?: { dot: Dot, text: string }, titles: Map<string, Entry> }} Profile */
/**
 * @typedef {object} State
 * @property {Map<bigint, bigint>} seen up to which stamp, by replica
 * @property {Set<bigint>} deleted profiles
 * @property {Map<bigint, Profile>} profiles
 * @property {Map<string, DeviceEntry>} devices
 */
/** @typedef {"add" | "remove" | "progress" | "progress_removed"} TitleKind */
/** @typedef {TitleKind | "name" | "delete" | "device"} Kind */
/**
 * @typedef {object} Operation
 * @property {bigint} stamp
 * @property {bigint} profile
 * @property {Kind} kind
 * @property {string} [content]
 * @property {Dot[]} [observed]
 * @property {Progress} [progress]
 * @property {string} [name]
 * @property {string} [device]
 * @property {Record} [record]
 */

/** @returns {State} the default profile without a name and nothing else */
export function emptyState() {
  const profiles = new Map([[DEFAULT_PROFILE, { titles: new Map() }]]);
  return { seen: new Map(), deleted: new Set(), profiles, devices: new Map() };
}

/** Negative when the left dot is the lower one. @param {Dot} left @param {Dot} right */
export function compareDots(left, right) {
  return compareIds(left.stamp, right.stamp) || compareIds(left.replica, right.replica);
}

/** @param {bigint} left @param {bigint} right */
export function compareIds(left, right) {
  return left < right ? -1 : Number(left > right);
}

/** Order of texts: by their bytes. @param {string} left @param {string} right */
export function compareTexts(left, right) {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

/**
 * A title is a prefix and the number at its end, if it has one.
 * @param {string} content
 * @returns {{ prefix: string, number: number | undefined }}
 */
export function splitTitle(content) {
  const digits = /[0-9]{1,15}$/.exec(content)?.[0];
  if (digits === undefined) return { prefix: content, number: undefined };
  const number = String(Number(digits));
  return { prefix: content.slice(0, content.length - number.length), number: Number(number) };
}

/**
 * The title of a prefix and a number, which must be those that it is split into.
 * @param {string} prefix @param {number | undefined} number
 */
export function joinTitle(prefix, number) {
  const joined = prefix + (number ?? "");
  need(Buffer.byteLength(joined) <= CONTENT_ID_BYTES_MAX, "a number that makes a title too long");
  const content = checkedId(joined);
  need(splitTitle(content).prefix === prefix, `${content} has another prefix than ${prefix}`);
  return content;
}

/** @param {Profile} profile @param {string} content */
export function entryOf(profile, content) {
  const entry = profile.titles.get(content) ?? { adds: [] };
  profile.titles.set(content, entry);
  return entry;
}

/** Takes away what has no value left. @param {Profile} profile @param {string} content */
export function tidyEntry(profile, content) {
  const entry = profile.titles.get(content);
  if (entry?.adds.length === 0 && entry.progress === undefined) profile.titles.delete(content);
}

/** Says a limit that a state breaks. @param {State} state */
export function needWithinLimits(state) {
  const { seen, deleted, profiles, devices } = state;
  need(seen.size <= REPLICAS_MAX, "too many replicas", "limit");
  need(profiles.size <= PROFILES_MAX, "too many profiles", "limit");
  need(profiles.size + deleted.size <= PROFILES_EVER_MAX, "too many profiles ever", "limit");
  need(devices.size <= DEVICES_MAX, "too many devices", "limit");
  let entries = 0;
  for (const { titles } of profiles.values()) {
    for (const { adds, progress } of titles.values()) {
      need(adds.length <= OBSERVED_MAX, "too many adds of a title", "limit");
      entries += adds.length + (progress === undefined ? 0 : 1);
    }
  }
  need(entries <= ENTRIES_MAX, "too many entries", "limit");
}

/**
 * Does what an operation says that the server took.
 * @param {State} state @param {bigint} replica its author @param {Operation} operation
 */
export function applyOperation(state, replica, operation) {
  const { stamp, kind } = operation;
  if (stamp <= (state.seen.get(replica) ?? 0n)) return;
  state.seen.set(replica, stamp);
  const dot = { replica, stamp };
  if (kind === "device") applyDevice(state, dot, operation);
  else if (kind === "delete") {
    state.profiles.delete(operation.profile);
    state.deleted.add(operation.profile);
  } else applyToProfile(state, dot, operation);
}

/** @param {State} state @param {Dot} dot @param {Operation} operation */
function applyDevice(state, dot, { device = "", record }) {
  const before = state.devices.get(device);
  if (before !== undefined && compareDots(before.dot, dot) > 0) return;
  state.devices.set(device, record === undefined ? { dot } : { dot, record });
}

/** @param {State} state @param {Dot} dot @param {Operation} operation */
function applyToProfile(state, dot, operation) {
  const { kind, content = "", observed = [], progress: value, name: text = "" } = operation;
  if (kind === "name" && !state.deleted.has(operation.profile)) {
    /** @type {Profile} */
    const named = state.profiles.get(operation.profile) ?? { titles: new Map() };
    state.profiles.set(operation.profile, named);
    if (named.name === undefined || compareDots(named.name.dot, dot) < 0)
      named.name = { dot, text };
  }
  const profile = state.profiles.get(operation.profile);
  if (profile === undefined || kind === "name") return;
  const entry = entryOf(profile, content);
  if (kind === "add" || kind === "remove") {
    entry.adds = entry.adds.filter((add) => observed.every((seen) => compareDots(seen, add) !== 0));
    if (kind === "add") entry.adds.push(dot);
    entry.adds.sort(compareDots);
  } else if (entry.progress === undefined || compareDots(entry.progress.dot, dot) < 0) {
    entry.progress = value === undefined ? { dot } : { dot, value };
  }
  tidyEntry(profile, content);
}

/**
 * The shape of the vectors.
 * @param {Operation} operation
 */
export function operationToJson({ stamp, profile, observed, progress, record, ...rest }) {
  const named = { ...rest, stamp: stampToJson(stamp), profile: idToJson(profile) };
  if (observed !== undefined) return { ...named, observed: observed.map(dotToJson) };
  if (progress !== undefined) return { ...named, ...progressToJson(progress) };
  if (rest.kind !== "device") return named;
  return { ...named, ...(record === undefined ? { removed: true } : recordJson(record)) };
}

/** @param {Record} record */
function recordJson(record) {
  return { record: recordToJson(record) };
}

/** Of the resolutions only some mean anything. @param {number} capabilities */
export function needCapabilities(capabilities) {
  need(capabilities % RESOLUTIONS_MASK < RESOLUTIONS, "an unknown resolution");
}

/** @param {Dot} dot */
export function dotToJson({ replica, stamp }) {
  return { replica: idToJson(replica), stamp: stampToJson(stamp) };
}

/** @param {{ replica: string, stamp: import("./numbers.mjs").JsonStamp }} dot @returns {Dot} */
export function dotFromJson({ replica, stamp }) {
  return { replica: BigInt(`0x${replica}`), stamp: stampFromJson(stamp) };
}

/** @param {Progress} progress */
export function progressToJson({ state, position, duration }) {
  return { state: STATES[state], position, duration };
}

/** @param {Record} record */
export function recordToJson({ type, ...rest }) {
  return { type: DEVICE_TYPES[type], ...rest };
}

/** How many device types there are. */
export const DEVICE_TYPE_COUNT = TYPES;
/** How many play states there are. */
export const PLAY_STATE_COUNT = STATES.length;

/** The shape of the vectors. @param {State} state */
export function stateToJson({ seen, deleted, profiles, devices }) {
  return {
    seen: [...seen]
      .sort(([left], [right]) => compareIds(left, right))
      .map(([replica, stamp]) => dotToJson({ replica, stamp })),
    deleted: [...deleted].sort(compareIds).map(idToJson),
    profiles: [...profiles]
      .sort(([left], [right]) => compareIds(left, right))
      .map(([id, profile]) => ({ id: idToJson(id), ...profileToJson(profile) })),
    devices: [...devices]
      .sort(([left], [right]) => compareTexts(left, right))
      .map(([id, { dot, record }]) => ({
        id,
        dot: dotToJson(dot),
        ...(record === undefined ? { removed: true } : recordJson(record)),
      })),
  };
}

/** @param {Profile} profile */
function profileToJson({ name, titles }) {
  const sorted = [...titles].sort(([left], [right]) => compareTexts(left, right));
  return {
    ...(name === undefined ? {} : { name: { dot: dotToJson(name.dot), text: name.text } }),
    watchlist: sorted.flatMap(([content, { adds }]) =>
      adds.length === 0 ? [] : [{ content, adds: adds.map(dotToJson) }],
    ),
    progress: sorted.flatMap(([content, { progress }]) => {
      if (progress === undefined) return [];
      const value =
        progress.value === undefined ? { removed: true } : progressToJson(progress.value);
      return [{ content, dot: dotToJson(progress.dot), ...value }];
    }),
  };
}

/** A stamp of so many milliseconds is possible. @param {bigint} ms */
export function needStampMs(ms) {
  need(ms >= 0n && ms <= STAMP_MS_MAX, "a stamp outside 48 bits of milliseconds");
  return ms;
}

/** The latest milliseconds of some stamps, 0 of none. @param {Iterable<bigint>} stamps */
export function latestMs(stamps) {
  let latest = 0n;
  for (const stamp of stamps) if (msOf(stamp) > latest) latest = msOf(stamp);
  return latest;
}
