/**
 * The package as one classic script, for packaged TV apps: they run from `file://`, where module scripts
 * and fetching a sibling both fail. The exports get the global name `OmegaSync`, and no other is added.
 */

import { engineBytes } from "./wasm-bytes.js";
import { serve as serveFrom } from "./worker/engine-side.js";
import type { PortLike } from "./worker/port.js";

export { MemoryStorage, OmegaError, open, wipe } from "./inline.js";

/** Serves a page whose engine this is, in a Worker; see `worker.ts`. Not for apps. */
export function serve(port: PortLike): void {
  serveFrom(port, engineBytes);
}
