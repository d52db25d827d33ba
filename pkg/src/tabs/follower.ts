/**
 * What a tab does that does not lead: it has a replica to read from, loaded anew whenever the leader has
 * stored something, hears what the leader says, and asks it to write. It stores nothing and talks to no
 * server.
 */

import { type Attention, UNHEARD } from "../calls.js";
import type { TabEvents } from "../client.js";
import { loadReplica, type Replica } from "../engine.js";
import { failure, fromEngine, type OmegaError } from "../errors.js";
import type { SharedStorage } from "../storage.js";
import { type Asked, type Channel, errorOf, type Message, type Standing } from "./channel.js";
import { CLAIM_MS, since } from "./orders.js";

/** Whose part it is. */
export interface FollowerOwner {
  readonly name: string;
  readonly events: TabEvents;
  readonly attention: Attention;
  post: Channel["post"];
  /** It shows another state now; without keys anything may be different. */
  followed(keys: string[] | undefined): void;
  /** It can't go on. */
  lost(error: OmegaError): void;
  /** Somebody leads and was heard; `isNew`: it is another one than before, or leads anew. */
  led(paused: boolean, isNew: boolean): void;
  /** A write of this tab is stored, or refused. */
  answered(write: number, error: OmegaError | undefined): void;
  synced(error: OmegaError | undefined): void;
  /** The leader stops. */
  vacant(): void;
}

/** The part of a tab that follows. */
export class Follower {
  /** How it stands with the server, as the leader said. */
  standing: Standing = { state: "connecting", closeReason: "" };
  /** The term of who leads, as it was heard last. */
  private term = "";
  /** How often the leader had stored something when it was heard last. */
  private stored = 0;
  /** The commands that this tab said it wants, and when. */
  private readonly claims = new Map<number, number>();
  private running: Promise<void> | undefined;
  private again = false;
  private keys: string[] | undefined = [];
  private closed = false;

  private constructor(
    public replica: Replica,
    private readonly storage: SharedStorage,
    private readonly household: string,
    private readonly owner: FollowerOwner,
  ) {}

  /** Loads what is stored. */
  static async open(
    storage: SharedStorage,
    household: string,
    owner: FollowerOwner,
  ): Promise<Follower> {
    const { records } = await storage.peek();
    return new Follower(loadReplica(records, household).replica, storage, household, owner);
  }

  /** Runs a read. */
  read<T>(query: (replica: Replica) => T): T {
    if (this.closed) throw failure("closed");
    try {
      return query(this.replica);
    } catch (thrown) {
      throw fromEngine(thrown);
    }
  }

  /** Asks who leads, and says how attentive this tab is. */
  ask(): void {
    const { name, attention } = this.owner;
    this.owner.post({ kind: "ask", tab: name, attention });
  }

  /** Asks the leader to make a write; `first` is the first of this tab's that has no answer. */
  forward({ write, atMs, name, values }: Asked, first: number): void {
    const { owner, term: to } = this;
    owner.post({ kind: "write", tab: owner.name, to, first, write, atMs, name, values });
  }

  /** Asks the leader to do something with the connection. */
  wish(wish: "pause" | "resume" | "sync"): void {
    this.owner.post({ kind: "connection", tab: this.owner.name, wish });
  }

  /** Another tab says something. */
  hear(message: Message): void {
    const { owner } = this;
    if ("to" in message && message.to !== owner.name) return;
    switch (message.kind) {
      case "lead":
        this.led(message);
        break;
      case "stored": {
        // One that was missed may have changed anything.
        const isNext = message.term === this.term && message.stored === this.stored + 1;
        this.stored = message.stored;
        void this.refresh(isNext ? message.keys : undefined);
        break;
      }
      case "done":
        // So that whoever waited for a write sees it.
        void this.refresh([]).then(() => owner.answered(message.write, errorOf(message)));
        break;
      case "synced":
        owner.synced(errorOf(message));
        break;
      case "replay":
        owner.events.replayed(message.report);
        break;
      case "remote":
        owner.events.remote(message.output);
        break;
      case "offer":
        this.claim(message.number);
        break;
      case "order":
        this.given(message);
        break;
      case "end":
        owner.vacant();
        break;
      default:
    }
  }

  /** Loads what is stored now; `keys` are the parts that look different then, if that is known. */
  refresh(keys?: string[]): Promise<void> {
    this.keys = keys === undefined ? undefined : this.keys?.concat(keys);
    if (this.running === undefined) this.running = this.load();
    else this.again = true;
    return this.running;
  }

  /** Lets its memory go. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.replica.free();
  }

  private led({ term, state, closeReason, paused, stored }: Message & { kind: "lead" }): void {
    const isNew = term !== this.term;
    if (isNew || stored !== this.stored) void this.refresh();
    this.term = term;
    this.stored = stored;
    this.standing = { state, closeReason };
    this.owner.led(paused, isNew);
  }

  private claim(number: number): void {
    if (this.owner.attention === UNHEARD) return;
    this.claims.forEach((at, other) => {
      if (since(at) >= CLAIM_MS) this.claims.delete(other);
    });
    this.claims.set(number, Date.now());
    this.owner.post({ kind: "claim", tab: this.owner.name, number });
  }

  /** What this tab does not want any more, or not by now, ends with its time. */
  private given({ number, order }: Message & { kind: "order" }): void {
    const claimed = this.claims.get(number);
    this.claims.delete(number);
    if (claimed !== undefined && since(claimed) < CLAIM_MS) this.owner.events.remote(order);
  }

  private async load(): Promise<void> {
    do {
      this.again = false;
      const keys = this.keys;
      this.keys = [];
      try {
        const { records } = await this.storage.peek();
        if (this.closed) return;
        const { replica } = loadReplica(records, this.household);
        this.replica.free();
        this.replica = replica;
        this.owner.followed(keys);
      } catch (thrown) {
        // What is there to see is seen with the next word of the leader.
        this.keys = undefined;
        this.stored = -1;
        if (!this.closed) this.owner.lost(fromEngine(thrown));
        break;
      }
    } while (this.again);
    this.running = undefined;
  }
}
