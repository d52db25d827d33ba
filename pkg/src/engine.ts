/**
 * The border to the WebAssembly engine: starts it once and gives its flat arrays names.
 *
 * Nothing is decided here. The arrays are flat because one array of strings and numbers crosses
 * the border much cheaper than a tree of objects.
 */

import init, { Replica } from "../wasm/omega_sync_wasm.js";
import { OmegaError } from "./errors.js";

/** The engine's class. */
export { Replica };

/** An effect the driver has to carry out; the plain numbers are the engine's tags. */
export type Output =
  | { kind: "append"; bytes: Uint8Array }
  | { kind: "replace"; bytes: Uint8Array }
  | { kind: "send"; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "connect" }
  | { kind: "disconnect" }
  | { kind: "changed"; keys: string[] }
  | { kind: "status"; state: SyncState }
  | { kind: "wake"; afterMs: number }
  | { kind: "rejected"; count: number };

/** Where the connection stands. */
export type SyncState = "offline" | "connecting" | "syncing" | "live" | "stopped";

/** A WebAssembly file: its address, its bytes, or a promise of either. */
export type WasmSource = URL | string | BufferSource | Promise<URL | string | BufferSource>;

const STATES: readonly SyncState[] = ["offline", "connecting", "syncing", "live", "stopped"];

let started: Promise<void> | undefined;

/** Compiles the engine; the first call of a page decides from where, later ones wait for it. */
export function startEngine(source: () => WasmSource): Promise<void> {
  started ??= instantiate(source).catch((cause: unknown) => {
    started = undefined;
    const message = "the WebAssembly engine did not start; check the `wasm` option and the CSP";
    throw new OmegaError("wasm_failed", message, cause);
  });
  return started;
}

async function instantiate(source: () => WasmSource): Promise<void> {
  // Never the synchronous way: engines refuse it on the main thread above 4 KB.
  await init({ module_or_path: await source() });
}

/** Names the outputs of one call. */
export function readOutputs(flat: readonly unknown[]): Output[] {
  const outputs: Output[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    outputs.push(readOutput(flat[at], flat[at + 1]));
  }
  return outputs;
}

function readOutput(kind: unknown, value: unknown): Output {
  switch (kind) {
    case 0:
      return { kind: "append", bytes: bytes(value) };
    case 1:
      return { kind: "replace", bytes: bytes(value) };
    case 2:
      return { kind: "send", bytes: bytes(value) };
    case 3:
      return { kind: "connect" };
    case 4:
      return { kind: "disconnect" };
    case 5:
      return { kind: "changed", keys: strings(value) };
    case 6:
      return { kind: "status", state: syncState(value) };
    case 7:
      return { kind: "wake", afterMs: Number(value) };
    case 8:
      return { kind: "rejected", count: Number(value) };
    default:
      throw mismatch(`output ${String(kind)}`);
  }
}

/** Narrows the engine's word for a state. */
export function syncState(value: unknown): SyncState {
  const state = STATES.find((candidate) => candidate === value);
  if (state === undefined) throw mismatch(`state ${String(value)}`);
  return state;
}

/** Cuts a flat array into rows of `width` cells. */
export function rows(flat: readonly unknown[], width: number): unknown[][] {
  const result: unknown[][] = [];
  for (let at = 0; at + width <= flat.length; at += width) result.push(flat.slice(at, at + width));
  return result;
}

function bytes(value: unknown): Uint8Array<ArrayBuffer> {
  if (value instanceof Uint8Array && value.buffer instanceof ArrayBuffer) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  throw mismatch("a value that is no bytes");
}

function strings(value: unknown): string[] {
  if (!Array.isArray(value)) throw mismatch("a value that is no list");
  return value.map(String);
}

function mismatch(what: string): OmegaError {
  const message = `the engine returned ${what}: wasm file and package are of different versions`;
  return new OmegaError("engine_failed", message);
}
