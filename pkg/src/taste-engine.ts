/**
 * The border to the part of the engine that learns taste: packs what goes in, reads what comes out. The
 * answers are laid out as those of the replica (`engine.ts`); `wasm/src/taste.rs` has their order.
 */

import * as glue from "../wasm-patterns/omega_sync_wasm_bg.js";
import { packed, random, readByte, readBytes, readNumber, readText, values } from "./engine.js";

/** The engine's class. */
export type TasteEngine = glue.Taste;

/** The two logs, by the engine's numbers. */
export const LOGS = ["taste", "titles"] as const;

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

/** The cells of what the engine says of itself, and where among them the id of the tables is. */
export const ABOUT = "nnnnnnnt";
export const TABLES_CELL = 4;

export const CHANGES: readonly TasteChange[] = ["taste", "titles", "contributions"];

/** An engine that knows nothing yet. */
export function newTaste(words: Uint32Array = random()): TasteEngine {
  const [a = 0, b = 0, c = 0, d = 0] = words;
  return new glue.Taste(a, b, c, d);
}

/** Loads both logs. @returns what damage was found in each; empty when none */
export function loadTaste(engine: TasteEngine, records: readonly Uint8Array[][]): string[] {
  const [taste = [], titles = []] = records;
  const answer = engine.load(packed(taste), packed(titles));
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
