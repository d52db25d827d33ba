/**
 * A replica's records in the browser's IndexedDB.
 *
 * Invariants: a commit is all or nothing and durable when its promise resolves; only the instance
 * that loaded the storage last may commit, because each takes a new random generation and every
 * commit compares it inside its own transaction; and nobody reads or writes a storage of another
 * *life*: one that was erased and begun anew since. So a frozen tab that wakes up cannot write over
 * the work of the tab that took its place, nor see what belongs to the next user.
 */

import type { OpenOptions } from "./api.js";
import { failure, OmegaError } from "./errors.js";
import {
  ASIDE_ENTRIES_MAX,
  type AsideEntry,
  heldStorage,
  MemoryStorage,
  type Seen,
  type SharedStorage,
  type Storage,
  type StorageChange,
  type WriteMark,
} from "./storage.js";

/** What follows the name in the names of the databases of taste. */
export const TASTE_DATABASES = [":taste", ":titles"] as const;

const DATABASE_VERSION = 1;
const LOG = "log";
const META = "meta";
const ASIDE = "aside";
/** The key of the generation that may commit; what is kept beside has it before its own keys. */
export const GENERATION = "generation";
/** The first key after these. */
const LIFE = "life";
/** Before a tab's name; its last write that is stored has this key. */
const MARK = "mark:";
/** Marks of tabs that wrote nothing for so long go, in milliseconds. */
const MARK_AGE_MS_MAX = 86_400_000;

/** Keeps something beside the records, in the transactions that write them. */
export interface Beside {
  /** Asks for what is there, before {@link found}. */
  look(meta: IDBObjectStore): void;
  /** What this instance goes on from is of that generation. */
  found(generation: unknown): void;
  /** This instance takes the storage over. */
  taken(meta: IDBObjectStore, generation: number): void;
  /** A commit is asked for. @returns what adds to it, once it is known to be of the present generation */
  commit(): (meta: IDBObjectStore, generation: number) => void;
}

interface StoredMark extends WriteMark {
  atMs: number;
}

/** Storage in the browser's IndexedDB. */
export class IndexedDbStorage implements SharedStorage {
  readonly kind = "indexeddb";
  readonly marks = new Map<string, number>();
  /** What is kept beside the records, if anything. */
  beside: Beside | undefined;
  /** The connection; calls that come while it is opened share it. */
  private database: Promise<IDBDatabase> | undefined;
  private generation = 0;
  /**
   * The generation and the keys of the records that were read where there was no room to take the storage
   * over. While both are what they were nobody else has written: no key of the log is used twice.
   */
  private goesOnFrom: string | undefined;
  private lifeId: string | undefined;

  private constructor(
    readonly name: string,
    database: IDBDatabase,
  ) {
    this.connect(Promise.resolve(database));
  }

  /** Opens or creates the database. Nothing in it changes until {@link load}. */
  static async open(name: string): Promise<IndexedDbStorage> {
    return new IndexedDbStorage(name, await openDatabase(name));
  }

  /** The same, unless there is no such database. */
  static async existing(name: string): Promise<IndexedDbStorage | undefined> {
    try {
      return new IndexedDbStorage(name, await openDatabase(name, false));
    } catch (thrown) {
      if (thrown instanceof OmegaError && nameOf(thrown.cause) === "AbortError") return undefined;
      throw thrown;
    }
  }

  get life(): string | undefined {
    return this.lifeId;
  }

  /** Without room the first commit that works takes it over: {@link goesOnFrom}. */
  async load(): Promise<Uint8Array[]> {
    this.generation = randomNumber();
    try {
      return await this.take(true);
    } catch (thrown) {
      if ((thrown as OmegaError).code !== "storage_full") throw thrown;
      return this.take(false);
    }
  }

  private async take(claims: boolean): Promise<Uint8Array[]> {
    const transaction = await this.begin([LOG, META], claims ? "readwrite" : "readonly");
    const meta = transaction.objectStore(META);
    const log = transaction.objectStore(LOG);
    let records: Uint8Array[] = [];
    let life: string | undefined;
    onResult(meta.get(LIFE), (found: unknown) => this.live(found));
    this.beside?.look(meta);
    onResult(meta.get(GENERATION), (found: unknown) => {
      this.beside?.found(found);
      if (claims) life = this.claim(meta);
      else {
        onResult(log.getAllKeys(), (keys) => {
          this.goesOnFrom = `${found},${keys}`;
        });
      }
    });
    withMarks(meta, claims, ({ tab, write }) => this.marks.set(tab, write));
    onResult(log.getAll(), (found: unknown[]) => {
      records = found.map(bytesOrNothing);
    });
    await finished(transaction);
    this.lifeId ??= life;
    return records;
  }

  async peek(): Promise<Seen> {
    const transaction = await this.begin([LOG, META], "readonly");
    const meta = transaction.objectStore(META);
    const seen: Seen = { records: [], leads: false };
    onResult(meta.get(LIFE), (found: unknown) => this.live(found));
    onResult(meta.get(GENERATION), (found: unknown) => {
      seen.leads = found === this.generation;
    });
    onResult(transaction.objectStore(LOG).getAll(), (found: unknown[]) => {
      seen.records = found.map(bytesOrNothing);
    });
    await finished(transaction);
    return seen;
  }

  async commit(change: StorageChange): Promise<void> {
    const addBeside = this.beside?.commit();
    const transaction = await this.begin([LOG, META, ASIDE], "readwrite");
    const log = transaction.objectStore(LOG);
    const meta = transaction.objectStore(META);
    const grow = () => {
      if (change.replace !== undefined) {
        log.clear();
        log.add(change.replace);
      }
      for (const record of change.append) log.add(record);
      for (const mark of change.marks ?? []) {
        const stored: StoredMark = { ...mark, atMs: Date.now() };
        meta.put(stored, MARK + mark.tab);
      }
      // Whoever leads for months takes nothing over.
      if (change.marks?.length) withMarks(meta, true, () => undefined);
      addBeside?.(meta, this.generation);
    };
    const store = () => {
      if (change.setAside === undefined) grow();
      else moveAside(transaction, change.setAside, grow);
    };
    onResult(meta.get(LIFE), (found: unknown) => this.live(found));
    onResult(meta.get(GENERATION), (found: unknown) => {
      if (found === this.generation) return store();
      onResult(log.getAllKeys(), (keys) => {
        if (this.goesOnFrom !== `${found},${keys}`) throw failure("superseded");
        this.claim(meta);
        store();
      });
    });
    await finished(transaction);
  }

  /**
   * Reads the generation that may commit, and what is kept beside the records under the keys that
   * follow. Each answer is a task of its own, and so is the end of a transaction: there is one answer,
   * and nobody waits for the end.
   */
  async look(): Promise<unknown[]> {
    const transaction = await this.begin([META], "readonly");
    const request = transaction.objectStore(META).getAll(IDBKeyRange.bound(GENERATION, LIFE));
    return new Promise((resolve, reject) => {
      onResult(request, (found) => {
        this.live(found.pop());
        resolve(found);
      });
      finished(transaction).catch(reject);
    });
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

  /**
   * Empties it in one transaction. The empty database stays: deleting it waits for every tab that has it
   * open, a frozen one included, and the next user's open waits for that.
   */
  async destroy(): Promise<void> {
    const stores = [LOG, META, ASIDE];
    const transaction = await this.begin(stores, "readwrite");
    onResult(transaction.objectStore(META).get(LIFE), (found: unknown) => {
      this.live(found);
      for (const store of stores) transaction.objectStore(store).clear();
    });
    await finished(transaction);
    this.close();
  }

  close(): void {
    const { database } = this;
    this.database = undefined;
    // After what was asked for before, also if it is still being opened.
    database?.then(
      (opened) => opened.close(),
      () => undefined,
    );
  }

  /** From here on only this instance may commit. @returns the life, which is one when it is stored */
  private claim(meta: IDBObjectStore): string {
    const life = this.lifeId ?? randomName();
    meta.put(life, LIFE);
    meta.put(this.generation, GENERATION);
    this.beside?.taken(meta, this.generation);
    return life;
  }

  /** Remembers the life that was found, or refuses another one. */
  private live(found: unknown): void {
    if (this.lifeId === undefined) this.lifeId = typeof found === "string" ? found : undefined;
    else if (found !== this.lifeId) throw failure("destroyed");
  }

  private connect(opening: Promise<IDBDatabase>): Promise<IDBDatabase> {
    const forget = () => {
      if (this.database === opening) this.database = undefined;
    };
    opening.then((database) => {
      // A newer version of the package may upgrade, or another tab erase it: our next call says so.
      database.onversionchange = () => {
        forget();
        database.close();
      };
      // Some TVs drop the connection in standby: the next transaction opens a new one.
      database.onclose = forget;
    }, forget);
    this.database = opening;
    return opening;
  }

  private async begin(stores: string[], mode: IDBTransactionMode): Promise<IDBTransaction> {
    const { database } = this;
    if (database !== undefined) {
      try {
        return transact(await database, stores, mode);
      } catch {
        // The connection died without its `close` event: once more on a fresh one.
        if (this.database === database) this.close();
      }
    }
    const fresh = this.database ?? this.connect(openDatabase(this.name));
    try {
      return transact(await fresh, stores, mode);
    } catch (cause) {
      throw storageError(cause);
    }
  }
}

/** The storage that an app wants. */
export async function storageFor(
  options: OpenOptions,
): Promise<{ storage: Storage; warning?: OmegaError }> {
  const kind = options.storage ?? "indexeddb";
  if (typeof kind === "object") return { storage: heldStorage(kind) };
  return openStorage(options.name ?? `omega-sync:${options.device}`, kind);
}

/** Asks that the origin's storage be kept; the engine decides, and nothing here depends on it. */
export function askToKeep(persist: boolean | undefined): void {
  // Chromium and Safari decide by themselves; Firefox asks the viewer, which is for the app to time.
  if (persist ?? !navigator.userAgent.includes("Firefox/")) {
    // Missing on plain http and before Chromium 52; a page without an origin is refused.
    navigator.storage?.persist?.().catch(() => undefined);
  }
}

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

function openDatabase(name: string, creates = true): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    // Without IndexedDB this throws a ReferenceError, which rejects like any other failure.
    const request = indexedDB.open(name, DATABASE_VERSION);
    request.onupgradeneeded = () => {
      // Then there is none again.
      if (!creates) return request.transaction?.abort();
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
export function onResult<T>(request: IDBRequest<T>, use: (result: T) => void): void {
  request.onsuccess = () => {
    try {
      use(request.result);
    } catch (cause) {
      const transaction: Transaction | null = request.transaction;
      if (transaction === null) return;
      transaction.cause = cause;
      transaction.abort();
    }
  };
}

/** Why we aborted a transaction ourselves has no place in IndexedDB's. */
interface Transaction extends IDBTransaction {
  cause?: unknown;
}

function finished(transaction: Transaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(storageError(transaction.cause ?? transaction.error));
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

/** What tabs wrote last; those that wrote nothing for long are passed over, or deleted. */
function withMarks(meta: IDBObjectStore, deletes: boolean, use: (mark: StoredMark) => void): void {
  onResult(meta.getAll(IDBKeyRange.bound(MARK, `${MARK}\uffff`)), (found: StoredMark[]) => {
    for (const mark of found) {
      if (Math.abs(Date.now() - mark.atMs) <= MARK_AGE_MS_MAX) use(mark);
      else if (deletes) meta.delete(MARK + mark.tab);
    }
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
    const message = "this device's storage is full: free some room";
    return new OmegaError("storage_full", message, cause);
  }
  if (name === "VersionError") return failure("storage_newer", cause);
  return new OmegaError("storage_failed", `this device's storage failed (${name})`, cause);
}

function nameOf(cause: unknown): string {
  if (typeof cause === "object" && cause !== null && "name" in cause) return String(cause.name);
  return "unknown reason";
}

function randomNumber(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) + 1;
}

/** A name that nobody else has drawn. */
export function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(2)), (word) => word.toString(36)).join(
    "",
  );
}
