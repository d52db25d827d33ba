/**
 * Who leads among the tabs of one storage, by Web Locks: a lock goes back by itself when its tab dies.
 *
 * Where the platform has none (before Chromium 69, or not a secure context), `election.ts` asks around
 * instead. Either way the storage's generation has the last word: the lock only saves waiting.
 */

/** `none`: there are no locks here. */
export type Grant = "held" | "busy" | "none";

/** One storage's lock. */
export class LeadLock {
  private free: (() => void) | undefined;
  /** Rises when a wish for the lock is void. */
  private round = 0;

  constructor(private readonly name: string) {}

  /** Takes the lock if nobody has it; with `steal` also from a tab that has it and does not answer. */
  take(steal: boolean): Promise<Grant> {
    const locks = locksOf();
    if (locks === undefined) return Promise.resolve("none");
    this.release();
    return new Promise((resolve) => {
      const options = steal ? { steal: true } : { ifAvailable: true };
      const held = locks.request(this.name, options, (lock) => {
        if (lock === null) return resolve("busy");
        resolve("held");
        return this.hold();
      });
      held.catch((error: unknown) => resolve(isStolen(error) ? "busy" : "none"));
    });
  }

  /** Waits for the lock; calls `granted` when it is this tab's. */
  wait(granted: () => void): void {
    const locks = locksOf();
    if (locks === undefined) return;
    this.release();
    const { round } = this;
    const held = locks.request(this.name, () => {
      // Nobody waits for it any more: the next one in line gets it at once.
      if (round !== this.round) return undefined;
      granted();
      return this.hold();
    });
    // Stolen, or refused by a page without an origin: then asking around is what is left.
    held.catch(() => undefined);
  }

  /** Gives the lock back, or stops waiting for it. */
  release(): void {
    this.round += 1;
    this.free?.();
    this.free = undefined;
  }

  private hold(): Promise<void> {
    return new Promise((free) => {
      this.free = free;
    });
  }
}

/** Whether this platform has locks. */
export function hasLocks(): boolean {
  return locksOf() !== undefined;
}

function locksOf(): LockManager | undefined {
  return typeof navigator === "undefined" ? undefined : navigator.locks;
}

function isStolen(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}
