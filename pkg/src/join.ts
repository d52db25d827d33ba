/** Takes part among the tabs of a storage: what `open` does once engine and storage are there. */

import type { TabEvents } from "./client.js";
import { callWrite, type Replica, readRows } from "./engine.js";
import { fromEngine, OmegaError } from "./errors.js";
import { householdMismatch, type Settings } from "./settings.js";
import { MemoryStorage, type Storage } from "./storage.js";
import { Tab, type TabParts } from "./tabs/tabs.js";

const SECOND_MS = 1_000;
/** Where the household's id is in what the engine says of itself. */
const HOUSEHOLD_CELL = 3;

/** What the platform gives. */
export interface Platform extends Omit<TabParts, keyof Settings | "storage" | "loaded"> {
  /** A storage that is memory, where this thread's lasts for less than the page. */
  memory?: () => Storage;
}

/**
 * Opens the tab on its storage; on memory where what is stored can't be read, which is reported.
 * Rejects when it must not be used.
 */
export async function joinTab(
  settings: Settings,
  storage: Storage,
  platform: Platform,
  events: TabEvents,
): Promise<Tab> {
  const parts = {
    ...settings,
    ...platform,
    loaded: (replica: Replica) => prepare(replica, settings),
  };
  try {
    return await Tab.open({ ...parts, storage }, events);
  } catch (thrown) {
    storage.close();
    const error = fromEngine(thrown);
    if (error.code !== "storage_failed" || storage.kind !== "indexeddb") throw error;
    const message = "the stored copy cannot be read: changes last until this page closes";
    events.failed(new OmegaError("storage_memory", message, error));
    return Tab.open({ ...parts, storage: platform.memory?.() ?? new MemoryStorage() }, events);
  }
}

function prepare(replica: Replica, { household, differences, poll }: Settings): void {
  const stored = readRows(replica, "about", [])[0]?.[HOUSEHOLD_CELL];
  if (household !== "" && stored !== household) throw householdMismatch();
  callWrite(replica, "catchUp", [Number(differences)]);
  if (poll === undefined) return;
  const rests = [poll.everySeconds, poll.afterWriteSeconds];
  callWrite(
    replica,
    "rest",
    rests.map((seconds) => seconds * SECOND_MS),
  );
}
