/**
 * Writes between asking and answer: those of this tab, and on a leader those of the other tabs.
 */

import type { WriteName } from "./calls.js";
import type { OmegaError } from "./errors.js";

/** Somebody who waits. */
export interface Waiter {
  resolve: () => void;
  reject: (error: OmegaError) => void;
}

/** A write of this tab that has no answer yet. */
export interface OwnWrite extends Waiter {
  /** Counts up from 1. */
  write: number;
  name: WriteName;
  values: (string | number)[];
}

/** The writes of this tab that have no answer yet, in their order. */
export class OwnWrites {
  private last = 0;
  private waiting: OwnWrite[] = [];
  private idle: (() => void)[] = [];

  /** Notes a write. */
  add(name: WriteName, values: (string | number)[], waiter: Waiter): OwnWrite {
    this.last += 1;
    const own = { write: this.last, name, values, ...waiter };
    this.waiting.push(own);
    return own;
  }

  /** All of them. */
  list(): OwnWrite[] {
    return this.waiting.slice();
  }

  /** One by its number. */
  find(write: number): OwnWrite | undefined {
    return this.waiting.find((own) => own.write === write);
  }

  /** One has its answer. */
  settle(own: OwnWrite, error?: OmegaError): void {
    this.waiting = this.waiting.filter((candidate) => candidate !== own);
    endWaiter(own, error);
    if (this.waiting.length === 0) for (const idle of this.idle.splice(0)) idle();
  }

  /** Whether none waits. */
  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  /** Resolves when none waits any more. */
  answered(): Promise<void> {
    if (this.isEmpty) return Promise.resolve();
    return new Promise((resolve) => this.idle.push(resolve));
  }
}

/** What a leader made for the other tabs, so that a write that is asked for twice is made once. */
export class AskedWrites {
  private readonly tabs = new Map<string, { begun: number; stored: number }>();

  /** Starts over with what the storage says is stored. */
  reset(marks: ReadonlyMap<string, number>): void {
    this.tabs.clear();
    for (const [tab, stored] of marks) this.tabs.set(tab, { begun: stored, stored });
  }

  /** Up to which write of a tab all is stored. */
  stored(tab: string): number {
    return this.tabs.get(tab)?.stored ?? 0;
  }

  /** Notes that a write is made now; false when it was begun before. */
  begin(tab: string, write: number): boolean {
    const known = this.tabs.get(tab) ?? { begun: 0, stored: 0 };
    if (write <= known.begun) return false;
    this.tabs.set(tab, { ...known, begun: write });
    return true;
  }

  /** Notes that a write is stored. */
  note(tab: string, write: number): void {
    const known = this.tabs.get(tab) ?? { begun: write, stored: 0 };
    this.tabs.set(tab, { ...known, stored: Math.max(known.stored, write) });
  }
}

/** Tells somebody how it ended. */
function endWaiter(waiter: Waiter, error: OmegaError | undefined): void {
  if (error === undefined) waiter.resolve();
  else waiter.reject(error);
}

/** Tells all of them. */
export function endAll(waiters: Waiter[], error: OmegaError | undefined): void {
  for (const waiter of waiters) endWaiter(waiter, error);
}
