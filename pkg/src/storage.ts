/**
 * What a storage has to do, and the one that is memory. `indexeddb.ts` has the one that lasts.
 */

import { failure, OmegaError } from "./errors.js";

/** Records of a replica that could not be read, kept for export. */
export interface AsideEntry {
  /** Why they were set aside. */
  reason: string;
  /** When, in Unix milliseconds. */
  atMs: number;
  /** The records as they were found. */
  records: unknown[];
}

/** That a write which another tab, or the page of a Worker, asked for is stored; see `Asked`. */
export interface WriteMark {
  tab: string;
  write: number;
}

/** One atomic change: the parts happen in this order or not at all. */
export interface StorageChange {
  /** Why the present records are unreadable: they are kept apart before anything else. */
  setAside?: string;
  /** An image that takes the place of every earlier record. */
  replace?: Uint8Array;
  /** Records to add, in this order. */
  append: Uint8Array[];
  /** Writes of other tabs that this stores; a storage that only one instance uses may ignore them. */
  marks?: WriteMark[];
}

/**
 * What a storage has to do. Its promises reject with an {@link OmegaError} of a `storage_…` code, or
 * `superseded`. One object serves one client: the next `open` with it takes it over, and the client before
 * ends with `superseded` when it writes.
 */
export interface Storage {
  /** `indexeddb`, `memory`, or a name of your own; shown in the status. */
  readonly kind: string;
  /**
   * Takes the storage over; resolves to every record, oldest first. Called again when an engine in a
   * Worker has died.
   */
  load(): Promise<Uint8Array[]>;
  /** Makes one change durable, all of it or nothing. Resolves when it is, not before. */
  commit(change: StorageChange): Promise<void>;
  /** Resolves to what was set aside, oldest first. */
  aside(): Promise<AsideEntry[]>;
  /** Releases the storage. */
  close(): void;
  /**
   * Erases everything for good, what was set aside included, also after `close`; resolves when nothing
   * can be read any more. Needed for {@link Client.destroy}.
   */
  destroy?(): Promise<void>;
}

/** What a tab that does not lead finds. */
export interface Seen {
  /** Every record, oldest first. */
  records: Uint8Array[];
  /** Whether this instance was the last to load. */
  leads: boolean;
}

/** A storage that several tabs have open. */
export interface SharedStorage extends Storage {
  /** The database's. */
  readonly name: string;
  /** Name of this life; nothing before the storage was first loaded by anybody. */
  readonly life: string | undefined;
  /** The last write of each other tab that was stored before {@link load}. */
  readonly marks: ReadonlyMap<string, number>;
  /** Reads without taking the storage over. */
  peek(): Promise<Seen>;
}

/** Whether a storage is one of these. */
export function isShared(storage: Storage): storage is SharedStorage {
  return "peek" in storage;
}

/** For whom each storage of an app was loaded last; an old engine takes long to make its first map. */
let holdersOfAll: WeakMap<Storage, { storing: Promise<unknown> }> | undefined;

/**
 * An app's own storage as one client has it: once another has loaded it this one can't write to it. Two
 * that append to one log would spend the same ids twice.
 */
export function heldStorage(own: Storage): Storage {
  if (isShared(own)) return own;
  holdersOfAll ??= new WeakMap();
  const holders = holdersOfAll;
  const holder = { storing: Promise.resolve() as Promise<unknown> };
  const held = {
    kind: own.kind,
    load: async () => {
      const before = holders.get(own);
      holders.set(own, holder);
      await before?.storing;
      return own.load();
    },
    commit: (change: StorageChange) => {
      if (holders.get(own) !== holder) return Promise.reject(failure("superseded"));
      const stored = own.commit(change);
      holder.storing = stored.catch(() => undefined);
      return stored;
    },
    aside: () => own.aside(),
    close: () => {
      if ((holders.get(own) ?? holder) === holder) own.close();
    },
    get destroy() {
      if (own.destroy === undefined) return undefined;
      return () => {
        holders.set(own, holder);
        return own.destroy?.();
      };
    },
  };
  return held as Storage;
}

/** Erases a storage, unless that was done elsewhere. */
export async function eraseStorage(storage: Storage): Promise<void> {
  try {
    await storage.destroy?.();
  } catch (thrown) {
    if (!(thrown instanceof OmegaError && thrown.code === "destroyed")) throw thrown;
  }
  storage.close();
}

/** Sets of unreadable records that are kept; the oldest goes when one more comes. */
export const ASIDE_ENTRIES_MAX = 4;

/**
 * Storage that lasts as long as the object: pass the same one to `open` again to reload from it, one client
 * at a time as with every {@link Storage}. Its promises resolve at once and never reject.
 */
export class MemoryStorage implements Storage {
  readonly kind = "memory";
  private records: Uint8Array[] = [];
  private kept: AsideEntry[] = [];

  load(): Promise<Uint8Array[]> {
    return Promise.resolve(this.records.slice());
  }

  commit(change: StorageChange): Promise<void> {
    if (change.setAside !== undefined) {
      this.kept.push({ reason: change.setAside, atMs: Date.now(), records: this.records });
      if (this.kept.length > ASIDE_ENTRIES_MAX) this.kept.shift();
      this.records = [];
    }
    if (change.replace !== undefined) this.records = [change.replace];
    this.records.push(...change.append);
    return Promise.resolve();
  }

  aside(): Promise<AsideEntry[]> {
    return Promise.resolve(this.kept.slice());
  }

  close(): void {}

  destroy(): Promise<void> {
    this.records = [];
    this.kept = [];
    return Promise.resolve();
  }
}
