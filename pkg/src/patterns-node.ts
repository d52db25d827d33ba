/** The entry with patterns in Node: the same, with its files read from disk. */

import type { Entropy } from "./engine.js";
import { openPatterns, type PatternsClient, type PatternsOptions } from "./patterns.js";
import { tablesUrl, wasmUrl } from "./patterns-wasm-url.js";

export * from "./patterns.js";

/** Opens this device's copy; see the documentation of `open` in `patterns.ts`. */
export async function open(options: PatternsOptions, entropy?: Entropy): Promise<PatternsClient> {
  const files = await import("node:fs");
  return openPatterns(
    options,
    () => new WebAssembly.Module(files.readFileSync(wasmUrl)),
    () => Promise.resolve(files.readFileSync(tablesUrl)),
    entropy,
  );
}
