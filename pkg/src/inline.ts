/**
 * The single-file build for `file://` pages: the WebAssembly file is inside, as base64.
 *
 * Packaged TV apps run from `file://`, where module scripts and fetching a sibling file both fail.
 * The build gives this file's exports the global name `OmegaSync` and adds no other.
 */

import wasmBase64 from "omega-sync-wasm-base64";
import { type Client, type OpenOptions, openWith } from "./index.js";

export { MemoryStorage, OmegaError } from "./index.js";

/** Opens this device's copy; see the documentation of `open` in `index.ts`. */
export function open(options: OpenOptions): Promise<Client> {
  return openWith(options, () => decodeBase64(wasmBase64));
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
