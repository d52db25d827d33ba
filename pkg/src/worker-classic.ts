/** Worker mode as a classic script, for packaged TV apps: `omega-sync.iife.js` lies beside it. */

import type { Client } from "./api.js";
import { openInWorker, type WorkerOptions } from "./worker.js";

export { MemoryStorage, OmegaError, wipe } from "./worker.js";

/**
 * Knows where this script is, and says so after the first screen: to ask the document for its current
 * script takes an old engine longer than to run all of it.
 */
const loading = new Error();

/** Opens this device's copy; see the documentation of `open` in `worker.ts`. */
export function open(options: WorkerOptions): Promise<Client> {
  return openInWorker(options, () => {
    const [here = document.baseURI] =
      /[a-z][-+.a-z]*:\/\/\S+(?=:\d+:\d+)/.exec(loading.stack ?? "") ?? [];
    return new URL("omega-sync.iife.js", here);
  });
}
