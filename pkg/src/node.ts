/** The package in Node: the same, with the WebAssembly file read from disk. */

import { SEED_WORDS } from "./engine.js";
import { type Client, type OpenOptions, openWith } from "./index.js";
import { wasmUrl } from "./wasm-url.js";

export * from "./index.js";

/** Opens this device's copy; resolves and rejects as `open` of `omega-sync`. */
export async function open(options: OpenOptions): Promise<Client> {
  // An import of `node:fs` looks at all that is in it, and takes Node 2 ms: a third of a start.
  const files = process.getBuiltinModule?.("node:fs") ?? (await import("node:fs"));
  return openWith(
    options,
    () => compiled(files),
    () => entropy(files),
  );
}

/**
 * At once, as Node loads modules themselves: it takes two milliseconds, and going through other threads
 * takes that again.
 */
function compiled(files: Files): WebAssembly.Module {
  return new WebAssembly.Module(files.readFileSync(wasmUrl));
}

/** The system's own random bits where they are a file: Node loads `crypto` for a quarter of a start. */
function entropy(files: Files): Uint32Array {
  const words = new Uint32Array(SEED_WORDS);
  try {
    const file = files.openSync("/dev/urandom", "r");
    try {
      if (files.readSync(file, words) === words.byteLength) return words;
    } finally {
      files.closeSync(file);
    }
  } catch {
    // No such file on this system.
  }
  return crypto.getRandomValues(words);
}

type Files = typeof import("node:fs");
