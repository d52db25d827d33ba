/**
 * The package for TVs whose page must not stand still: the engine runs in a Worker, and what was shown
 * last shows at once, before there is an engine.
 *
 * This script is small; beside it lies `omega-sync.iife.js`, which the Worker loads. The API is that of
 * `omega-sync`; what differs is said at {@link open}.
 *
 * @packageDocumentation
 */

import type { Addresses, Client, OpenSettings } from "./api.js";
import { storageFor } from "./indexeddb.js";
import { settingsOf } from "./settings.js";
import { SyncClient } from "./sync-client.js";
import { WorkerKeeper } from "./worker/page-side.js";

export { OmegaError } from "./errors.js";
export type * from "./index.js";
export { MemoryStorage } from "./storage.js";
export { wipe } from "./wipe.js";

/** Settings of {@link open}. */
export type WorkerOptions = Omit<OpenSettings, "WebSocket"> &
  Addresses & {
    /** Address of `omega-sync.iife.js`, of the same version; beside this script when left out. */
    script?: string | URL;
  };

/**
 * Opens this device's copy; resolves with what was stored last as soon as that is read, else when the
 * engine is there. A write shows when its promise resolves, at the latest; one that is made before the
 * engine is there waits for it. Where no Worker can start the engine runs in the page.
 *
 * Rejects as `open` of `omega-sync`. When the engine fails after it has resolved, that is an `error`
 * event, and the state is `stopped`. A Worker that dies is replaced; the fourth that does within an hour
 * is such an event, `engine_failed`.
 */
export function open(options: WorkerOptions): Promise<Client> {
  return openInWorker(options, () => import("./script-url.js").then(({ scriptUrl }) => scriptUrl));
}

/** {@link open} with another default place of the Worker's script; resolves and rejects as that. */
export async function openInWorker(
  options: WorkerOptions,
  defaultScript: () => string | URL | Promise<string | URL>,
): Promise<Client> {
  const settings = settingsOf(options);
  const { storage, warning } = await storageFor(options);
  const client = new SyncClient(options);
  if (warning !== undefined) client.report(warning);
  const parts = { settings, options, storage, script: options.script ?? defaultScript };
  try {
    await client.join((events) => WorkerKeeper.open(parts, events));
  } catch (thrown) {
    storage.close();
    throw thrown;
  }
  client.start();
  return client;
}
