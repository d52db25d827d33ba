/**
 * The view in the storage, so that a page can show it before any engine runs.
 *
 * Invariant: what is read is exactly what the stored records show. It is written in the transactions that
 * write records, and says of which generation it is: where somebody else has led since, it does not
 * count. Who takes the storage over goes on from what it has read only if that is still what is there:
 * who led before may have stored more meanwhile.
 */

import {
  type Beside,
  GENERATION,
  type IndexedDbStorage,
  onResult,
  randomName,
} from "../indexeddb.js";
import type { Lists, ViewUpdate } from "./view.js";

/** All lists as of some commit. */
const LISTS = `${GENERATION}:lists`;
/**
 * The generation that lists and patches belong to, the form of the lists, and a name of these; without it
 * none counts.
 */
const STAMP = `${GENERATION}:of`;
/** Before the number of a patch, from 0 on. */
const PATCH = `${GENERATION}:patch:`;
const PATCHES_END = `${PATCH}:`;
const NUMBER_DIGITS = 8;
/** Which lists there are and what is in a row; another form is not read, and written anew. */
const FORM = 2;
/** Updates that wait for a commit; with more the view is given up until all lists come again. */
const UPDATES_WAITING_MAX = 64;

/** The view beside the records of one storage. */
export class StoredView implements Beside {
  /** The stamp of the lists that were read, or stored last; nothing while they do not count. */
  private stamp: string | undefined;
  private patches = 0;
  /** The stamp and the number of patches that are there when the storage is taken over. */
  private there: unknown[] = [];
  private waiting: ViewUpdate[] = [];

  /** What a page can show now: all lists, then patches in their order; nothing if it would be wrong. */
  async read(storage: IndexedDbStorage): Promise<ViewUpdate[]> {
    const found = await storage.look();
    const [generation, lists, stamp, ...patches] = found as [unknown, Lists, unknown, ...string[]];
    if (!isOf(stamp, generation)) return [];
    this.stamp = stamp;
    this.patches = patches.length;
    return [{ lists }, ...patches.map((text) => ({ patches: text }))];
  }

  /** Whether what was read and said since is what the one who leads now begins with. */
  get counts(): boolean {
    return this.stamp !== undefined;
  }

  /** Notes what the view has become; the next commit stores it. */
  add(update: ViewUpdate): void {
    if ("lists" in update) this.waiting = [update];
    else if (this.counts || this.waiting.length > 0) this.waiting.push(update);
    if (this.waiting.length > UPDATES_WAITING_MAX) this.giveUp();
  }

  look(meta: IDBObjectStore): void {
    onResult(meta.get(STAMP), (stamp) => {
      this.there = [stamp];
    });
    onResult(meta.count(patchKeys()), (patches) => this.there.push(patches));
  }

  found(generation: unknown): void {
    const [stamp, patches] = this.there;
    const isSame = stamp === this.stamp && patches === this.patches;
    if (!isSame || !isOf(stamp, generation)) this.giveUp();
  }

  taken(meta: IDBObjectStore, generation: number): void {
    if (!this.counts) return;
    const stamp = newStamp(meta, generation);
    meta.transaction.addEventListener("complete", () => {
      if (this.counts) this.stamp = stamp;
    });
  }

  commit(): (meta: IDBObjectStore, generation: number) => void {
    // What comes from here on is of records that are not in this commit.
    const waiting = this.waiting.slice();
    return (meta, generation) => this.store(waiting, meta, generation);
  }

  private store(waiting: ViewUpdate[], meta: IDBObjectStore, generation: number): void {
    let { stamp, patches } = this;
    const isNew = waiting.some((update) => "lists" in update);
    if (!isNew && !this.counts) {
      meta.delete(STAMP);
      return;
    }
    for (const update of waiting) {
      if ("lists" in update) {
        meta.delete(patchKeys());
        meta.put(update.lists, LISTS);
        stamp = newStamp(meta, generation);
        patches = 0;
      } else {
        meta.put(update.patches, PATCH + String(patches).padStart(NUMBER_DIGITS, "0"));
        patches += 1;
      }
    }
    meta.transaction.addEventListener("complete", () => {
      const isGivenUp = this.waiting[0] !== waiting[0];
      this.waiting = this.waiting.filter((update) => !waiting.includes(update));
      this.patches = patches;
      if (isNew && !isGivenUp) this.stamp = stamp;
    });
  }

  private giveUp(): void {
    this.stamp = undefined;
    this.waiting = [];
  }
}

function newStamp(meta: IDBObjectStore, generation: number): string {
  const stamp = stampStart(generation) + randomName();
  meta.put(stamp, STAMP);
  return stamp;
}

function isOf(stamp: unknown, generation: unknown): stamp is string {
  return typeof stamp === "string" && stamp.startsWith(stampStart(generation));
}

function stampStart(generation: unknown): string {
  return `${generation},${FORM},`;
}

function patchKeys(): IDBKeyRange {
  return IDBKeyRange.bound(PATCH, PATCHES_END);
}
