/**
 * The border to the WebAssembly engine: starts it once, packs what goes in, reads what comes out.
 *
 * Nothing is decided here. A call into the engine returns the address of its answer, which lies in
 * the engine's memory until the next call; `wasm/src/answer.rs` says how it is laid out.
 *
 * Invariant: after anything was thrown out of the engine nobody calls it again. Its memory may be
 * half changed then, and what it would still say or store could be wrong.
 */

import {
  type Cells,
  INPUTS,
  type InputName,
  partOf,
  READS,
  READS_FROM,
  type ReadName,
  WRITES,
  type WriteName,
} from "./calls.js";
import { OmegaError, refusal } from "./errors.js";
import type { RejectedReason } from "./reasons.js";

/** What a call takes: texts, numbers, and bytes. */
export type Value = string | number | Uint8Array;

/** An effect the driver has to carry out; the plain numbers are the engine's tags. */
export type Output =
  | { kind: "append"; bytes: Uint8Array }
  | { kind: "replace"; bytes: Uint8Array }
  | { kind: "send"; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "exchange"; number: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "connect" }
  | { kind: "disconnect" }
  | { kind: "changed"; keys: string[] }
  | { kind: "status"; state: SyncState }
  | { kind: "wake"; afterMs: number }
  | { kind: "rejected"; count: number }
  | { kind: "replayed"; report: ReplayReport }
  | RemoteOutput;

/** A command of another device for this one. */
export interface Order {
  /** Which output it is. */
  kind: "order";
  /** Its id, the upper 32 bits. */
  high: number;
  /** Its id, the lower 32 bits. */
  low: number;
  /** The device that sent it. */
  from: string;
  /** What to do, by the engine's number. */
  command: number;
  /** Its position in seconds or level in percent; -1 without one. */
  number: number;
  /** Its title or device; empty without one. */
  text: string;
}

/** What comes from other devices; -1 stands for a number that is not there. */
export type RemoteOutput =
  | Order
  | { kind: "outcome"; ticket: number; status: number; position: number }
  | { kind: "presence"; all: boolean; devices: [device: string, goneSeconds: number][] };

/**
 * How the writes fare that a client had for the server when it reconnected: `waited` is the sum of
 * `accepted`, `coalesced`, `rejected` and `remaining`.
 */
export interface ReplayReport {
  /** How many waited, those included that a later one superseded while the client was away. */
  waited: number;
  /** Of these, sent on this connection; the server can have had others from the one before. */
  sent: number;
  /** Of these, taken by the server. */
  accepted: number;
  /** Of these, superseded by a later one and never sent: of ten positions of a title the last counts. */
  coalesced: number;
  /** Of these, refused for good; what they were is in the rejected list. */
  rejected: number;
  /** Of these, not answered yet, because the connection ended; they are sent again. */
  remaining: number;
  /** How many were refused for each reason, for instance `{ profile_deleted: 2 }`. */
  reasons: Partial<Record<RejectedReason, number>>;
}

/**
 * Where the connection stands. `live`: changes cross as they happen. `polling`: up to date by the last
 * request; the next one follows after a while, see {@link OpenOptions.poll}.
 */
export type SyncState = "offline" | "connecting" | "syncing" | "live" | "stopped" | "polling";

/** A WebAssembly file: its address, its bytes or what was compiled from them, or a promise of these. */
export type WasmSource = WasmFile | Promise<WasmFile>;
type WasmFile = URL | string | BufferSource | WebAssembly.Module;

/** Where the engine comes from: a file to compile, or a function that has its exports. */
export type EngineSource = WasmSource | (() => WebAssembly.Exports);

const STATES: readonly SyncState[] = [
  ...(["offline", "connecting", "syncing", "live", "stopped", "polling"] as const),
];
const LISTS: readonly string[] = ["profiles", "watchlist:", "progress:", "devices"];

/** In place of an answer's length: the call was refused. */
const REFUSED = 0xffff_ffff;
/** The number of loading what was stored. */
const LOAD = 31;
/** In the order of the engine's numbers. */
const CALLS: readonly string[] = [...WRITES, ...INPUTS];
const LENGTH_BYTES = 4;
const NUMBER_BYTES = 8;
/** Words of 32 random bits that a replica starts with. */
export const SEED_WORDS = 4;
/** A text up to this length is put together here; starting the decoder would cost more. */
const SHORT_TEXT_BYTES = 24;
/** The same for bytes, and a call to copy them: most frames are shorter. */
const SHORT_FRAME_BYTES = 8;
const ASCII_MAX = 0x7f;
/** Of what JavaScript counts as one in a text's length. */
const UTF8_BYTES_MAX = 3;

let started: Promise<void> | undefined;
/** For the first replica. */
let seed: Uint32Array | undefined;
/** An engine with its memory. */
interface Instance {
  exports: WebAssembly.Exports;
  /** A call is under way, or what it answered is not read yet. */
  isBusy: boolean;
  failure: OmegaError | undefined;
}
/** The newest; nobody reads from another. */
let present: Instance | undefined;
/** Both look at the engine's memory; they are made anew when it has grown, which it says. */
let octets = new Uint8Array(0);
let view = new DataView(octets.buffer);
let stale = true;
/** Where the next value of the answer is. */
let at = 0;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Random bits for a replica. */
export type Entropy = () => Uint32Array | Promise<Uint32Array>;

/**
 * Starts the engine; the first call of a page decides from where, later ones wait for it, or start a new
 * one when that has broken. Resolves when it runs; rejects with `wasm_failed`.
 */
export function startEngine(source: () => EngineSource, entropy: Entropy = random): Promise<void> {
  if (present !== undefined && failureOf(present) !== undefined) started = undefined;
  started ??= instantiate(source, entropy).catch((cause: unknown) => {
    started = undefined;
    const message = `the engine did not start (${cause}): check the \`wasm\` option and the CSP`;
    throw new OmegaError("wasm_failed", message, cause);
  });
  return started;
}

async function instantiate(source: () => EngineSource, entropy: Entropy): Promise<void> {
  const [given, drawn] = await Promise.all([source(), entropy()]);
  seed = drawn;
  const exports = typeof given === "function" ? given() : await compile(given);
  // What is no WebAssembly is there once.
  if (exports === present?.exports) return;
  present = { exports, isBusy: false, failure: undefined };
  stale = true;
}

/** What the engine calls when its memory has grown. */
export function grown(): void {
  stale = true;
}

/**
 * Never the synchronous way: engines refuse it on the main thread above 4 KB. And in two steps: where
 * the page's policy forbids WebAssembly, Chromium 69 dies of bytes that it is to instantiate at once.
 */
async function compile(given: WasmFile): Promise<WebAssembly.Exports> {
  const module =
    given instanceof WebAssembly.Module
      ? given
      : await WebAssembly.compile(await fetchBytes(given));
  return (await WebAssembly.instantiate(module, { env: { grown } })).exports;
}

/** `fetch` is touched for an address only: in Node its first use costs as much as all the rest. */
async function fetchBytes(given: URL | string | BufferSource): Promise<BufferSource> {
  if (typeof given === "object" && !(given instanceof URL)) return given;
  const response = await fetch(given);
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}: ${response.url}`);
  if (/html/.test(String(response.headers.get("Content-Type")))) {
    throw new Error(`a page is at ${response.url}; with Vite: optimizeDeps.exclude`);
  }
  return response.arrayBuffer();
}

type Export = (...values: number[]) => number | undefined;

/** Calls a function of the engine; whatever it throws ends the engine. */
function invoke(instance: Instance, name: string, ...values: number[]): number {
  const failed = failureOf(instance);
  if (failed !== undefined) throw failed;
  const call = instance.exports[name] as Export;
  instance.isBusy = true;
  try {
    // An address has no sign.
    const answer = Number(call(...values)) >>> 0;
    instance.isBusy = false;
    return answer;
  } catch (cause) {
    throw failureOf(instance, cause);
  }
}

/**
 * Why an engine can't be used any more, if so. At the end of the stack nothing can be called, not even to
 * make an error: a call that was left in its middle is found by the next.
 */
function failureOf(
  instance: Instance,
  cause: unknown = "a call was cut off",
): OmegaError | undefined {
  if (instance.isBusy && instance.failure === undefined) {
    const message = `the engine broke (${cause}): what is stored is safe, open again`;
    instance.failure = new OmegaError("engine_failed", message, cause);
  }
  return instance.failure;
}

/** The engine that was started. */
function running(): Instance {
  if (present === undefined) throw new OmegaError("wasm_failed", "the engine is not started");
  return present;
}

/** Something in the engine's memory that answers calls: a replica, or what learns taste. */
export class Engine {
  private at: number;
  private readonly instance = running();

  constructor(
    private readonly kind: "replica" | "taste",
    words: Uint32Array,
  ) {
    this.at = invoke(this.instance, `${kind}_new`, ...Array.from(words));
  }

  /** Why it can't be used any more, if so. */
  get failure(): OmegaError | undefined {
    return failureOf(this.instance);
  }

  /**
   * One call, by its number, with the time where it matters: Unix and steady, in milliseconds.
   *
   * @returns the address of the answer
   */
  call(number: number, values: readonly Value[], unix = 0, steady = 0): number {
    const { instance, kind } = this;
    return invoke(instance, `${kind}_call`, this.at, number, put(instance, values), unix, steady);
  }

  /** Lets its memory go, once. */
  free(): void {
    if (this.failure === undefined) invoke(this.instance, `${this.kind}_free`, this.at);
    this.at = 0;
  }
}

/** The engine's copy of a household. */
export type Replica = Engine;

/**
 * Loads a replica from its stored records, and says what damage was found in them. From the same
 * words it draws the same ids: for tests and measurements.
 */
export function loadReplica(
  records: readonly Uint8Array[],
  household: string,
  words = seed ?? random(),
): { replica: Replica; damage: string | undefined } {
  seed = undefined;
  const replica = new Engine("replica", words);
  try {
    const [damage] = values(replica.call(LOAD, [household, ...records]), readText);
    return { replica, damage };
  } catch (thrown) {
    replica.free();
    throw thrown;
  }
}

/** Words of random bits for an engine. */
export function random(): Uint32Array {
  return crypto.getRandomValues(new Uint32Array(SEED_WORDS));
}

/** Reads the outputs of one call. */
export function readOutputs(answer: number): Output[] {
  return values(answer, readOutput);
}

/** Reads an answer that is one value after the other, each of which counts: it is given once. */
export function values<T>(answer: number, read: () => T): T[] {
  const instance = running();
  instance.isBusy = true;
  const end = begin(answer);
  const list: T[] = [];
  while (at < end) list.push(read());
  instance.isBusy = false;
  return list;
}

function readOutput(): Output {
  const kind = readByte();
  switch (kind) {
    case 0:
      return { kind: "append", bytes: readBytes() };
    case 1:
      return { kind: "replace", bytes: readBytes() };
    case 2:
      return { kind: "send", bytes: readBytes() };
    case 3:
      return { kind: "connect" };
    case 4:
      return { kind: "disconnect" };
    case 5:
      return { kind: "changed", keys: readKeys() };
    case 6:
      return { kind: "status", state: syncState(readByte()) };
    case 7:
      return { kind: "wake", afterMs: readNumber() };
    case 8:
      return { kind: "rejected", count: readNumber() };
    case 9:
      return { kind: "replayed", report: readReport() };
    case 10: {
      const [high, low, from] = [readNumber(), readNumber(), readText()];
      const [command, number, text] = [readByte(), readNumber(), readText()];
      return { kind: "order", high, low, from, command, number, text };
    }
    case 11: {
      const [ticket, status, position] = [readNumber(), readByte(), readNumber()];
      return { kind: "outcome", ticket, status, position };
    }
    case 12: {
      const all = readByte() === 1;
      const devices: [string, number][] = [];
      for (let left = readNumber(); left > 0; left -= 1) devices.push([readText(), readNumber()]);
      return { kind: "presence", all, devices };
    }
    case 13:
      return { kind: "exchange", number: readNumber(), bytes: readBytes() };
    default:
      throw mismatch(`output ${kind}`);
  }
}

function readReport(): ReplayReport {
  const [waited, sent, accepted] = [readNumber(), readNumber(), readNumber()];
  const [coalesced, rejected, remaining] = [readNumber(), readNumber(), readNumber()];
  const reasons: ReplayReport["reasons"] = {};
  for (let left = readNumber(); left > 0; left -= 1) {
    reasons[readText() as RejectedReason] = readNumber();
  }
  return { waited, sent, accepted, coalesced, rejected, remaining, reasons };
}

/** What each call of a list's kind and profile means to the app. */
function readKeys(): string[] {
  const keys: string[] = [];
  for (let left = readNumber(); left > 0; left -= 1) {
    const list = LISTS[readByte()];
    if (list === undefined) throw mismatch("a list it has no name for");
    keys.push(list + readText());
  }
  return keys;
}

/** The engine's number for a state. */
export function syncState(value: number): SyncState {
  const state = STATES[value];
  if (state === undefined) throw mismatch(`state ${value}`);
  return state;
}

/** Reads an answer whose rows look alike; `shape` has a letter for each cell: a text or a number. */
export function rows(answer: number, shape: string): Cells[] {
  const end = begin(answer);
  const cells = Array.from(shape);
  const result: Cells[] = [];
  while (at < end) result.push(cells.map((cell) => (cell === "t" ? readText() : readNumber())));
  return result;
}

/** Reads what has a name. */
export function readRows(replica: Replica, name: ReadName, values: readonly string[]): Cells[] {
  if (name === "inProgress" || name === "completed") {
    return partOf(name, readRows(replica, "progressAll", values));
  }
  const call = READS_FROM + Object.keys(READS).indexOf(name);
  return rows(replica.call(call, values), READS[name]);
}

/** How many writes wait for the server, and where the connection stands. */
export function standingOf(replica: Replica): { pending: number; state: SyncState } {
  const [pending, state] = readRows(replica, "standing", [])[0] ?? [];
  return { pending: Number(pending), state: syncState(Number(state)) };
}

/**
 * Makes the write that has a name, or tells the replica what has happened, with the two clocks.
 * @returns the address of the engine's answer
 */
export function callWrite(
  replica: Replica,
  name: WriteName | InputName,
  values: readonly Value[],
  unix?: number,
  steady?: number,
): number {
  return replica.call(CALLS.indexOf(name), values, unix, steady);
}

/** Puts values where the next call finds them, each after its length. @returns the length of all */
function put(instance: Instance, values: readonly Value[]): number {
  let room = 0;
  for (const value of values) {
    room += LENGTH_BYTES + NUMBER_BYTES;
    if (typeof value === "string") room += UTF8_BYTES_MAX * value.length;
    else if (value instanceof Uint8Array) room += value.length;
  }
  const start = invoke(instance, "room", room);
  look();
  let to = start;
  for (const value of values) {
    const from = to + LENGTH_BYTES;
    if (typeof value === "string") to = putText(from, value);
    else if (value instanceof Uint8Array) {
      octets.set(value, from);
      to = from + value.length;
    } else {
      view.setFloat64(from, value, true);
      to = from + NUMBER_BYTES;
    }
    view.setUint32(from - LENGTH_BYTES, to - from, true);
  }
  return to - start;
}

/** Writes a text. @returns where it ends */
function putText(from: number, text: string): number {
  for (let nth = 0; nth < text.length; nth += 1) {
    const code = text.charCodeAt(nth);
    if (code > ASCII_MAX) {
      const bytes = encoder.encode(text);
      octets.set(bytes, from);
      return from + bytes.length;
    }
    octets[from + nth] = code;
  }
  return from + text.length;
}

/** Looks at the memory as it is now. */
function look(): void {
  if (!stale) return;
  stale = false;
  const { buffer } = running().exports.memory as WebAssembly.Memory;
  octets = new Uint8Array(buffer);
  view = new DataView(buffer);
}

/** Goes to the start of an answer. @returns where it ends */
function begin(answer: number): number {
  look();
  const length = view.getUint32(answer, true);
  at = answer + LENGTH_BYTES;
  if (length === REFUSED) {
    // Nothing has changed.
    running().isBusy = false;
    throw refusal(readText());
  }
  return at + length;
}

/** A byte of the answer. */
export function readByte(): number {
  at += 1;
  return view.getUint8(at - 1);
}

/** A number of the answer. */
export function readNumber(): number {
  at += NUMBER_BYTES;
  return view.getFloat64(at - NUMBER_BYTES, true);
}

/** Bytes of the answer. */
export function readBytes(): Uint8Array<ArrayBuffer> {
  const from = skipBytes();
  if (at - from > SHORT_FRAME_BYTES) return octets.slice(from, at);
  const bytes = new Uint8Array(at - from);
  for (let byte = from; byte < at; byte += 1) bytes[byte - from] = view.getUint8(byte);
  return bytes;
}

/** A text of the answer. */
export function readText(): string {
  const from = skipBytes();
  if (at - from > SHORT_TEXT_BYTES) return decoder.decode(octets.subarray(from, at));
  let text = "";
  for (let byte = from; byte < at; byte += 1) {
    const code = view.getUint8(byte);
    if (code > ASCII_MAX) return decoder.decode(octets.subarray(from, at));
    text += String.fromCharCode(code);
  }
  return text;
}

/** Goes past a length and that many bytes. @returns where they start */
function skipBytes(): number {
  const from = at + LENGTH_BYTES;
  at = from + view.getUint32(at, true);
  return from;
}

function mismatch(what: string): OmegaError {
  const message = `the engine returned ${what}: wasm file and package are of different versions`;
  return new OmegaError("engine_failed", message);
}
