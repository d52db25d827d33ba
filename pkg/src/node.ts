/** The package in Node: the same, with the WebAssembly file read from disk. */

import { open as openFile, readFile } from "node:fs/promises";
import { SEED_WORDS } from "./engine.js";
import { type Client, type OpenOptions, openWith } from "./index.js";
import { wasmUrl } from "./wasm-url.js";

export * from "./index.js";

/** Opens this device's copy; see the documentation of `open` in `index.ts`. */
export function open(options: OpenOptions): Promise<Client> {
  return openWith(options, () => readFile(wasmUrl), entropy);
}

/** The system's own random bits where they are a file: Node loads `crypto` for a quarter of a start. */
async function entropy(): Promise<Uint32Array> {
  const words = new Uint32Array(SEED_WORDS);
  try {
    const file = await openFile("/dev/urandom");
    const { bytesRead } = await file.read(words).finally(() => file.close());
    if (bytesRead === words.byteLength) return words;
  } catch {
    // No such file on this system.
  }
  return crypto.getRandomValues(words);
}
