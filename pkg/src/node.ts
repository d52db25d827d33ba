/** The package in Node: the same, with the WebAssembly file read from disk. */

import { readFile } from "node:fs/promises";
import { type Client, type OpenOptions, openWith } from "./index.js";
import { wasmUrl } from "./wasm-url.js";

export * from "./index.js";

/** Opens this device's copy; see the documentation of `open` in `index.ts`. */
export function open(options: OpenOptions): Promise<Client> {
  return openWith(options, () => readFile(wasmUrl));
}
