/**
 * Carries out what the taste part of the engine asks for, in its order: as `client.ts` does for the
 * household, with two storages of its own.
 *
 * Invariant: nothing is sent, and no write promise resolves, before every record that precedes it is
 * durable. When another tab has taken the storages over, they are read again and the write is made once
 * more on what is there: tabs take turns, and none writes over another.
 *
 * Invariant: what one household taught is neither shown to another one nor sent as its. Among the
 * engine's records in the small log is one of the driver's own, which says whose they are.
 */

import type { Cells } from "../calls.js";
import { delayOf, stoppedBy, syncFailed } from "../client.js";
import type { Value } from "../engine.js";
import { failure, fromCommit, fromEngine, OmegaError } from "../errors.js";
import { eraseStorage, type Storage, type StorageChange } from "../storage.js";
import {
  CHANGES,
  callTaste,
  loadTaste,
  readTaste,
  readTasteOutputs,
  TABLES_CELL,
  type TasteCallName,
  type TasteChange,
  type TasteEngine,
  type TasteOutput,
  type TasteReadName,
  type TasteSync,
} from "./engine.js";
import type { Tap } from "./socket.js";

/** How long after a failed commit the next try comes. */
const RETRY_MS = 5_000;

/** First byte of the record that says whose taste it is; the household's id in UTF-8 follows. */
const OWNER_TAG = 0;

/** A call into the engine: the two numbers are Unix and steady time in milliseconds. */
export type TasteCall = (engine: TasteEngine, unix: number, steady: number) => number;

/** What the driver tells its owner. */
export interface TasteEvents {
  changed(what: TasteChange): void;
  synced(how: TasteSync): void;
  failed(error: OmegaError): void;
  /** No sync comes of what is under way. */
  stuck(error: OmegaError): void;
}

/** What the driver needs to work. */
export interface TasteParts {
  engine: TasteEngine;
  /** Of the small log, and of the titles. */
  storages: readonly [Storage, Storage];
  tap: Tap;
  /** Fetches the file of tables with this id. */
  tables: (id: number) => Promise<Uint8Array>;
}

interface Write {
  call: TasteCall;
  resolve: () => void;
  reject: (error: OmegaError) => void;
}

/** What is to be done after the records before it are durable; a write's own are in these logs. */
type Task = TasteOutput | { kind: "write"; write: Write; logs: number[] };

/** Taste with its storages and its timer. */
export class TasteDriver {
  private queue: Task[] = [];
  private pumping: Promise<void> | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private retry: ReturnType<typeof setTimeout> | undefined;
  /** Whether what is not stored is to be tried, though nothing new came. */
  private retryDue = false;
  /** Another tab has written, and what it wrote could not be read yet. */
  private stale = false;
  /** What the next commit of each storage has to bring along. */
  private unstored: (StorageChange | undefined)[] = [undefined, undefined];
  /** The logs in which the batch under way is durable already. */
  private durable = new Set<number>();
  /** The last failure of the storage, while it lasts. */
  private failure: OmegaError | undefined;
  private ended: OmegaError | undefined;
  private freed = false;
  /** Whether this driver has erased its storages. */
  private isEmpty = false;
  /** The household whose taste it is; empty while that is not known. */
  private owner = "";
  /** Why the household's client is of no help. */
  private stopped: OmegaError | undefined;
  private live = false;
  /** The same of the household's connection, also while storing fails. */
  private householdLive = false;
  private fetching = false;
  /** A request left on this connection and has no answer yet. */
  private asked = false;
  /** The server closed at a request: it is of before, and the household's connection comes first. */
  private unsupported = false;

  constructor(
    private readonly parts: TasteParts,
    private readonly events: TasteEvents,
  ) {}

  /** Reads what is stored. Rejects when it can't be used. */
  async load(): Promise<void> {
    const { engine, storages } = this.parts;
    const [small = [], ...large] = await Promise.all(storages.map((storage) => storage.load()));
    const { owner } = this;
    this.owner = "";
    for (const record of small) if (isOwner(record)) this.owner = ownerOf(record);
    const damage = loadTaste(engine, [small.filter((record) => !isOwner(record)), ...large]);
    this.unstored = damage.map((what) =>
      what === "" ? undefined : { setAside: what, append: [] },
    );
    for (const what of damage) {
      if (what !== "") this.events.failed(damaged(what));
    }
    // What was made meanwhile was made on what is no more.
    const writes = writesOf(this.queue.splice(0));
    this.feed("firstOutputs");
    for (const write of writes) this.make(write);
    if (owner !== "") this.belongTo(owner);
  }

  /** A write of the app: resolves when it is durable on this device. */
  write(call: TasteCall): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) throw this.ended;
      this.make({ call, resolve, reject });
      this.pump();
    });
  }

  /** An event that nobody waits for. */
  feed(name: TasteCallName, ...values: Value[]): void {
    if (this.ended !== undefined) return;
    try {
      this.apply(this.call((engine, ...now) => callTaste(engine, name, values, ...now)));
    } catch (thrown) {
      this.events.failed(fromEngine(thrown));
    }
    this.pump();
  }

  /** Reads what has a name. */
  read(name: TasteReadName, ...values: Value[]): Cells[] {
    if (this.ended !== undefined) throw this.ended;
    try {
      return readTaste(this.parts.engine, name, values, Date.now(), performance.now());
    } catch (thrown) {
      throw fromEngine(thrown);
    }
  }

  /** Whether the household's connection is up to date, in this tab; and why the last one was closed. */
  connection(live: boolean, closeReason = ""): void {
    this.householdLive = live;
    // Nothing leaves while nothing can be stored.
    if (this.failure === undefined) this.connect(live, closeReason);
  }

  private connect(live: boolean, closeReason = ""): void {
    if (live === this.live || this.unsupported) return;
    this.live = live;
    if (!live && this.asked && closeReason === "malformed") this.unsupported = true;
    this.asked = false;
    if (live) this.feed("connected");
    else this.feed("disconnected");
  }

  /** An answer arrived. */
  frame(bytes: Uint8Array): void {
    this.asked = false;
    this.feed("frame", bytes);
  }

  /** Why no sync can be had, if so. */
  get obstacle(): OmegaError | undefined {
    const own = this.unsupported ? syncFailed("it knows nothing of taste") : this.failure;
    return this.ended ?? own ?? this.stopped;
  }

  /** Whether the household's client has stopped. */
  halted(isHalted: boolean, closeReason: string): void {
    if (isHalted === (this.stopped !== undefined)) return;
    this.stopped = isHalted ? stoppedBy(closeReason) : undefined;
    if (this.stopped !== undefined) this.events.stuck(this.stopped);
  }

  /** Whose taste it is: what another household left is forgotten. */
  belongTo(household: string): void {
    if (household === this.owner || this.ended !== undefined) return;
    const isOther = this.owner !== "";
    this.owner = household;
    if (isOther) this.beginAnew();
    else this.queue.push({ kind: "append", log: 0, bytes: ownerRecord(household) });
    this.pump();
  }

  /** Ends in order: what is queued is stored, then everything is released. */
  async close(why = failure("closed")): Promise<void> {
    if (this.ended === undefined && why.code === "closed" && this.failure !== undefined) {
      this.retryStorage();
    }
    if (this.ended?.code !== "destroyed") this.ended = why;
    clearTimeout(this.timer);
    clearTimeout(this.retry);
    this.parts.tap.requests.end();
    this.events.stuck(why);
    await this.pumping;
    if (this.freed) return;
    this.freed = true;
    for (const storage of this.parts.storages) storage.close();
    this.parts.engine.free();
  }

  /** The household was erased, here or at the server: its taste goes with it, unless it has gone. */
  async forget(): Promise<void> {
    if (this.ended === undefined) await this.destroy();
  }

  /** Erases everything for good, also after its end. */
  async destroy(): Promise<void> {
    const why = failure("destroyed");
    for (const write of writesOf(this.queue.splice(0))) write.reject(why);
    await this.close(why);
    // What is there now may be of the next user.
    if (this.isEmpty) return;
    await Promise.all(this.parts.storages.map(eraseStorage));
    this.isEmpty = true;
  }

  /** Knows nothing any more, in the engine and in the storages. */
  private beginAnew(): void {
    this.queue = this.queue.filter(({ kind }) => kind === "write");
    this.live = false;
    loadTaste(this.parts.engine, [[], []]);
    this.feed("firstOutputs");
    for (const what of CHANGES) this.events.changed(what);
    this.events.synced("failed");
  }

  private make(write: Write): void {
    try {
      const outputs = this.call(write.call);
      this.apply(outputs);
      const logs: number[] = [];
      for (const output of outputs) if ("log" in output) logs.push(output.log);
      this.queue.push({ kind: "write", write, logs });
    } catch (thrown) {
      write.reject(fromEngine(thrown));
    }
  }

  private call(call: TasteCall): TasteOutput[] {
    return readTasteOutputs(call(this.parts.engine, Date.now(), performance.now()));
  }

  private apply(outputs: TasteOutput[]): void {
    this.queue.push(...outputs.filter((output) => output.kind !== "changed"));
    for (const output of outputs) if (output.kind === "changed") this.events.changed(output.what);
  }

  private pump(): void {
    this.pumping ??= this.drain();
  }

  private async drain(): Promise<void> {
    await Promise.resolve();
    while (this.queue.length > 0 || this.retryDue) {
      const batch = this.queue;
      this.queue = [];
      this.retryDue = false;
      try {
        await this.store(batch);
      } catch (thrown) {
        await this.commitFailed(batch, fromCommit(thrown));
        continue;
      }
      for (const task of batch) this.carryOut(task);
    }
    this.pumping = undefined;
  }

  private async store(batch: Task[]): Promise<void> {
    const { owner } = this;
    const changes = this.unstored.map((earlier, log) => merged(earlier, batch, log, owner));
    this.unstored = changes;
    this.durable.clear();
    if (this.stale) throw failure("superseded");
    for (const [log, storage] of this.parts.storages.entries()) {
      const change = changes[log];
      if (change !== undefined) await storage.commit(change);
      this.unstored[log] = undefined;
      this.durable.add(log);
    }
    this.works();
  }

  /** The storage works: a connection that it kept waiting is used again. */
  private works(): void {
    this.failure = undefined;
    clearTimeout(this.retry);
    this.connect(this.householdLive);
  }

  private async commitFailed(batch: Task[], error: OmegaError): Promise<void> {
    if (error.code === "superseded" && this.ended === undefined) {
      this.unstored = [undefined, undefined];
      // What came into its own log before the other tab is read with it, not made once more.
      const open: Task[] = [];
      for (const task of batch) {
        if (task.kind === "write" && this.isDurable(task.logs)) task.write.resolve();
        else open.push(task);
      }
      this.queue = open.concat(this.queue);
      try {
        await this.load();
        this.stale = false;
        // It begins without a connection.
        this.live = false;
        this.works();
        this.events.changed("taste");
        // What was asked before was forgotten.
        this.events.synced("failed");
        return;
      } catch (thrown) {
        this.stale = true;
        this.storageFailed(this.queue.splice(0), fromEngine(thrown));
        return;
      }
    }
    this.storageFailed(batch, error);
  }

  private storageFailed(batch: Task[], error: OmegaError): void {
    for (const write of writesOf(batch)) write.reject(error);
    if (this.failure === undefined) this.events.failed(error);
    this.events.stuck(error);
    if (error.code === "storage_newer" || error.code === "destroyed") {
      this.ended ??= error;
      clearTimeout(this.timer);
      return;
    }
    this.connect(false);
    this.failure = error;
    clearTimeout(this.retry);
    if (this.ended === undefined) this.retry = setTimeout(() => this.retryStorage(), RETRY_MS);
  }

  private retryStorage(): void {
    this.retryDue = true;
    this.pump();
  }

  /** Whether all of a write that has its records in these logs is stored. */
  private isDurable(logs: number[]): boolean {
    return logs.length > 0 && logs.every((log) => this.durable.has(log));
  }

  private carryOut(task: Task): void {
    switch (task.kind) {
      case "send":
        this.asked = true;
        this.parts.tap.send(task.bytes);
        break;
      case "wake":
        this.wakeAfter(task.afterMs);
        break;
      case "synced":
        this.events.synced(task.how);
        break;
      case "refused":
        this.events.failed(refused(task.count));
        break;
      case "fetch-tables":
        this.fetchTables(task.id);
        break;
      case "write":
        task.write.resolve();
        break;
      default:
        break;
    }
  }

  private wakeAfter(afterMs: number): void {
    clearTimeout(this.timer);
    if (this.ended !== undefined) return;
    const wake = () => this.feed("wake");
    this.timer = setTimeout(wake, delayOf(afterMs));
  }

  private fetchTables(id: number): void {
    if (this.fetching) return;
    this.fetching = true;
    const fetched = (file: Uint8Array) => {
      this.fetching = false;
      this.feed("tables", file);
      // Another file than it was asked for.
      if (this.ended === undefined && this.tablesId() !== id) this.events.synced("failed");
    };
    const failed = (cause: unknown) => {
      this.fetching = false;
      const message = "the tables for patterns could not be fetched; the next sync tries again";
      const error = new OmegaError("tables_failed", message, cause);
      this.events.failed(error);
      this.events.stuck(error);
    };
    // The extra `then` turns a function of the app that throws at once into a rejection.
    Promise.resolve()
      .then(() => this.parts.tables(id))
      .then(fetched, failed);
  }

  private tablesId(): number {
    return Number(this.read("about")[0]?.[TABLES_CELL]);
  }
}

/** Records for one log as one change; a later image makes the records before it needless. */
function merged(
  earlier: StorageChange | undefined,
  batch: Task[],
  log: number,
  owner: string,
): StorageChange | undefined {
  const change: StorageChange = { ...earlier, append: earlier?.append.slice() ?? [] };
  for (const task of batch) {
    if (task.kind === "append" && task.log === log) change.append.push(task.bytes);
    if (task.kind === "replace" && task.log === log) {
      change.replace = task.bytes;
      change.append = log === 0 && owner !== "" ? [ownerRecord(owner)] : [];
    }
  }
  const empty = change.replace === undefined && change.append.length === 0;
  return empty && change.setAside === undefined ? undefined : change;
}

function writesOf(tasks: Task[]): Write[] {
  const writes: Write[] = [];
  for (const task of tasks) if (task.kind === "write") writes.push(task.write);
  return writes;
}

function ownerRecord(household: string): Uint8Array {
  const name = new TextEncoder().encode(household);
  const record = new Uint8Array(1 + name.length);
  record[0] = OWNER_TAG;
  record.set(name, 1);
  return record;
}

function isOwner(record: Uint8Array): boolean {
  return record[0] === OWNER_TAG;
}

function ownerOf(record: Uint8Array): string {
  return new TextDecoder().decode(record.subarray(1));
}

function damaged(what: string): OmegaError {
  const message = `stored records of taste were set aside (${what}); the rest goes on`;
  return new OmegaError("storage_corrupt", message);
}

function refused(count: number): OmegaError {
  const message = `the server refused ${count} patterns; they are not sent again as they are`;
  return new OmegaError("patterns_refused", message);
}
