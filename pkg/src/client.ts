/**
 * The driver: carries out what the engine asks for, in its order.
 *
 * Loop: a call into the engine returns outputs; notifications go out at once, because reads show
 * the new state at once; everything else enters one queue. The pump takes the whole queue, makes
 * all its records durable in ONE storage transaction, then does the rest (send, connect, …).
 *
 * Invariant: nothing is sent, and no write promise resolves, before every record that precedes it
 * is durable. While storage fails the engine is therefore kept offline: the view goes on from
 * memory, each write rejects with the reason, its records stay queued, and as soon as a commit
 * works again they are stored and the connection returns. They can't pile up: the engine replaces
 * a log that has grown long by one image.
 */

import type { InputName, WriteName } from "./calls.js";
import type { Output, RemoteOutput, ReplayReport, Replica, SyncState, Value } from "./engine.js";
import { callWrite, readOutputs, readRows, standingOf } from "./engine.js";
import { type ErrorCode, failure, fromCommit, fromEngine, OmegaError } from "./errors.js";
import { type LifecycleEvents, watchLifecycle } from "./lifecycle.js";
import type { CloseReason } from "./reasons.js";
import { CLOSED_ABNORMALLY } from "./socket.js";
import type { Storage, StorageChange, WriteMark } from "./storage.js";
import type { Asked } from "./tabs/channel.js";
import { CLOSE_CODES_FROM, Transport, type TransportParts } from "./transport.js";

/** How long after a failed commit the next try comes, unless a write tries earlier. */
export const STORAGE_RETRY_MS = 5_000;
/** Failures after which nothing may be written any more. */
const ENDS = new Set(["superseded", "storage_newer", "destroyed"]);
/** Where all is exchanged. */
const SETTLED = new Set<SyncState>(["live", "polling"]);
/** Where in what the engine says of itself the reason is for which the server ended the connection. */
const REASON_CELL = 4;
/** The longest delay a browser's timer takes. */
const TIMER_MS_MAX = 2_147_483_647;

/** What the driver needs to work. */
export interface DriverParts extends TransportParts {
  replica: Replica;
  storage: Storage;
  /** Why the stored records were not all readable, if so. */
  damage: string | undefined;
  /** Where another page than this thread's is watched. @returns what ends it */
  watch?: (events: LifecycleEvents) => () => void;
}

/** What the driver tells its owner. */
export interface DriverEvents {
  changed(keys: string[]): void;
  rejected(): void;
  status(): void;
  replayed(report: ReplayReport): void;
  /** Something from another device. */
  remote(output: RemoteOutput): void;
  failed(error: OmegaError): void;
  /** A commit is durable; these parts look different by it. */
  stored(keys: string[]): void;
  /** It may not write any more. @returns whether somebody else goes on, so that nobody need be told */
  lost(error: OmegaError): boolean;
}

/** What a tab tells its owner. */
export interface TabEvents extends Omit<DriverEvents, "stored" | "lost"> {
  /** Stored records could not be read. */
  damaged(damage: string): void;
  /** This tab leads from now on. */
  led(): void;
}

interface Barrier {
  kind: "barrier";
  resolve: () => void;
  reject: (error: OmegaError) => void;
}

type Told = { kind: "changed" | "status" | "rejected" | "replayed" | RemoteOutput["kind"] };
/** `hides`: a request of a page that goes to the background. */
type Effect = Exclude<Output, Told> & { hides?: boolean };
type Task = Effect | { kind: "mark"; mark: WriteMark } | Barrier;

/** One replica with its storage, its socket and its timers. */
export class Driver {
  readonly replica: Replica;
  readonly storage: Storage;
  private readonly events: DriverEvents;
  private readonly transport: Transport;
  private readonly stopWatching: () => void;
  private queue: Task[] = [];
  /** The parts that look different by what is queued, or by what is not stored yet. */
  private changed = new Set<string>();
  private pumping: Promise<void> | undefined;
  private wakeTimer: ReturnType<typeof setTimeout> | undefined;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private retryDue = false;
  /** What the next commit has to bring along: damage to set aside, or a commit that failed. */
  private unstored: StorageChange | undefined;
  /** The last failure of the storage, while it lasts. */
  private failure: OmegaError | undefined;
  /** Why this driver takes no more writes. */
  private ended: OmegaError | undefined;
  private paused = false;
  private freed = false;
  private closing: Promise<void> | undefined;
  private waiters: Barrier[] = [];
  private syncing: Barrier[] = [];

  constructor(parts: DriverParts, events: DriverEvents) {
    this.replica = parts.replica;
    this.storage = parts.storage;
    this.unstored = parts.damage === undefined ? undefined : aside(parts.damage);
    this.events = events;
    this.transport = new Transport(parts, {
      opened: (token) => this.feed("opened", token),
      frame: (bytes) => this.feed("frame", bytes),
      closed: (code) => {
        this.feed("closed", code);
        this.attemptEnded(this.whyClosed(code));
      },
      asked: (token) => this.feed("asked", token),
      answered: (number, bytes) => {
        this.feed("answered", number, bytes);
        if (this.state() === "polling") this.transport.succeeded();
      },
      better: () => this.woke(),
      failed: (error) => this.events.failed(error),
    });
    this.stopWatching = (parts.watch ?? watchLifecycle)({
      woke: () => {
        this.transport.woke();
        this.woke();
      },
      hides: () => this.hide(),
    });
  }

  /** First call: stores the image, then starts to connect, unless it was paused before. */
  start(): void {
    this.feed("firstOutputs");
    if (!this.paused) this.feed("online");
  }

  /**
   * A write: resolves when it is durable on this device. If somebody else has asked for it there is a
   * mark, which is stored together with the write.
   */
  make({ name, values, atMs }: Asked, mark?: WriteMark): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) throw this.ended;
      if (name !== "rejectedTaken" || values[0] === this.rejectedCount()) {
        this.apply(this.call(name, values, atMs));
      }
      if (mark !== undefined) this.queue.push({ kind: "mark", mark });
      this.queue.push({ kind: "barrier", resolve, reject });
      this.pump();
    });
  }

  private rejectedCount(): number {
    return this.read((replica) => readRows(replica, "rejected", [])).length;
  }

  /** The offline switch: off until {@link resume}. */
  pause(): void {
    this.paused = true;
    this.feed("offline");
    this.transport.rest();
    this.syncEnded(syncFailed("it was paused"));
  }

  /** Back online, without waiting for a back-off to end, or for the time to try a socket again. */
  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.transport.woke();
    this.woke();
  }

  /** Resolves when the server has acknowledged every write so far. */
  flushed(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) throw this.ended;
      this.waiters.push({ kind: "barrier", resolve, reject });
      this.pump();
    });
  }

  /** Ends in order: what is queued is stored, then everything is released. */
  close(): Promise<void> {
    this.closing ??= this.closeOnce();
    return this.closing;
  }

  private async closeOnce(): Promise<void> {
    const stored = this.ended === undefined;
    this.ended = failure("closed");
    this.stopWatching();
    clearTimeout(this.wakeTimer);
    this.transport.close();
    if (stored) {
      this.retryDue = this.failure !== undefined;
      this.pump();
    }
    await this.pumping;
    clearTimeout(this.retryTimer);
    this.rejectWaiters(this.ended);
    this.storage.close();
    await this.release();
  }

  /** Lets the engine's memory go, once; from then on nobody reads from it. */
  async release(): Promise<void> {
    await this.pumping;
    if (this.freed) return;
    this.freed = true;
    this.replica.free();
  }

  /** A new connection, at once; resolves when it is up to date and nothing waits. */
  syncNow(): Promise<void> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    if (this.paused) return Promise.reject(syncFailed("it is paused: call resume"));
    return new Promise((resolve, reject) => {
      if (this.syncing.length === 0) this.transport.begin();
      this.syncing.push({ kind: "barrier", resolve, reject });
      this.woke();
    });
  }

  /** Where the connection stands; `stopped` also when another instance took the storage. */
  state(): SyncState {
    if (this.ended !== undefined || this.replica.failure !== undefined) return "stopped";
    try {
      return this.read(standingOf).state;
    } catch {
      // The engine broke just now.
      return "stopped";
    }
  }

  /** The local reason why this client stopped or is kept offline, if there is one. */
  closeReason(): ErrorCode | undefined {
    return this.ended?.code ?? this.failure?.code ?? this.replica.failure?.code;
  }

  /** Whether it takes no more writes. */
  get hasEnded(): boolean {
    return this.ended !== undefined;
  }

  /** Runs a read; after `close` and `release` there is nothing to read from. */
  read<T>(query: (replica: Replica) => T): T {
    if (this.ended !== undefined && (this.freed || this.ended.code === "closed")) throw this.ended;
    try {
      return query(this.replica);
    } catch (thrown) {
      throw this.failed(thrown);
    }
  }

  /** An event from outside the app; nobody waits for it. */
  private feed(name: InputName, ...values: Value[]): void {
    if (this.ended !== undefined) return;
    try {
      this.apply(this.call(name, values));
    } catch (thrown) {
      if (this.ended === undefined) this.events.failed(fromEngine(thrown));
    }
    this.pump();
  }

  private call(name: WriteName | InputName, values: readonly Value[], unix = Date.now()): Output[] {
    try {
      return readOutputs(callWrite(this.replica, name, values, unix, performance.now()));
    } catch (thrown) {
      throw this.failed(thrown);
    }
  }

  /** After a refusal everything goes on; after an engine that broke nothing does. */
  private failed(thrown: unknown): OmegaError {
    const error = fromEngine(thrown);
    if (this.replica.failure !== undefined && this.ended === undefined) this.stop(error);
    return error;
  }

  /** Queues the work first, so that a listener's own writes come after it; then notifies. */
  private apply(outputs: Output[]): void {
    const keys = new Set<string>();
    let rejected = false;
    let report: ReplayReport | undefined;
    const remote: RemoteOutput[] = [];
    for (const output of outputs) {
      if (output.kind === "changed") for (const key of output.keys) keys.add(key);
      else if (output.kind === "rejected") rejected = true;
      else if (output.kind === "replayed") report = output.report;
      else if (output.kind === "order" || output.kind === "outcome") remote.push(output);
      else if (output.kind === "presence") remote.push(output);
      else if (output.kind !== "status") this.queue.push(output);
    }
    for (const key of Array.from(keys)) this.changed.add(key);
    if (keys.size > 0) this.events.changed(Array.from(keys));
    if (rejected) this.events.rejected();
    this.events.status();
    if (report !== undefined) this.events.replayed(report);
    for (const output of remote) this.events.remote(output);
  }

  private pump(): void {
    this.pumping ??= this.drain();
  }

  private async drain(): Promise<void> {
    // One turn of the microtask queue, so that a loop of writes becomes one transaction.
    await Promise.resolve();
    while (this.queue.length > 0 || this.retryDue) {
      const batch = this.queue;
      this.queue = [];
      const change = mergeRecords(this.unstored, batch);
      if (change !== undefined && this.isCommitDue(batch)) {
        // What changes while this is being stored is stored with the next commit.
        const keys = Array.from(this.changed);
        this.changed.clear();
        try {
          await this.storage.commit(change);
        } catch (thrown) {
          for (const key of keys) this.changed.add(key);
          this.storageFailed(batch, change, fromCommit(thrown));
          continue;
        }
        this.stored(keys);
      }
      for (const task of batch) {
        try {
          this.carryOut(task);
        } catch (thrown) {
          // The platform refuses: as if the connection had ended.
          this.events.failed(syncFailed(String(thrown), thrown));
          this.transport.lost(CLOSED_ABNORMALLY);
        }
      }
      // The engine gave up waiting for an answer, unless a new connection or a request follows at once.
      const last = batch.map(({ kind }) => kind).filter((kind) => /connect|exchange/.test(kind));
      if (last.pop() === "disconnect") this.gaveUp();
      if (this.ended?.code !== "closed") this.events.status();
    }
    if (this.state() === "live") this.transport.succeeded();
    // Before anybody is told: whoever hears it may queue more, and needs a new pump.
    this.pumping = undefined;
    this.releaseWaiters();
  }

  /** The engine waits for no answer any more. */
  private gaveUp(): void {
    if (this.state() === "offline") return;
    this.transport.gaveUp();
    this.attemptEnded("no fitting answer came in time");
  }

  private whyClosed(code: number): string {
    if (this.transport.tokenless) return "the app gave no token";
    if (code < CLOSE_CODES_FROM) return "nobody answers at the server's address";
    return `the server says ${this.ended === undefined ? this.read(reasonOf) : code}`;
  }

  /** Nothing came of an attempt: who waits is told, unless another way is tried next. */
  private attemptEnded(why: string): void {
    const refused = this.refused();
    if (refused !== undefined) this.events.failed(refused);
    else if (this.transport.goesOn) return;
    this.syncEnded(refused ?? syncFailed(why));
  }

  /** While storage fails, only a write or the retry timer tries again. */
  private isCommitDue(batch: Task[]): boolean {
    const retry = this.retryDue;
    this.retryDue = false;
    if (this.failure === undefined || retry) return true;
    const kinds = batch.map((task) => task.kind);
    return kinds.includes("barrier") || kinds.includes("append") || kinds.includes("replace");
  }

  private stored(keys: string[]): void {
    const returned = this.failure !== undefined;
    this.unstored = undefined;
    this.failure = undefined;
    clearTimeout(this.retryTimer);
    this.events.stored(keys);
    if (returned && !this.paused) this.feed("online");
  }

  private storageFailed(batch: Task[], change: StorageChange, error: OmegaError): void {
    for (const task of batch) if (task.kind === "barrier") task.reject(error);
    this.syncEnded(error);
    // Whatever the batch wanted with the connection: nothing leaves while nothing is stored.
    this.transport.disconnect();
    if (ENDS.has(error.code)) {
      this.halt(error);
      return;
    }
    const first = this.failure === undefined;
    this.failure = error;
    this.unstored = change;
    if (this.ended !== undefined) return;
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.retryStorage(), STORAGE_RETRY_MS);
    if (!first) return;
    this.events.failed(error);
    this.feed("offline");
  }

  private retryStorage(): void {
    this.retryDue = true;
    this.pump();
  }

  private carryOut(task: Task): void {
    switch (task.kind) {
      case "send":
        this.transport.send(task.bytes);
        break;
      case "exchange":
        this.transport.exchange(task.number, task.bytes, task.hides === true);
        break;
      case "connect":
        this.transport.connect();
        break;
      case "disconnect":
        this.transport.disconnect();
        break;
      case "wake":
        this.wakeAfter(task.afterMs);
        break;
      case "barrier":
        task.resolve();
        break;
      case "append":
      case "replace":
      case "mark":
        break;
    }
  }

  private wakeAfter(afterMs: number): void {
    clearTimeout(this.wakeTimer);
    if (this.ended !== undefined) return;
    this.wakeTimer = setTimeout(() => this.feed("wake"), delayOf(afterMs));
  }

  /** The page goes to the background and may not come back: what waits leaves now. */
  private hide(): void {
    const { token } = this.transport;
    if (this.paused || this.failure !== undefined || token === "") return;
    const before = this.queue.length;
    this.feed("hiding", token);
    for (const task of this.queue.slice(before)) if (task.kind === "exchange") task.hides = true;
  }

  private woke(): void {
    if (this.failure !== undefined) this.retryStorage();
    else if (!this.paused) this.feed("online");
  }

  private releaseWaiters(): void {
    if (this.waiters.length + this.syncing.length === 0 || this.ended !== undefined) return;
    const state = this.state();
    if (this.failure === undefined && !this.isPending()) {
      for (const waiter of this.waiters.splice(0)) waiter.resolve();
      if (SETTLED.has(state)) for (const waiter of this.syncing.splice(0)) waiter.resolve();
    }
    const refused = this.refused();
    if (refused !== undefined) this.rejectWaiters(refused);
  }

  /** What waits for the server if that has refused this client for good. */
  private refused(): OmegaError | undefined {
    if (this.ended !== undefined || this.state() !== "stopped") return undefined;
    return stoppedBy(this.read(reasonOf));
  }

  private syncEnded(error: OmegaError): void {
    for (const waiter of this.syncing.splice(0)) waiter.reject(error);
  }

  private isPending(): boolean {
    try {
      return this.read(standingOf).pending > 0;
    } catch {
      // The engine broke: `read` has told whoever waits.
      return true;
    }
  }

  private rejectWaiters(error: OmegaError): void {
    for (const waiter of this.waiters.splice(0)) waiter.reject(error);
    this.syncEnded(error);
  }

  /** Stops for good and stores nothing more: another tab leads, or the storage is newer or gone. */
  halt(error: OmegaError): void {
    if (this.ended !== undefined && this.ended.code !== "closed") return;
    clearTimeout(this.retryTimer);
    for (const task of this.queue.splice(0)) if (task.kind === "barrier") task.reject(error);
    this.retryDue = false;
    this.stop(error);
  }

  /** Stops for good; what is queued is still stored. */
  private stop(error: OmegaError): void {
    const closing = this.ended !== undefined;
    this.ended ??= error;
    this.stopWatching();
    clearTimeout(this.wakeTimer);
    this.transport.close();
    this.rejectWaiters(error);
    if (closing || this.events.lost(error)) return;
    this.events.failed(error);
    this.events.status();
  }
}

/** Records as one change; a later image makes the records before it needless. */
function mergeRecords(
  earlier: StorageChange | undefined,
  batch: Task[],
): StorageChange | undefined {
  const change: StorageChange = { ...earlier, append: earlier?.append.slice() ?? [] };
  for (const task of batch) {
    if (task.kind === "append") change.append.push(task.bytes);
    if (task.kind === "mark") change.marks = [...(change.marks ?? []), task.mark];
    if (task.kind === "replace") {
      change.replace = task.bytes;
      change.append = [];
    }
  }
  const { replace, append, setAside, marks } = change;
  const isEmpty = (replace ?? setAside ?? marks) === undefined && append.length === 0;
  return isEmpty ? undefined : change;
}

/** What a timer takes for a wait. */
export function delayOf(afterMs: number): number {
  return Math.min(Math.max(0, Math.ceil(afterMs)), TIMER_MS_MAX);
}

/** Why the server ended the last connection; empty if it did not. */
export function reasonOf(replica: Replica): CloseReason | "" {
  return String(readRows(replica, "about", [])[0]?.[REASON_CELL] ?? "") as CloseReason | "";
}

/** What waits for the server when the client has stopped. */
export function stoppedBy(reason: string): OmegaError {
  return syncFailed(`this client has stopped (${reason})`);
}

/** What waits for the server does so in vain. */
export function syncFailed(why: string, cause?: unknown): OmegaError {
  return new OmegaError("sync_failed", `not synced: ${why}`, cause);
}

function aside(setAside: string): StorageChange {
  return { setAside, append: [] };
}
