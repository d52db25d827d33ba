/**
 * The package with the WebAssembly file inside it.
 *
 * As `omega-sync/inline` for bundlers that can't serve a file beside the script, and as one classic
 * script for packaged TV apps: they run from `file://`, where module scripts and fetching a sibling
 * both fail. That build gives this file's exports the global name `OmegaSync` and adds no other.
 */

import wasmText from "omega-sync-wasm-text";
import { type Client, type OpenOptions, openWith } from "./index.js";

export type * from "./index.js";
export { MemoryStorage, OmegaError, wipe } from "./index.js";

/** Opens this device's copy; see the documentation of `open` in `index.ts`. */
export function open(options: OpenOptions): Promise<Client> {
  return openWith(options, () => bytesOf(wasmText));
}

/** What `build.mjs` adds to a byte to make it a character. */
const WASM_TEXT_SHIFT = 35;

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = text.charCodeAt(at) - WASM_TEXT_SHIFT;
  return bytes;
}
