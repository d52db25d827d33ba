/**
 * Which of a device's tabs carries out a command that came for it.
 *
 * The tab that leads hears the command and offers it to one tab after the other: to one that is seen
 * before one that is hidden, among these to itself first, then to the one that was seen last. A tab
 * that wants it says so, is given it, and only then carries it out; its answer to the sender is a write
 * like any other. Who does not say so within a second is passed over.
 *
 * Invariant: a command is given to one tab at most, and none carries it out after its end: what was
 * frozen meanwhile finds it gone, or too old.
 */

import { type Attention, UNHEARD } from "../calls.js";
import type { Order } from "../engine.js";
import type { Channel } from "./channel.js";

/** How long a tab may take to say that it wants a command, and then to be given it, in milliseconds. */
export const CLAIM_MS = 1_000;
/** For so long after it came a command is given to a tab: with {@link CLAIM_MS} its 5 seconds. */
const OFFERS_MS = 4_000;
/**
 * A tab that was not heard for so long is gone: engines run a hidden page's timers once a minute, and
 * it may miss one.
 */
const GONE_MS = 150_000;

/**
 * How long ago a time of this clock was. A clock that was set says something else, which is too long for
 * whoever asks; one that counts only while the device is awake would not say enough.
 */
export function since(atMs: number): number {
  return Math.abs(Date.now() - atMs);
}

interface Place {
  attention: Attention;
  /** When it began to pay as much attention as it does. */
  sinceMs: number;
  heardMs: number;
}

interface Offered {
  order: Order;
  cameMs: number;
  /** Who was asked; the last one may still say that it wants it. */
  asked: string[];
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** The orders that one tab hands on while it leads. */
export class Orders {
  private readonly tabs = new Map<string, Place>();
  private readonly offers = new Map<number, Offered>();
  private last = 0;
  private otherMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly name: string,
    private readonly post: Channel["post"],
    private readonly carryOut: (order: Order) => void,
  ) {}

  /** A tab, or this one, was heard, and perhaps how attentive it is. */
  heard(tab: string, attention?: Attention): void {
    const nowMs = performance.now();
    if (tab !== this.name) this.otherMs = nowMs;
    const place = this.tabs.get(tab);
    if (place !== undefined) place.heardMs = nowMs;
    if (attention === undefined || attention === place?.attention) return;
    this.tabs.set(tab, { attention, sinceMs: nowMs, heardMs: nowMs });
    this.tabs.forEach(({ heardMs }, name) => {
      if (nowMs - heardMs > GONE_MS && name !== this.name) this.tabs.delete(name);
    });
  }

  /** Whether any other tab was heard lately. */
  get hasOthers(): boolean {
    return performance.now() - this.otherMs < GONE_MS;
  }

  /** A command came for this device. */
  take(order: Order): void {
    this.last += 1;
    const offered = { order, cameMs: Date.now(), asked: [], timer: undefined };
    this.offers.set(this.last, offered);
    this.offer(this.last, offered);
  }

  /** A tab wants a command that it was offered. */
  claimed(tab: string, number: number): void {
    const offered = this.offers.get(number);
    if (offered === undefined || offered.asked[offered.asked.length - 1] !== tab) return;
    this.end(number, offered);
    if (since(offered.cameMs) < OFFERS_MS) {
      this.post({ kind: "order", tab: this.name, to: tab, number, order: offered.order });
    }
  }

  /** Hands on nothing more: what was not given ends with its time. */
  stop(): void {
    this.offers.forEach((offered, number) => {
      this.end(number, offered);
    });
  }

  private offer(number: number, offered: Offered): void {
    const { name } = this;
    const isLate = since(offered.cameMs) >= OFFERS_MS;
    const best = this.best(offered.asked) ?? name;
    if (isLate || best === name) {
      this.end(number, offered);
      // Also when nobody listens: then that is its answer.
      if (!isLate) this.carryOut(offered.order);
      return;
    }
    offered.asked.push(best);
    offered.timer = setTimeout(() => this.offer(number, offered), CLAIM_MS);
    this.post({ kind: "offer", tab: name, to: best, number });
  }

  private best(asked: string[]): string | undefined {
    const { name } = this;
    const nowMs = performance.now();
    const own = (tab: string) => Number(tab === name);
    const [best] = Array.from(this.tabs)
      .filter(([tab, { attention, heardMs }]) => {
        const isThere = tab === name || nowMs - heardMs < GONE_MS;
        return attention > UNHEARD && isThere && !asked.includes(tab);
      })
      .sort(
        ([a, one], [b, two]) =>
          two.attention - one.attention || own(b) - own(a) || two.sinceMs - one.sinceMs,
      );
    return best?.[0];
  }

  private end(number: number, { timer }: Offered): void {
    clearTimeout(timer);
    this.offers.delete(number);
  }
}
