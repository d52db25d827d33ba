/** Erasing a storage that is not open here. */

import { OmegaError } from "./errors.js";
import { IndexedDbStorage, TASTE_DATABASES } from "./indexeddb.js";
import { eraseStorage } from "./storage.js";
import { tellErased } from "./tabs/channel.js";

/**
 * Erases what a device has stored, what was learned of taste included, in every tab, without opening
 * it: for the logout of a user whose client is not open. Resolves when nothing of it can be read any
 * more; also when there was nothing, and where there is no IndexedDB.
 *
 * Rejects with `invalid_option` when there is no name, or with what the storage fails with.
 *
 * @param names `device` as given to {@link open}, or the `name` of its database if it was given one
 */
export async function wipe(names: { device: string } | { name: string }): Promise<void> {
  const { device, name } = (names ?? {}) as { device?: unknown; name?: unknown };
  const given = name ?? device;
  if (typeof given !== "string" || given === "") {
    throw new OmegaError("invalid_option", "wipe needs `device`, or the `name` of its database");
  }
  if (typeof indexedDB === "undefined") return;
  const database = name === undefined ? `omega-sync:${given}` : given;
  // The household last: while it is here, it is known whose taste is left where power fails between.
  await Promise.all(TASTE_DATABASES.map((part) => wipeOne(database + part)));
  await wipeOne(database);
}

async function wipeOne(name: string): Promise<void> {
  const storage = await IndexedDbStorage.existing(name);
  if (storage === undefined) return;
  await storage.peek();
  tellErased(storage.life);
  await eraseStorage(storage);
}
