/**
 * The package with learned taste as one classic script, for packaged TV apps (see `iife.ts`). The tables that
 * patterns are coded with are not in it: they come from the server, or from where `taste.tables` says.
 */

import { openPatterns, type PatternsClient, type PatternsOptions } from "./patterns.js";
import { engineBytes } from "./wasm-bytes.js";

export { MemoryStorage, OmegaError, wipe } from "./patterns.js";

/** Opens this device's copy; see the documentation of `open` in `patterns.ts`. */
export function open(options: PatternsOptions): Promise<PatternsClient> {
  return openPatterns(options, engineBytes, noTables);
}

/** From `file://` no file beside the script can be fetched. */
function noTables(): Promise<Uint8Array> {
  return Promise.reject(new Error("the server has no such tables: pass taste.tables"));
}
