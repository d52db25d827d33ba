/**
 * Who leads among the tabs: when a follower has to ask, and when it may take over.
 *
 * A tab leads when it gets the lock, or, where there are no locks, when nobody answers. A leader that
 * was asked and says nothing has died or is frozen: a follower takes its place.
 */

import { type Grant, hasLocks, LeadLock } from "./lock.js";

/** How often a follower asks whether the leader is there. */
const ASK_EVERY_MS = 5_000;
/** A leader that says nothing for so long after a question is gone or frozen. */
export const SILENT_MS = 3_000;
/** The same at the start where there are no locks, so that a lone TV is not kept waiting. */
export const FIRST_ANSWER_MS = 200;
/** A tab that takes over more often within a minute does not hear the other one: it stops. */
const TAKEOVERS_MAX = 4;
const MINUTE_MS = 60_000;

/** What a tab is to do. */
export interface ElectionEvents {
  ask(): void;
  /** `steal`: from a tab that has the lock and does not answer. */
  takeOver(steal: boolean): void;
}

/** One tab's view of who leads. */
export class Election {
  private readonly lock: LeadLock;
  private isFollowing = false;
  private askTimer: ReturnType<typeof setInterval> | undefined;
  private silence: ReturnType<typeof setTimeout> | undefined;
  private takeovers: number[] = [];

  constructor(
    storage: string,
    private readonly events: ElectionEvents,
  ) {
    this.lock = new LeadLock(`omega-sync:${storage}`);
  }

  /** Tries to get the lock. */
  take(steal: boolean): Promise<Grant> {
    return this.lock.take(steal);
  }

  /** From now on this tab follows: it asks now and then, and waits for the lock. */
  follow(): void {
    this.isFollowing = true;
    this.lock.wait(() => this.events.takeOver(false));
    clearInterval(this.askTimer);
    this.askTimer = setInterval(() => this.events.ask(), ASK_EVERY_MS);
  }

  /** From now on this tab leads. */
  lead(): void {
    if (this.isFollowing) this.takeovers.push(performance.now());
    this.isFollowing = false;
    clearInterval(this.askTimer);
    this.heard();
  }

  /** Takes over unless the leader is heard within a time. */
  expect(withinMs: number): void {
    if (this.silence !== undefined || !this.isFollowing) return;
    this.silence = setTimeout(() => {
      this.silence = undefined;
      this.events.takeOver(true);
    }, withinMs);
  }

  /** The leader was heard. */
  heard(): void {
    clearTimeout(this.silence);
    this.silence = undefined;
  }

  /** The leader stops: where there are locks one comes by itself, else somebody is the first. */
  vacant(): void {
    if (!hasLocks()) this.expect(Math.random() * FIRST_ANSWER_MS);
  }

  /** Whether it may take over once more: one that came to nothing does not count. */
  mayTakeOver(): boolean {
    const nowMs = performance.now();
    this.takeovers = this.takeovers.filter((at) => nowMs - at < MINUTE_MS);
    return this.takeovers.length < TAKEOVERS_MAX;
  }

  /** Takes no part any more. */
  stop(): void {
    this.lead();
    this.lock.release();
  }
}
