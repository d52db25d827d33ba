/**
 * The page's side of Worker mode: what the engine's side (`engine-side.ts`) says is kept as a view to
 * read from at once, and what only a page has is done for it: storage, token, the page's life.
 *
 * Invariant: what is asked before the engine is there waits for it, in its order; nothing is lost when
 * the Worker does not start and the engine runs in the page instead, nor when it dies. Then a successor
 * begins after the last commit of the dead one has ended, and is asked for what has no answer. A write is
 * made once: each commit passes here with the numbers of the writes in it, so the page knows which are
 * stored, and what another tab may have made for this one is asked for again under its number.
 */

import type { OpenSettings } from "../api.js";
import {
  type Attention,
  type Cells,
  FLEETING,
  type Keeper,
  type ReadName,
  UNHEARD,
  type WriteName,
  type Writes,
} from "../calls.js";
import type { TabEvents } from "../client.js";
import { type ErrorCode, failure, fromEngine, OmegaError } from "../errors.js";
import { IndexedDbStorage, randomName } from "../indexeddb.js";
import type { StopReason } from "../reasons.js";
import type { Settings } from "../settings.js";
import {
  eraseStorage,
  MemoryStorage,
  type Storage,
  type StorageChange,
  type WriteMark,
} from "../storage.js";
import { type Channel, openChannel, tellErased } from "../tabs/channel.js";
import { type OwnWrite, OwnWrites } from "../tabs/writes.js";
import type { EngineCalls, Loaded, PageCalls, PassedEvent, Standing } from "./engine-side.js";
import type { Port } from "./port.js";
import { type Started, startEngineSide } from "./start.js";
import { StoredView } from "./stored-view.js";
import { View, type ViewUpdate } from "./view.js";

/** What a keeper needs. */
export interface KeeperParts {
  settings: Settings;
  options: Pick<OpenSettings, "token" | "wasm">;
  storage: Storage;
  /** Where the Worker's script is. */
  script: string | URL | (() => string | URL | Promise<string | URL>);
}

/** Workers that may die within an hour; after one more the client stops. */
const DEATHS_MAX = 3;
const HOUR_MS = 3_600_000;
/** A successor that could not be loaded or compiled is tried again after so long. */
const START_RETRY_MS = 10_000;
/** Parts of what is seen that are lists of the app's. */
const LISTS = /^(watchlist:|progress:|completed:|profiles$|devices$)/;
const METRICS_CELLS = 9;

/** A copy whose engine is elsewhere. */
export class WorkerKeeper implements Keeper {
  private readonly view = new View();
  /** What a successor says before it has made what the dead one showed already. */
  private late: ViewUpdate[] | undefined;
  private standing: Standing;
  /** Of this tab, whoever its engine is. */
  private readonly tab = randomName();
  private readonly own = new OwnWrites();
  /** The engine that is there or comes next. */
  private ready!: Promise<Started>;
  private started: Started | undefined;
  private isStarted = false;
  private attention: Attention = UNHEARD;
  private storageInUse: Storage;
  /** Ends with the last commit, however that ends. */
  private committing: Promise<unknown> = Promise.resolve();
  /** When Workers died. */
  private deaths: number[] = [];
  private channel: Channel | undefined;
  /** Before that nobody can look at what an event is about. */
  private isOpen = false;
  /** Whether it is being closed or erased. */
  private isEnding = false;
  private hurry: () => void = () => undefined;
  private ended: OmegaError | undefined;

  private constructor(
    private readonly parts: KeeperParts,
    private readonly events: TabEvents,
    /** The storage, if it is one that can have a view beside. */
    private readonly shared: IndexedDbStorage | undefined,
    private readonly stored: StoredView,
    shown: ViewUpdate[],
  ) {
    for (const update of shown) this.view.take(update);
    this.storageInUse = parts.storage;
    this.standing = {
      state: "connecting",
      closeReason: undefined,
      leads: true,
      isErased: false,
      isReadable: true,
      isPaused: false,
      metrics: [],
    };
    // The app draws first what there is.
    this.expect(
      shown.length === 0
        ? this.begin(shown)
        : new Promise((resolve) => setTimeout(resolve, 0)).then(() => this.begin(shown)),
    );
  }

  /** Resolves when there is something to read: what was shown last, or else what the engine says. */
  static async open(parts: KeeperParts, events: TabEvents): Promise<WorkerKeeper> {
    const { storage, settings } = parts;
    const shared = storage instanceof IndexedDbStorage ? storage : undefined;
    const stored = new StoredView();
    // Where nothing can be read the engine says what becomes of it.
    const shown = shared === undefined ? [] : await stored.read(shared).catch(() => []);
    const keeper = new WorkerKeeper(parts, events, shared, stored, shown);
    const { household } = settings;
    const isKnown = household === "" || String(keeper.rows("about")[0]?.[3]) === household;
    if (shown.length === 0 || !isKnown) await keeper.ask(async () => undefined);
    keeper.isOpen = true;
    return keeper;
  }

  get storage(): Storage {
    return this.storageInUse;
  }

  get leads(): boolean {
    return this.standing.leads;
  }

  get isErased(): boolean {
    return this.standing.isErased;
  }

  get isReadable(): boolean {
    return this.standing.isReadable && this.ended?.code !== "closed";
  }

  rows(name: ReadName, ...values: string[]): Cells[] {
    if (this.isErased) throw failure("destroyed");
    if (this.ended?.code === "closed") throw this.ended;
    if (name !== "metrics") return this.view.rows(name, ...values);
    const { metrics } = this.standing;
    return [metrics.length === 0 ? new Array(METRICS_CELLS).fill(0) : metrics];
  }

  write<Name extends WriteName>(name: Name, ...values: Writes[Name]): Promise<void> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.send(this.own.add(this.own.next(name, values), { resolve, reject }));
    });
  }

  start(): void {
    this.isStarted = true;
    this.started?.port.tell("start");
  }

  attend(attention: Attention): void {
    this.attention = attention;
    this.started?.port.tell("attend", attention);
  }

  pending(): number {
    if (this.isErased) throw failure("destroyed");
    return Number(this.view.list("pending")[0]?.[0] ?? 0);
  }

  state(): Standing["state"] {
    return this.ended === undefined ? this.standing.state : "stopped";
  }

  closeReason(): StopReason | undefined {
    return this.ended?.code ?? this.standing.closeReason;
  }

  pause(): void {
    this.wish((port) => port.call("pause"));
  }

  resume(): void {
    this.wish((port) => port.call("resume"));
  }

  flushed(): Promise<void> {
    return this.ask((port) => port.call("flushed"));
  }

  syncNow(): Promise<void> {
    return this.ask((port) => port.call("syncNow"));
  }

  async close(): Promise<void> {
    this.end();
    if (this.ended === undefined) {
      await this.ask((port) => port.call("close")).catch((error: OmegaError) => {
        // Of an engine that is gone nothing is left to close.
        if (error !== this.ended) throw error;
      });
    }
    await this.finish(failure("closed"));
  }

  async destroy(): Promise<void> {
    this.end();
    await this.ask((port) => port.call("destroy")).catch(async (error: OmegaError) => {
      // Without an engine the page erases it.
      if (error !== this.ended) {
        this.isEnding = false;
        throw error;
      }
      if (this.isErased) return;
      tellErased(this.shared?.life);
      await eraseStorage(this.parts.storage);
    });
    this.standing = { ...this.standing, isErased: true };
    await this.finish(failure("destroyed"));
  }

  private async begin(shown: ViewUpdate[]): Promise<Started> {
    const { shared, parts } = this;
    if (shared !== undefined) shared.beside = this.stored;
    const { settings, options, script } = parts;
    const address = async () => (typeof script === "function" ? script() : script);
    const [url, wasm] = await Promise.all([address(), options.wasm]).catch((cause: unknown) => {
      throw new OmegaError("wasm_failed", `the engine could not be loaded: ${cause}`, cause);
    });
    const { storageInUse, standing, tab } = this;
    const { kind } = storageInUse;
    const opening = {
      settings,
      storage: { kind, name: shared?.name ?? "", shared: storageInUse === shared },
      ...{ shown, tab, paused: standing.isPaused },
      ...(wasm === undefined ? {} : { wasm }),
    };
    return startEngineSide(url, opening, this.calls(), (error) => this.died(error));
  }

  /** From here on this is the engine that is asked, as soon as it is there. */
  private expect(ready: Promise<Started>): void {
    this.ready = ready;
    ready.then(
      (started) => this.greet(started),
      (thrown: unknown) => {
        if (this.ready === ready && this.isOpen) this.fail(fromEngine(thrown));
      },
    );
  }

  /** An engine is there: it is told, in this order, what an earlier one may have been told. */
  private greet(started: Started): void {
    this.started = started;
    started.port.tell("attend", this.attention);
    if (this.isStarted) started.port.tell("start");
    for (const own of this.own.list()) this.send(own);
    if (this.own.isEmpty) this.showLate();
    // It does not know what the app wished to be told.
    if (this.deaths.length > 0) this.events.led();
  }

  private send(own: OwnWrite): void {
    const { started } = this;
    const { write, atMs, name, values } = own;
    started?.port.call("write", { write, atMs, name, values }).then(
      () => this.settle(own),
      (error: OmegaError) => {
        if (this.started === started) this.settle(own, error);
      },
    );
  }

  private settle(own: OwnWrite, error?: OmegaError): void {
    this.showLate();
    this.own.settle(own, error);
  }

  /** Ends all writes that the last commit does not settle. */
  private settleAll(error: OmegaError): void {
    void this.committing.then(() => {
      for (const own of this.own.list()) this.settle(own, error);
    });
  }

  private async ask<T>(call: (port: Port<EngineCalls>) => Promise<T>): Promise<T> {
    for (;;) {
      if (this.ended !== undefined) throw this.ended;
      const { ready } = this;
      try {
        return await call((await ready).port);
      } catch (thrown) {
        // After one that has died the next one is asked.
        if (ready === this.ready) throw thrown;
      }
    }
  }

  private wish(call: (port: Port<EngineCalls>) => Promise<void>): void {
    // What became of an engine that did not start is told by `fail`.
    this.ask(call).catch(() => undefined);
  }

  private died(error: OmegaError): void {
    const nowMs = performance.now();
    this.deaths = this.deaths.filter((at) => nowMs - at < HOUR_MS).concat(nowMs);
    this.started?.end(error);
    this.started = undefined;
    this.channel?.close();
    for (const own of this.own.list()) if (FLEETING.has(own.name)) this.own.settle(own);
    if (this.deaths.length > DEATHS_MAX) {
      this.fail(error);
      return;
    }
    this.late ??= [];
    this.expect(this.succeed());
    this.standing = { ...this.standing, state: "connecting", closeReason: undefined };
    if (this.isOpen) this.events.status();
  }

  /** Starts another engine, and tries until it can be loaded. */
  private async succeed(): Promise<Started> {
    await this.committing;
    for (;;) {
      try {
        return await this.begin([]);
      } catch (thrown) {
        const error = fromEngine(thrown);
        if (error.code !== "wasm_failed" || this.isEnding) throw error;
        this.events.failed(error);
        await new Promise<void>((resolve) => {
          this.hurry = resolve;
          setTimeout(resolve, START_RETRY_MS);
        });
      }
    }
  }

  /** Nothing is tried more than once more. */
  private end(): void {
    this.isEnding = true;
    this.hurry();
  }

  /** What the engine's side may ask. */
  private calls(): PageCalls {
    const { shared } = this;
    const { options } = this.parts;
    return {
      served: () => undefined,
      token: () => options.token(),
      load: async () => this.seen(await this.storage.load(), true),
      peek: async () => {
        const { records = [], leads = false } = (await shared?.peek()) ?? {};
        return this.seen(records, leads);
      },
      commit: (change) => this.commit(change),
      aside: () => this.storage.aside(),
      erase: async () => this.storage.destroy?.(),
      useMemory: () => {
        this.storageInUse = new MemoryStorage();
      },
      closeStorage: () => this.storage.close(),
      view: (update) => this.take(update),
      stands: (standing) => {
        this.standing = standing;
        if (this.isOpen) this.events.status();
      },
      event: (name, values) => this.pass(name, values),
      channel: (life) => {
        this.channel = openChannel(life, (message) =>
          this.wish(async (port) => port.tell("heard", message)),
        );
      },
      post: (message) => this.channel?.post(message),
      closeChannel: () => this.channel?.close(),
      beacon: async (url, body) => navigator.sendBeacon(url, body),
    };
  }

  private commit(change: StorageChange): Promise<void> {
    const marks = change.marks ?? [];
    const isOwn = ({ tab }: WriteMark) => tab === this.tab;
    const store = async () => {
      await this.storage.commit({ ...change, marks: marks.filter((mark) => !isOwn(mark)) });
      for (const { write } of marks.filter(isOwn)) {
        const own = this.own.find(write);
        if (own !== undefined) this.settle(own);
      }
    };
    const stored = store();
    this.committing = stored.catch(() => undefined);
    return stored;
  }

  private seen(records: Uint8Array[], leads: boolean): Loaded {
    const { shared, stored } = this;
    const marks = Array.from(shared?.marks ?? []);
    return { records, leads, life: shared?.life, marks, shown: stored.counts };
  }

  private take(update: ViewUpdate): void {
    this.stored.add(update);
    if (this.late === undefined) this.show([update]);
    else this.late.push(update);
  }

  private showLate(): void {
    const { late } = this;
    this.late = undefined;
    if (late === undefined) return;
    this.show(late);
    if (this.isOpen) this.events.status();
  }

  private show(updates: ViewUpdate[]): void {
    const changed = new Set<string>();
    for (const update of updates) {
      const keys = this.view.take(update).filter((key) => LISTS.test(key));
      // To the app both parts of progress are one.
      for (const key of keys) changed.add(key.replace("completed:", "progress:"));
    }
    if (this.isOpen && changed.size > 0) this.events.changed(Array.from(changed));
  }

  private pass(name: PassedEvent, values: unknown[]): void {
    if (name === "failed") {
      const [code, message] = values as [ErrorCode, string];
      this.events.failed(new OmegaError(code, message));
      return;
    }
    const tell = this.events[name] as (...values: unknown[]) => void;
    tell.apply(this.events, values);
  }

  /** The engine did not come, or is gone. */
  private fail(error: OmegaError): void {
    if (this.ended !== undefined) return;
    this.ended = error;
    if (error.code === "destroyed") this.standing = { ...this.standing, isErased: true };
    this.settleAll(error);
    this.events.failed(error);
    this.events.status();
  }

  private async finish(error: OmegaError): Promise<void> {
    if (this.ended?.code !== "destroyed") this.ended = error;
    this.settleAll(error);
    this.channel?.close();
    this.parts.storage.close();
    this.started?.end(error);
  }
}
