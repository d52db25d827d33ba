/**
 * Where a replica's records live: an append-only log in IndexedDB, or memory.
 *
 * Invariants: a commit is all or nothing and durable when its promise resolves; and only the
 * instance that opened the storage last may commit, because each opener takes a new generation
 * and every commit compares it inside its own transaction. So a frozen tab that wakes up cannot
 * write over the work of the tab that took its place.
 */

import { OmegaError } from "./errors.js";

/** Records of a replica that could not be read, kept for export. */
export interface AsideEntry {
  /** Why they were set aside. */
  reason: string;
  /** When, in Unix milliseconds. */
  atMs: number;
  /** The records as they were found. */
  records: unknown[];
}

/** One atomic change: the three parts happen in this order or not at all. */
export interface StorageChange {
  /** Why the present records are unreadable: they are kept apart before anything else. */
  setAside?: string;
  /** An image that takes the place of every earlier record. */
  replace?: Uint8Array;
  /** Records to add, in this order. */
  append: Uint8Array[];
}

/** What a storage has to do. Failures are {@link OmegaError}s with a `storage_…` code. */
export interface Storage {
  /** `indexeddb`, `memory`, or a name of your own; shown in the status. */
  readonly kind: string;
  /** Takes the storage over and reads every record, oldest first. */
  load(): Promise<Uint8Array[]>;
  /** Makes one change durable. */
  commit(change: StorageChange): Promise<void>;
  /** What was set aside, oldest first. */
  aside(): Promise<AsideEntry[]>;
  /** Releases the storage. */
  close(): void;
}

/** Sets of unreadable records that are kept; the oldest goes when one more comes. */
export const ASIDE_ENTRIES_MAX = 4;

const DATABASE_VERSION = 1;
const LOG = "log";
const META = "meta";
const ASIDE = "aside";
const GENERATION = "generation";

/** Storage that lasts as long as the object: pass the same one to `open` again to reload from it. */
export class MemoryStorage implements Storage {
  readonly kind = "memory";
  private records: Uint8Array[] = [];
  private readonly kept: AsideEntry[] = [];

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
}

/** Storage in the browser's IndexedDB. */
export class IndexedDbStorage implements Storage {
  readonly kind = "indexeddb";
  private database: IDBDatabase | undefined;
  private generation = 0;

  private constructor(
    private readonly name: string,
    database: IDBDatabase,
  ) {
    this.adopt(database);
  }

  /** Opens or creates the database. Nothing in it changes until {@link load}. */
  static async open(name: string): Promise<IndexedDbStorage> {
    return new IndexedDbStorage(name, await openDatabase(name));
  }

  async load(): Promise<Uint8Array[]> {
    const transaction = await this.begin([LOG, META], "readwrite");
    const meta = transaction.objectStore(META);
    let records: Uint8Array[] = [];
    onResult(meta.get(GENERATION), (found: unknown) => {
      this.generation = (typeof found === "number" ? found : 0) + 1;
      meta.put(this.generation, GENERATION);
    });
    onResult(transaction.objectStore(LOG).getAll(), (found: unknown[]) => {
      records = found.map(bytesOrNothing);
    });
    await finished(transaction);
    return records;
  }

  async commit(change: StorageChange): Promise<void> {
    const transaction = await this.begin([LOG, META, ASIDE], "readwrite");
    const log = transaction.objectStore(LOG);
    const grow = () => {
      if (change.replace !== undefined) {
        log.clear();
        log.add(change.replace);
      }
      for (const record of change.append) log.add(record);
    };
    this.whileLeading(transaction, () => {
      if (change.setAside === undefined) grow();
      else moveAside(transaction, change.setAside, grow);
    });
    await finished(transaction);
  }

  async aside(): Promise<AsideEntry[]> {
    const transaction = await this.begin([ASIDE], "readonly");
    let entries: AsideEntry[] = [];
    onResult(transaction.objectStore(ASIDE).getAll(), (found: AsideEntry[]) => {
      entries = found;
    });
    await finished(transaction);
    return entries;
  }

  close(): void {
    this.database?.close();
    this.database = undefined;
  }

  private adopt(database: IDBDatabase): void {
    this.database = database;
    // A newer version of the package may upgrade; our next commit then reports `storage_newer`.
    database.onversionchange = () => this.close();
    // Some TVs drop the connection in standby: the next transaction opens a new one.
    database.onclose = () => {
      if (this.database === database) this.database = undefined;
    };
  }

  private async begin(stores: string[], mode: IDBTransactionMode): Promise<IDBTransaction> {
    if (this.database !== undefined) {
      try {
        return transact(this.database, stores, mode);
      } catch {
        // The connection died without its `close` event: once more on a fresh one.
        this.close();
      }
    }
    const database = await openDatabase(this.name);
    this.adopt(database);
    try {
      return transact(database, stores, mode);
    } catch (cause) {
      throw storageError(cause);
    }
  }

  private whileLeading(transaction: IDBTransaction, change: () => void): void {
    onResult(transaction.objectStore(META).get(GENERATION), (found: unknown) => {
      if (found === this.generation) change();
      else throw new OmegaError("superseded", SUPERSEDED);
    });
  }
}

const SUPERSEDED = "another tab or window uses this storage now; open again to take it back";

/** Opens the platform's storage, or memory with the reason why it is not durable. */
export async function openStorage(
  name: string,
  kind: "indexeddb" | "memory",
): Promise<{ storage: Storage; warning?: OmegaError }> {
  if (kind === "memory") return { storage: new MemoryStorage() };
  try {
    return { storage: await IndexedDbStorage.open(name) };
  } catch (cause) {
    if (cause instanceof OmegaError && cause.code === "storage_newer") throw cause;
    const message = "no durable storage here: changes last until this page closes";
    return {
      storage: new MemoryStorage(),
      warning: new OmegaError("storage_memory", message, cause),
    };
  }
}

function openDatabase(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    // Without IndexedDB this throws a ReferenceError, which rejects like any other failure.
    const request = indexedDB.open(name, DATABASE_VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(LOG, { autoIncrement: true });
      request.result.createObjectStore(META);
      request.result.createObjectStore(ASIDE, { autoIncrement: true });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(storageError(request.error));
  });
}

/** Asks for a real flush to disk where the engine knows the option (Chromium 83 and later). */
function transact(
  database: IDBDatabase,
  stores: string[],
  mode: IDBTransactionMode,
): IDBTransaction {
  if (mode === "readonly") return database.transaction(stores, mode);
  return database.transaction(stores, mode, { durability: "strict" });
}

/**
 * Runs `use` inside the transaction; what it throws aborts the transaction with that as its cause.
 */
function onResult<T>(request: IDBRequest<T>, use: (result: T) => void): void {
  request.onsuccess = () => {
    try {
      use(request.result);
    } catch (cause) {
      const transaction = request.transaction;
      if (transaction === null) return;
      causes.set(transaction, cause);
      transaction.abort();
    }
  };
}

/** Why we aborted a transaction ourselves; IndexedDB has no place for it. */
const causes = new WeakMap<IDBTransaction, unknown>();

function finished(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(storageError(causes.get(transaction) ?? transaction.error));
  });
}

/** Moves every record into one entry of the other store, then goes on. */
function moveAside(transaction: IDBTransaction, reason: string, then: () => void): void {
  const log = transaction.objectStore(LOG);
  const aside = transaction.objectStore(ASIDE);
  onResult(aside.getAllKeys(), (keys) => {
    const surplus = keys.length + 1 - ASIDE_ENTRIES_MAX;
    for (const key of keys.slice(0, Math.max(0, surplus))) aside.delete(key);
  });
  onResult(log.getAll(), (records: unknown[]) => {
    const entry: AsideEntry = { reason, atMs: Date.now(), records };
    aside.add(entry);
    log.clear();
    then();
  });
}

/** A record that is no bytes at all becomes an empty one, which the engine reports as damage. */
function bytesOrNothing(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(0);
}

function storageError(cause: unknown): OmegaError {
  if (cause instanceof OmegaError) return cause;
  const name = nameOf(cause);
  if (name === "QuotaExceededError") {
    const message = "this device's storage is full; free some room, storing is retried by itself";
    return new OmegaError("storage_full", message, cause);
  }
  if (name === "VersionError") {
    const message = "this storage was written by a newer version of omega-sync; update the app";
    return new OmegaError("storage_newer", message, cause);
  }
  const message = `this device's storage failed (${name}); storing is retried by itself`;
  return new OmegaError("storage_failed", message, cause);
}

function nameOf(cause: unknown): string {
  if (typeof cause === "object" && cause !== null && "name" in cause) return String(cause.name);
  return "unknown reason";
}
