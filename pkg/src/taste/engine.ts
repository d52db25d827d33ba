/**
 * The border to the part of the engine that learns taste: packs what goes in, reads what comes out. The
 * answers are laid out as those of the replica (`engine.ts`); `wasm/src/taste.rs` has their order.
 */

import type { Cells } from "../calls.js";
import {
  Engine,
  random,
  readByte,
  readBytes,
  readNumber,
  readText,
  rows,
  type Value,
  values,
} from "../engine.js";

/** What learns taste, in the engine's memory. */
export type TasteEngine = Engine;

/** Each call of it, in the order of the engine's numbers. */
const CALLS = [
  /**
   * What the app chooses, before it is loaded: least share of successes (0 to 1) and least samples of what
   * leaves; cosine floor; bytes of a batch and of an answer; bounds of the interval in milliseconds; 1 when
   * titles come from the server too.
   */
  "configure",
  /** How many records the first log has, and the records of both. */
  "load",
  /** What is to be done first after loading? */
  "firstOutputs",
  /**
   * Somebody on a profile watched a title, of this genre and with this vector, which may be empty when
   * the title is known: which part (0 to 1), and 1 when it was finished.
   */
  "record",
  /** Ids and genres of titles, one a line, and their vectors one after the other. */
  "learnTitles",
  /** The household has only these profiles, one a line. */
  "profiles",
  /** 1 when the viewer takes no part. */
  "optOut",
  /** A file of tables was fetched. */
  "tables",
  /** Requests may leave. */
  "connected",
  /** The connection is gone. */
  "disconnected",
  /** An answer arrived. */
  "frame",
  /** The app wants to sync now. */
  "syncNow",
  /** The time of the last wake has come. */
  "wake",
  /** What a profile learned. */
  "patterns",
  /** What a profile watched. */
  "viewed",
  /** Titles for a profile: so many, of a genre or any (empty), without those of a list, an id a line. */
  "recommend",
  /** What is popular now. */
  "trends",
  /** What left and the server has. */
  "contributions",
  /** How things stand. */
  "about",
  /** This profile was deleted. */
  "profileDeleted",
] as const;
/** The name of a call. */
export type TasteCallName = (typeof CALLS)[number];

/** What a read answers: the cells of a row, as in `calls.ts`. */
const ROWS = {
  patterns: "ttnnt",
  viewed: "tn",
  recommend: "ttnnt",
  trends: "ttn",
  contributions: "ttnnn",
  about: "nnnnnnnt",
} as const;

/** An effect that the driver has to carry out; the plain numbers are the engine's tags. */
export type TasteOutput =
  | { kind: "append"; log: number; bytes: Uint8Array }
  | { kind: "replace"; log: number; bytes: Uint8Array }
  | { kind: "send"; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "fetch-tables"; id: number }
  | { kind: "changed"; what: TasteChange }
  | { kind: "synced"; how: TasteSync }
  | { kind: "refused"; count: number }
  | { kind: "wake"; afterMs: number };

/** What looks different: recommendations and patterns, known titles, or what left this device. */
export type TasteChange = "taste" | "titles" | "contributions";

/**
 * How a sync ended: `ok`; `rate_limited`, the server wants to be left alone for a while; `no_tables`,
 * they are being fetched, and a sync follows by itself; `failed`, no answer or none that makes sense.
 */
export type TasteSync = "ok" | "rate_limited" | "no_tables" | "failed";

/** Where in what the engine says of itself the id of the tables is. */
export const TABLES_CELL = 4;

export const CHANGES: readonly TasteChange[] = ["taste", "titles", "contributions"];

/** An engine that knows nothing yet. */
export function newTaste(words: Uint32Array = random()): TasteEngine {
  return new Engine("taste", words);
}

/** The name of a read. */
export type TasteReadName = keyof typeof ROWS;

/** Makes a call, with the two clocks. @returns the address of the engine's answer */
export function callTaste(
  engine: TasteEngine,
  name: TasteCallName,
  values: readonly Value[],
  unix?: number,
  steady?: number,
): number {
  return engine.call(CALLS.indexOf(name), values, unix, steady);
}

/** Reads what has a name. */
export function readTaste(
  engine: TasteEngine,
  name: TasteReadName,
  values: readonly Value[],
  unix?: number,
  steady?: number,
): Cells[] {
  return rows(callTaste(engine, name, values, unix, steady), ROWS[name]);
}

/** Loads both logs. @returns what damage was found in each; empty when none */
export function loadTaste(engine: TasteEngine, records: readonly Uint8Array[][]): string[] {
  const [taste = [], titles = []] = records;
  const answer = callTaste(engine, "load", [taste.length, ...taste, ...titles]);
  return values(answer, readText);
}

/** Reads the outputs of one call. */
export function readTasteOutputs(answer: number): TasteOutput[] {
  return values(answer, readOutput);
}

function readOutput(): TasteOutput {
  const kind = readByte();
  switch (kind) {
    case 0:
      return { kind: "append", log: readByte(), bytes: readBytes() };
    case 1:
      return { kind: "replace", log: readByte(), bytes: readBytes() };
    case 2:
      return { kind: "send", bytes: readBytes() };
    case 3:
      return { kind: "fetch-tables", id: readNumber() };
    case 4:
      return { kind: "changed", what: CHANGES[readByte()] ?? "taste" };
    case 5:
      return { kind: "synced", how: readText() as TasteSync };
    case 6:
      return { kind: "refused", count: readNumber() };
    default:
      return { kind: "wake", afterMs: readNumber() };
  }
}
