/**
 * Writes between asking and answer: those of this tab, and on a leader those of the other tabs.
 */

import type { WriteName } from "../calls.js";
import type { OmegaError } from "../errors.js";
import type { Asked, Refusal } from "./channel.js";

/** Somebody who waits. */
export interface Waiter {
  resolve: () => void;
  reject: (error: OmegaError) => void;
}

/** A write of this tab that has no answer yet. */
export interface OwnWrite extends Waiter, Asked {}

/** The writes of this tab that have no answer yet, in their order. */
export class OwnWrites {
  private last = 0;
  private waiting: OwnWrite[] = [];
  private idle: (() => void)[] = [];

  /** A write that the app asks for now. */
  next(name: WriteName, values: (string | number)[]): Asked {
    this.last += 1;
    return { write: this.last, atMs: Date.now(), name, values };
  }

  /** Notes a write. */
  add(asked: Asked, waiter: Waiter): OwnWrite {
    const own = { ...asked, ...waiter };
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

/**
 * What a leader made for one of the other tabs, so that a write that is asked for twice is made once.
 *
 * Invariant: when a write is stored, each of that tab before it is stored too, or has its answer: a write
 * is begun next after the one before, or when the tab says that it waits for none before; and after one
 * that failed only when the tab knows of that.
 */
export class AskedWrites {
  /** When it asked last, in milliseconds of this page. */
  atMs = performance.now();
  private begun: number;
  /** Of writes that were not made, or not stored, until their tab knows. */
  private readonly refusals = new Map<number, Refusal>();

  /** @param stored up to which write all is stored */
  constructor(public stored = 0) {
    this.begun = stored;
  }

  /** The answer to a write, if there is one. */
  answerTo(write: number): Refusal | undefined {
    return this.refusals.get(write) ?? (write <= this.stored ? {} : undefined);
  }

  /** Notes that a write is made now; false if it is not its turn. */
  begin(write: number, first: number): boolean {
    this.refusals.forEach((_, refused) => {
      if (refused < first) this.refusals.delete(refused);
    });
    if (write !== Math.max(this.begun + 1, first) || this.refusals.size > 0) return false;
    this.begun = write;
    return true;
  }

  /** Notes that a write was not made, or not stored. */
  fail(write: number, refusal: Refusal): void {
    this.refusals.set(write, refusal);
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
