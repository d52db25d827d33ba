/**
 * The package for TVs without WebAssembly (webOS 4, Tizen 4): the engine as plain JavaScript.
 *
 * One classic script, `OmegaSync` its only global, in the syntax of Chromium 53. The engine is
 * translated from the very module that the other builds load, so it stores and sends the same bytes.
 */

import * as engine from "omega-sync-plain-engine";
import { type Client, type OpenOptions, openWith } from "./index.js";

export { MemoryStorage, OmegaError, wipe } from "./index.js";

/** Opens this device's copy; see the documentation of `open` in `index.ts`. `wasm` has no effect. */
export function open(options: OpenOptions): Promise<Client> {
  const { wasm: _, ...rest } = options;
  return openWith(rest, () => () => engine);
}
