/**
 * The tabs of one storage: one leads, with engine, socket and storage (`leader.ts`); the others follow it
 * live and ask it to write (`follower.ts`).
 *
 * `election.ts` says who leads. A leader that is replaced while it is frozen may wake: the storage's
 * generation refuses its next commit, and it follows.
 *
 * Invariant: a write of a follower is made once. The leader stores, in the same transaction, which
 * write of which tab it was; who takes over reads that, and what is not stored is asked for anew. So
 * that one mark says it of all writes before, too, a leader makes them in their order, without a gap
 * ({@link AskedWrites}), and only what was said to it since it leads.
 */

import type { ReadName, WriteName, Writes } from "../calls.js";
import { type Attention, type Cells, FLEETING, type Keeper, UNHEARD } from "../calls.js";
import {
  type Driver,
  type DriverParts,
  STORAGE_RETRY_MS,
  stoppedBy,
  type TabEvents,
} from "../client.js";
import { loadReplica, type Replica, readRows, type SyncState, standingOf } from "../engine.js";
import { failure, fromEngine, OmegaError } from "../errors.js";
import { randomName } from "../indexeddb.js";
import type { StopReason } from "../reasons.js";
import { eraseStorage, isShared, type SharedStorage, type Storage } from "../storage.js";
import { type Asked, type Channel, type Message, openChannel, tellErased } from "./channel.js";
import { Election, FIRST_ANSWER_MS, SILENT_MS } from "./election.js";
import { Follower, type FollowerOwner } from "./follower.js";
import { Leader, type LeaderOwner } from "./leader.js";
import { endAll, type OwnWrite, OwnWrites, type Waiter } from "./writes.js";

/** What a tab needs to work. */
export interface TabParts extends Omit<DriverParts, "replica" | "damage"> {
  /** As the app named it, or empty. */
  household: string;
  /** Prepares each replica after it was loaded; throws if it must not be used. */
  loaded(replica: Replica): void;
  /** Opens the way to the other tabs, where this thread can't. */
  channel?: typeof openChannel;
  /** What its page calls this tab, whose writes are numbered and noted there, with a mark for each. */
  tab?: string;
  /** Whether it is to stay offline until {@link Tab.resume}. */
  paused?: boolean;
}

/** One tab's part. */
export class Tab implements Keeper, LeaderOwner, FollowerOwner {
  /** Drawn where there can be others. */
  readonly name: string;
  /** How attentive its page is to commands. */
  attention: Attention = UNHEARD;
  isPaused = false;
  private readonly shared: SharedStorage | undefined;
  private readonly election: Election;
  private leader: Leader | undefined;
  private follower: Follower | undefined;
  private channel: Channel | undefined;
  private readonly own = new OwnWrites();
  private flushing: Waiter[] = [];
  private syncing: Waiter[] = [];
  private started = false;
  private taking = false;
  /** Whether this tab has erased the storage. */
  private isEmpty = false;
  /** How many refused writes a tab that follows has shown. */
  private rejected = 0;
  /** See {@link allKeys}. */
  private keys: string[] = [];
  private ended: OmegaError | undefined;

  private constructor(
    private readonly parts: TabParts,
    readonly events: TabEvents,
  ) {
    const { storage } = parts;
    this.shared = isShared(storage) ? storage : undefined;
    this.name = parts.tab ?? (this.shared === undefined ? "" : randomName());
    this.isPaused = parts.paused === true;
    this.election = new Election(this.shared?.name ?? "", {
      ask: () => this.ask(),
      takeOver: (steal) => this.takeOver(steal),
    });
  }

  /** Leads or follows; resolves when there is something to read from. {@link Tab.start} does the rest. */
  static async open(parts: TabParts, events: TabEvents): Promise<Tab> {
    const tab = new Tab(parts, events);
    try {
      await tab.join();
      return tab;
    } catch (thrown) {
      tab.election.stop();
      tab.channel?.close();
      throw thrown;
    }
  }

  /** Begins to connect, or to ask the leader. */
  start(): void {
    this.started = true;
    if (this.driver === undefined) this.ask();
    else this.startDriver(this.driver);
  }

  private startDriver(driver: Driver): void {
    if (this.isPaused) driver.pause();
    driver.start();
  }

  /** The storage. */
  get storage(): Storage {
    return this.parts.storage;
  }

  /** Whether everything of this storage was erased. */
  get isErased(): boolean {
    return this.ended?.code === "destroyed";
  }

  /** Whether this tab has the engine that talks to the server. */
  get leads(): boolean {
    return this.leader !== undefined;
  }

  private get driver(): Driver | undefined {
    return this.leader?.driver;
  }

  get isReadable(): boolean {
    const { failure } = (this.driver ?? this.follower)?.replica ?? {};
    return failure === undefined && this.closeReason() !== "closed";
  }

  rows(name: ReadName, ...values: string[]): Cells[] {
    return this.read((replica) => readRows(replica, name, values));
  }

  pending(): number {
    return this.read(standingOf).pending;
  }

  private read<T>(query: (replica: Replica) => T): T {
    const copy = this.driver ?? this.follower;
    if (copy === undefined || this.isErased) throw this.ended ?? failure("closed");
    return copy.read(query);
  }

  write<Name extends WriteName>(name: Name, ...values: Writes[Name]): Promise<void> {
    return this.make(this.own.next(name, values));
  }

  /** Makes a write that this tab, or its page, has numbered. */
  make(asked: Asked): Promise<void> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.begin(this.own.add(asked, { resolve, reject }));
    });
  }

  attend(attention: Attention): void {
    if (attention === this.attention || this.ended !== undefined) return;
    this.attention = attention;
    if (this.leader !== undefined) this.leader.orders.heard(this.name, attention);
    else if (this.started) this.ask();
  }

  /** Where the connection stands: the leader's. */
  state(): SyncState {
    if (this.ended !== undefined) return "stopped";
    return this.driver?.state() ?? this.follower?.standing.state ?? "connecting";
  }

  /** Why it stopped or is kept offline, for a reason on this device. */
  closeReason(): StopReason | undefined {
    if (this.ended !== undefined) return this.ended.code;
    return this.driver === undefined
      ? this.follower?.standing.closeReason
      : this.driver.closeReason();
  }

  /** Takes the connection down until {@link resume}. */
  pause(): void {
    this.isPaused = true;
    if (this.driver === undefined) this.follower?.wish("pause");
    else this.driver.pause();
  }

  /** Back online, at once. */
  resume(): void {
    this.isPaused = false;
    if (this.driver === undefined) this.follower?.wish("resume");
    else this.driver.resume();
  }

  /** Resolves when the server has acknowledged every write so far. */
  flushed(): Promise<void> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.flushing.push({ resolve, reject });
      this.lookFlushed();
    });
  }

  /** A new connection now; resolves when all is exchanged. */
  syncNow(): Promise<void> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.syncing.push({ resolve, reject });
      this.sync();
    });
  }

  private sync(): void {
    const { driver } = this;
    if (this.syncing.length === 0) return;
    if (driver === undefined) {
      this.follower?.wish("sync");
      this.election.expect(SILENT_MS);
      return;
    }
    const waiting = this.syncing.splice(0);
    driver.syncNow().then(
      () => endAll(waiting, undefined),
      (error: OmegaError) => {
        if (this.willFollow(error)) this.syncing.push(...waiting);
        else endAll(waiting, error);
      },
    );
  }

  /** Whether this tab goes on as follower after an error, so that what failed can be asked for. */
  private willFollow(error: OmegaError): boolean {
    const isReplaced = error.code === "superseded" && this.ended === undefined;
    return isReplaced && this.channel !== undefined;
  }

  /** Ends in order: what is queued is stored, here or by the leader. */
  async close(): Promise<void> {
    if (this.ended === undefined) await this.own.answered();
    await this.driver?.close();
    this.finish(failure("closed"));
    this.parts.storage.close();
  }

  /** Erases everything of this storage, in every tab; also after `close`. */
  async destroy(): Promise<void> {
    const { driver, parts } = this;
    // What is there now may be of the next user.
    if (this.isEmpty) return;
    if (parts.storage.destroy === undefined) {
      throw new OmegaError("invalid_option", "this storage has no `destroy`: erase it yourself");
    }
    const error = failure("destroyed");
    // From here on nothing is read, written or sent; then what is stored goes.
    if (this.ended === undefined) this.post({ kind: "destroyed", tab: this.name });
    else tellErased(this.shared?.life);
    this.finish(error);
    driver?.halt(error);
    this.events.status();
    await driver?.release();
    await eraseStorage(parts.storage);
    this.isEmpty = true;
  }

  private async join(): Promise<void> {
    const { shared } = this;
    if (shared === undefined) return this.lead();
    const grant = await this.election.take(false);
    if (grant === "held") return this.lead();
    await this.follow();
    if (shared.life === undefined || this.channel === undefined) return this.lead();
    this.election.expect(grant === "none" ? FIRST_ANSWER_MS : SILENT_MS);
  }

  /** Takes the storage over and becomes the one who writes. */
  private async lead(): Promise<void> {
    const { parts, shared } = this;
    const records = await parts.storage.load();
    if (this.ended !== undefined) throw this.ended;
    const { replica, damage } = loadReplica(records, parts.household);
    try {
      parts.loaded(replica);
    } catch (thrown) {
      replica.free();
      throw thrown;
    }
    const leader = new Leader({ ...parts, replica, damage }, shared?.marks ?? new Map(), this);
    const { driver } = leader;
    const { follower } = this;
    this.leader = leader;
    leader.orders.heard(this.name, this.attention);
    this.follower = undefined;
    follower?.close();
    this.election.lead();
    this.connectTabs();
    if (damage !== undefined) this.events.damaged(damage);
    if (!this.started) return;
    this.startDriver(driver);
    this.events.led();
    this.takenOver(leader);
  }

  /** What this tab had asked for and is stored is done; the rest it makes itself. */
  private takenOver(leader: Leader): void {
    for (const own of this.own.list()) {
      if (own.write <= leader.storedOf(this.name)) this.settle(own);
      else this.begin(own);
    }
    leader.say();
    this.events.changed(this.allKeys());
    this.events.status();
    this.lookFlushed();
    this.sync();
  }

  /** Becomes one who reads what another tab stores. */
  private async follow(): Promise<void> {
    const { shared, parts } = this;
    if (shared === undefined) return;
    const follower = await Follower.open(shared, parts.household, this);
    this.follower = follower;
    try {
      if (this.ended !== undefined) throw this.ended;
      follower.read((replica) => parts.loaded(replica));
    } catch (thrown) {
      follower.close();
      throw thrown;
    }
    this.rejected = this.rows("rejected").length;
    // What is there before this one shows what is stored.
    this.allKeys();
    this.connectTabs();
    if (this.channel === undefined) return;
    this.election.follow();
  }

  private connectTabs(): void {
    const life = this.shared?.life;
    const open = this.parts.channel ?? openChannel;
    if (life !== undefined) this.channel ??= open(life, (message) => this.hear(message));
  }

  followed(keys: string[] | undefined): void {
    const all = this.allKeys();
    this.events.changed(keys ?? all);
    this.events.status();
    this.lookFlushed();
    const { rejected } = this;
    this.rejected = this.rows("rejected").length;
    if (this.rejected > rejected) this.events.rejected();
  }

  /** Another tab leads now, or so the storage says; or this one can't go on. */
  lost(error: OmegaError): boolean {
    // Whoever ended this tab tells so.
    if (this.ended !== undefined) return true;
    // A follower reads again with the next word of the leader.
    if (isPassing(error)) return false;
    if (this.willFollow(error)) this.followInstead();
    else if (error.code !== "engine_failed") this.stop(error);
    // What is queued is still stored. Then another tab, whose engine is sound, may lead.
    else this.own.answered().then(() => this.stop(error));
    return true;
  }

  private followInstead(): void {
    if (this.ended !== undefined) return;
    const old = this.driver;
    this.follow().then(
      () => {
        this.leader = undefined;
        old?.release();
        this.events.changed(this.allKeys());
        this.sync();
        this.ask();
        this.lookFlushed();
        this.events.status();
      },
      (thrown: unknown) => {
        const error = fromEngine(thrown);
        if (!isPassing(error)) return this.stop(error);
        this.refuse(error);
        setTimeout(() => this.followInstead(), STORAGE_RETRY_MS);
      },
    );
  }

  /** Who waits would do so until the storage works, which may be never. */
  private refuse(error: OmegaError): void {
    endAll(this.syncing.splice(0), error);
    for (const own of this.own.list()) this.settle(own, error);
  }

  private takeOver(steal: boolean): void {
    if (this.taking || this.driver !== undefined || this.ended !== undefined) return;
    if (!this.election.mayTakeOver()) {
      this.stop(failure("superseded"));
      return;
    }
    this.taking = true;
    const ready = steal ? this.election.take(true) : Promise.resolve();
    ready
      .then(() => this.lead())
      .catch((thrown: unknown) => {
        const error = fromEngine(thrown);
        const { follower } = this;
        if (!isPassing(error) || follower === undefined) return this.stop(error);
        // The next question to nobody tries again.
        this.refuse(error);
        const isTold = follower.standing.closeReason === error.code;
        follower.standing = { state: "offline", closeReason: error.code };
        if (!isTold) this.events.failed(error);
        this.events.status();
      })
      .then(() => {
        this.taking = false;
      });
  }

  private hear(message: Message): void {
    if (this.ended !== undefined || message.tab === this.name) return;
    if ("to" in message && message.to === this.name) this.election.heard();
    if (message.kind === "destroyed") {
      this.stop(failure("destroyed"));
    } else if (this.leader !== undefined) this.leader.hear(message);
    else this.follower?.hear(message);
  }

  doubted(driver: Driver): void {
    // One of the two is mistaken, and the storage knows which.
    this.shared?.peek().then(
      ({ leads }) => {
        if (leads) this.leader?.say();
        else driver.halt(failure("superseded"));
      },
      () => undefined,
    );
  }

  led(paused: boolean, isNew: boolean): void {
    this.election.heard();
    this.isPaused = paused;
    if (isNew) {
      this.forwardAll();
      this.sync();
      this.events.led();
    }
    this.events.status();
    this.lookFlushed();
  }

  synced(error: OmegaError | undefined): void {
    endAll(this.syncing.splice(0), error);
  }

  vacant(): void {
    this.election.vacant();
  }

  private begin(own: OwnWrite): void {
    const { driver, parts } = this;
    if (driver === undefined) {
      this.forward(own);
      return;
    }
    const isNoted = parts.tab !== undefined && !FLEETING.has(own.name);
    driver.make(own, isNoted ? { tab: this.name, write: own.write } : undefined).then(
      () => this.settle(own),
      (error: OmegaError) => {
        // If it was not stored it can be asked for once this tab follows.
        if (!this.willFollow(error)) this.settle(own, error);
      },
    );
  }

  private forward(own: OwnWrite): void {
    const [first = own] = this.own.list();
    this.follower?.forward(own, first.write);
    this.election.expect(SILENT_MS);
  }

  private forwardAll(): void {
    for (const own of this.own.list()) this.forward(own);
  }

  answered(write: number, error: OmegaError | undefined): void {
    const own = this.own.find(write);
    if (own !== undefined) this.settle(own, error);
    // Those after it were not made before this tab knew.
    if (error !== undefined) this.forwardAll();
  }

  private settle(own: OwnWrite, error?: OmegaError): void {
    this.own.settle(own, error);
    this.lookFlushed();
  }

  /** Whoever waits for the server is told when it has everything. */
  lookFlushed(): void {
    if (this.flushing.length === 0 || this.ended !== undefined) return;
    const waiting = this.flushing;
    if (this.driver !== undefined) {
      this.flushing = [];
      this.driver.flushed().then(
        () => endAll(waiting, undefined),
        (error: OmegaError) => {
          if (this.willFollow(error)) this.flushing.push(...waiting);
          else endAll(waiting, error);
        },
      );
    } else if (this.own.isEmpty && this.pending() === 0) {
      this.flushing = [];
      endAll(waiting, undefined);
    } else if (this.state() === "stopped") {
      this.flushing = [];
      endAll(waiting, stoppedBy(this.closeReason() ?? ""));
    }
  }

  /** Every part there is, and those that were there at any look before. */
  private allKeys(): string[] {
    const lists = this.rows("profiles").map(([id]) => [`watchlist:${id}`, `progress:${id}`]);
    const all = ["profiles", "devices"].concat(...lists);
    this.keys = this.keys.concat(all.filter((key) => !this.keys.includes(key)));
    return this.keys;
  }

  private ask(): void {
    if (this.follower === undefined) return;
    this.follower.ask();
    // A message may have been lost.
    this.forwardAll();
    this.election.expect(SILENT_MS);
  }

  post(message: Message): void {
    if (this.ended === undefined) this.channel?.post(message);
  }

  /** Stops for good because of an error, and says so. */
  private stop(error: OmegaError): void {
    if (this.ended !== undefined) return;
    this.finish(error);
    this.driver?.halt(error);
    if (this.isErased) {
      // So that nothing is left in memory either, and nobody holds the database open.
      void this.driver?.release();
      this.parts.storage.close();
    }
    this.events.failed(error);
    this.events.status();
  }

  /** Lets everything go. */
  private finish(error: OmegaError): void {
    const first = this.ended === undefined;
    if (first && this.leader !== undefined) this.post({ kind: "end", tab: this.name });
    // What was erased stays so, whatever is done with it afterwards.
    if (!this.isErased) this.ended = error;
    if (error.code === "closed" || error.code === "destroyed") this.follower?.close();
    if (!first) return;
    this.leader?.orders.stop();
    this.election.stop();
    this.channel?.close();
    for (const own of this.own.list()) this.own.settle(own, error);
    endAll(this.flushing.splice(0).concat(this.syncing.splice(0)), error);
  }
}

/** Whether a storage may work again after a while. */
function isPassing({ code }: OmegaError): boolean {
  return code === "storage_failed" || code === "storage_full";
}
