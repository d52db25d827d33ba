/** Erasing a storage that is not open here. */

import { openChannel } from "./channel.js";
import { type IndexedDbStorage, randomName } from "./indexeddb.js";

/** What `wipe` does: as `Tab.destroy`, for a storage that is not in use here. */
export async function wipeStorage(storage: IndexedDbStorage): Promise<void> {
  await storage.peek();
  const { life } = storage;
  if (life !== undefined) {
    const channel = openChannel(life, () => undefined);
    channel?.post({ kind: "destroyed", tab: randomName() });
    channel?.close();
  }
  await storage.destroy();
}
