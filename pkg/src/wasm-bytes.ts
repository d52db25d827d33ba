/** The WebAssembly file, inside the script. */

import wasmText from "omega-sync-wasm-text";

/** What `build.mjs` adds to a byte to make it a character. */
const WASM_TEXT_SHIFT = 35;

/** Its bytes. */
export function engineBytes(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(wasmText.length);
  for (let at = 0; at < bytes.length; at += 1)
    bytes[at] = wasmText.charCodeAt(at) - WASM_TEXT_SHIFT;
  // A module begins with a zero. A bundler drops the mark that this file begins with.
  if (bytes[0] !== 0) throw new Error('the page is not read as UTF-8: <meta charset="utf-8">');
  return bytes;
}
