/** Worker mode as a classic script, for packaged TV apps: `omega-sync.iife.js` lies beside it. */

import type { Client } from "./api.js";
import { openInWorker, type WorkerOptions } from "./worker.js";

export { MemoryStorage, OmegaError, wipe } from "./worker.js";

/** Only known while this script runs. */
const here = document.currentScript instanceof HTMLScriptElement ? document.currentScript.src : "";

/** Opens this device's copy; see the documentation of `open` in `worker.ts`. */
export function open(options: WorkerOptions): Promise<Client> {
  return openInWorker(options, () => new URL("omega-sync.iife.js", here || document.baseURI));
}
