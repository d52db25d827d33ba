/**
 * The package with the WebAssembly file inside it, for bundlers that can't serve a file beside the script.
 */

import { type Client, type OpenOptions, openWith } from "./index.js";
import { engineBytes } from "./wasm-bytes.js";

export type * from "./index.js";
export { MemoryStorage, OmegaError, wipe } from "./index.js";

/** Opens this device's copy; resolves and rejects as `open` of `omega-sync`. */
export function open(options: OpenOptions): Promise<Client> {
  return openWith(options, engineBytes);
}
