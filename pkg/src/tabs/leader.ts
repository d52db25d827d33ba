/**
 * What a tab that leads does for the others: it tells them what it stored and how it stands with the
 * server, makes the writes that they ask for, and hands on what other devices order.
 */

import {
  Driver,
  type DriverEvents,
  type DriverParts,
  reasonOf,
  type TabEvents,
} from "../client.js";
import type { OmegaError } from "../errors.js";
import { randomName } from "../indexeddb.js";
import type { Channel, Message, Refusal } from "./channel.js";
import { Orders } from "./orders.js";
import { AskedWrites } from "./writes.js";

/** A tab that asked for nothing for so long is forgotten, as its mark in the storage is. */
const ASKED_MS_MAX = 86_400_000;

/** Whose part it is. */
export interface LeaderOwner {
  readonly name: string;
  readonly events: TabEvents;
  readonly isPaused: boolean;
  post: Channel["post"];
  /** @returns whether the tab goes on as follower */
  lost(error: OmegaError): boolean;
  /** What waits may be done. */
  lookFlushed(): void;
  pause(): void;
  resume(): void;
  /** Another tab says that it leads. */
  doubted(driver: Driver): void;
}

/** The part of the tab that leads. */
export class Leader {
  readonly driver: Driver;
  /** What other devices order, and which tabs there are for it. */
  readonly orders: Orders;
  /** Of this time that the tab leads, so that nothing reaches it that was said to another. */
  private readonly term = randomName();
  /** By the names of the tabs that asked. */
  private readonly asked = new Map<string, AskedWrites>();
  /** How often something was stored. */
  private stored = 0;

  /** @param marks the last write of each other tab that was stored before */
  constructor(
    parts: DriverParts,
    marks: ReadonlyMap<string, number>,
    private readonly owner: LeaderOwner,
  ) {
    marks.forEach((stored, tab) => {
      this.asked.set(tab, new AskedWrites(stored));
    });
    this.orders = new Orders(
      owner.name,
      (message) => owner.post(message),
      (order) => owner.events.remote(order),
    );
    this.driver = new Driver(parts, this.driverEvents());
  }

  /** Up to which write of a tab all is stored. */
  storedOf(tab: string): number {
    return this.askedBy(tab).stored;
  }

  /** Says how it stands, while it does lead. */
  say(): void {
    const { driver, owner, stored, term } = this;
    if (driver.hasEnded) return;
    const closeReason = driver.closeReason() ?? driver.read(reasonOf);
    const state = driver.state();
    const standing = { state, closeReason, paused: owner.isPaused, stored };
    owner.post({ kind: "lead", tab: owner.name, term, ...standing });
  }

  /** Another tab says something. */
  hear(message: Message): void {
    if (this.driver.hasEnded) return;
    switch (message.kind) {
      case "ask":
        this.orders.heard(message.tab, message.attention);
        this.say();
        break;
      case "write":
        this.orders.heard(message.tab);
        if (message.to === this.term) this.makeFor(message);
        break;
      case "connection":
        if (message.wish === "pause") this.owner.pause();
        else if (message.wish === "resume") this.owner.resume();
        else this.syncFor(message.tab);
        break;
      case "claim":
        this.orders.claimed(message.tab, message.number);
        break;
      case "lead":
        this.owner.doubted(this.driver);
        break;
      default:
    }
  }

  private driverEvents(): DriverEvents {
    const { owner, orders } = this;
    const { events, name: tab } = owner;
    const tell = (message: Message) => {
      if (orders.hasOthers) owner.post(message);
    };
    return {
      ...events,
      status: () => {
        if (orders.hasOthers) this.say();
        events.status();
        owner.lookFlushed();
      },
      replayed: (report) => {
        tell({ kind: "replay", tab, report });
        events.replayed(report);
      },
      remote: (output) => {
        if (output.kind === "order") {
          orders.take(output);
          return;
        }
        tell({ kind: "remote", tab, output });
        events.remote(output);
      },
      stored: (keys) => {
        this.stored += 1;
        tell({ kind: "stored", tab, term: this.term, stored: this.stored, keys });
      },
      lost: (error) => {
        orders.stop();
        return owner.lost(error);
      },
    };
  }

  private askedBy(tab: string): AskedWrites {
    const nowMs = performance.now();
    let asked = this.asked.get(tab);
    if (asked === undefined) {
      this.asked.forEach(({ atMs }, other) => {
        if (nowMs - atMs > ASKED_MS_MAX) this.asked.delete(other);
      });
      asked = new AskedWrites();
      this.asked.set(tab, asked);
    }
    asked.atMs = nowMs;
    return asked;
  }

  /** Makes a write that another tab asked for, unless it has been made. */
  private makeFor(message: Message & { kind: "write" }): void {
    const { tab: to, write, first } = message;
    const { driver, owner } = this;
    const asked = this.askedBy(to);
    this.heard(to);
    const done = (refusal: Refusal) => {
      owner.post({ kind: "done", tab: owner.name, to, write, ...refusal });
    };
    const answer = asked.answerTo(write);
    if (answer !== undefined) done(answer);
    if (!asked.begin(write, first)) return;
    driver.make(message, { tab: to, write }).then(
      () => {
        asked.stored = write;
        done({});
      },
      ({ code, message }: OmegaError) => {
        // Who leads instead will be asked.
        if (driver.hasEnded) return;
        asked.fail(write, { code, message });
        done({ code, message });
      },
    );
  }

  private heard(to: string): void {
    this.owner.post({ kind: "heard", tab: this.owner.name, to });
  }

  private syncFor(to: string): void {
    const { driver, owner } = this;
    const said = { kind: "synced", tab: owner.name, to } as const;
    this.heard(to);
    driver.syncNow().then(
      () => owner.post(said),
      ({ code, message }: OmegaError) => {
        if (!driver.hasEnded) owner.post({ ...said, code, message });
      },
    );
  }
}
