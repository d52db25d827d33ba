/** Erasing a storage that is not open here. */

import { openChannel } from "./channel.js";
import { IndexedDbStorage, randomName } from "./indexeddb.js";

/**
 * Erases what a device has stored, in every tab, without opening it: for the logout of a user whose
 * client is not open. Resolves when nothing of it can be read any more; also when there was nothing.
 *
 * @param names `device` as given to {@link open}, or the `name` of its database if it was given one
 */
export async function wipe(names: { device?: string; name?: string }): Promise<void> {
  const storage = await IndexedDbStorage.open(names.name ?? `omega-sync:${names.device}`);
  await storage.peek();
  const { life } = storage;
  if (life !== undefined) {
    const channel = openChannel(life, () => undefined);
    channel?.post({ kind: "destroyed", tab: randomName() });
    channel?.close();
  }
  await storage.destroy();
}
