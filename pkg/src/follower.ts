/**
 * A tab that does not lead: a replica to read from, loaded anew whenever the leader has stored
 * something. It stores nothing and talks to no server.
 */

import { loadReplica, type Replica } from "./engine.js";
import { fromEngine, OmegaError } from "./errors.js";
import type { SharedStorage } from "./storage.js";

/** What a follower tells its owner. */
export interface FollowerEvents {
  /** It shows another state now; without keys anything may be different. */
  followed(keys: string[] | undefined): void;
  /** It can't go on. */
  lost(error: OmegaError): void;
}

/** A copy of what the leader stored. */
export class Follower {
  private running: Promise<void> | undefined;
  private again = false;
  private keys: string[] | undefined = [];
  private closed = false;

  private constructor(
    private replica: Replica,
    private readonly storage: SharedStorage,
    private readonly household: string,
    private readonly events: FollowerEvents,
  ) {}

  /** Loads what is stored. */
  static async open(
    storage: SharedStorage,
    household: string,
    events: FollowerEvents,
  ): Promise<Follower> {
    const { records } = await storage.peek();
    return new Follower(loadReplica(records, household).replica, storage, household, events);
  }

  /** Runs a read. */
  read<T>(query: (replica: Replica) => T): T {
    if (this.closed) throw new OmegaError("closed", "this client is closed; call open again");
    try {
      return query(this.replica);
    } catch (thrown) {
      throw fromEngine(thrown);
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
        this.events.followed(keys);
      } catch (thrown) {
        if (!this.closed) this.events.lost(fromEngine(thrown));
        break;
      }
    } while (this.again);
    this.running = undefined;
  }
}
