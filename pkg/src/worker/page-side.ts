/**
 * The page's side of Worker mode: what the engine's side (`engine-side.ts`) says is kept as a view to
 * read from at once, and what only a page has is done for it: storage, token, the page's life.
 *
 * Invariant: what is asked before the engine is there waits for it, in its order; nothing is lost when
 * the Worker does not start and the engine runs in the page instead.
 */

import type { OpenSettings } from "../api.js";
import type { Attention, Cells, Keeper, ReadName, WriteName, Writes } from "../calls.js";
import type { TabEvents } from "../client.js";
import { type ErrorCode, failure, fromEngine, OmegaError } from "../errors.js";
import { IndexedDbStorage } from "../indexeddb.js";
import type { StopReason } from "../reasons.js";
import type { Settings } from "../settings.js";
import { eraseStorage, type Storage } from "../storage.js";
import { type Channel, openChannel, tellErased } from "../tabs/channel.js";
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

/** Parts of what is seen that are lists of the app's. */
const LISTS = /^(watchlist:|progress:|completed:|profiles$|devices$)/;
const METRICS_CELLS = 9;

/** A copy whose engine is elsewhere. */
export class WorkerKeeper implements Keeper {
  private readonly view = new View();
  private standing: Standing;
  private readonly ready: Promise<Started>;
  private channel: Channel | undefined;
  /** Before that nobody can look at what an event is about. */
  private isOpen = false;
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
    this.standing = {
      state: "connecting",
      closeReason: undefined,
      leads: true,
      isErased: false,
      isReadable: true,
      storage: parts.storage.kind,
      metrics: [],
    };
    // The app draws first what there is.
    this.ready =
      shown.length === 0
        ? this.begin(shown)
        : new Promise((resolve) => setTimeout(resolve, 0)).then(() => this.begin(shown));
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
    if (shown.length > 0 && isKnown) {
      keeper.isOpen = true;
      keeper.ready.catch((thrown: unknown) => keeper.fail(fromEngine(thrown)));
      return keeper;
    }
    await keeper.ready;
    keeper.isOpen = true;
    return keeper;
  }

  get storage(): Pick<Storage, "kind" | "aside"> {
    const { storage } = this.parts;
    const kind = this.standing.storage;
    // Where it can't be read the engine works from memory, and nothing was set aside.
    return { kind, aside: async () => (kind === storage.kind ? storage.aside() : []) };
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
    return this.ask((port) => port.call("write", name, values));
  }

  start(): void {
    this.tell((port) => port.tell("start"));
  }

  attend(attention: Attention): void {
    this.tell((port) => port.tell("attend", attention));
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
    this.tell((port) => port.tell("pause"));
  }

  resume(): void {
    this.tell((port) => port.tell("resume"));
  }

  flushed(): Promise<void> {
    return this.ask((port) => port.call("flushed"));
  }

  syncNow(): Promise<void> {
    return this.ask((port) => port.call("syncNow"));
  }

  async close(): Promise<void> {
    if (this.ended === undefined) {
      await this.ask((port) => port.call("close")).catch((error: OmegaError) => {
        // Of an engine that is gone nothing is left to close.
        if (error !== this.ended) throw error;
      });
    }
    await this.finish(failure("closed"));
  }

  async destroy(): Promise<void> {
    await this.ask((port) => port.call("destroy")).catch(async (error: OmegaError) => {
      // Without an engine the page erases it.
      if (error !== this.ended) throw error;
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
    const { settings, options, storage, script } = parts;
    const [url, wasm] = await Promise.all([
      typeof script === "function" ? script() : script,
      options.wasm,
    ]);
    const opening = {
      settings,
      storage: { kind: storage.kind, name: shared?.name ?? "", shared: shared !== undefined },
      shown,
      ...(wasm === undefined ? {} : { wasm }),
    };
    return startEngineSide(url, opening, this.calls(), (error) => this.fail(error));
  }

  private async ask<T>(call: (port: Port<EngineCalls>) => Promise<T>): Promise<T> {
    if (this.ended !== undefined) throw this.ended;
    return call((await this.ready).port);
  }

  private tell(call: (port: Port<EngineCalls>) => void): void {
    // What became of an engine that did not start is told by `fail`.
    this.ready.then(({ port }) => call(port)).catch(() => undefined);
  }

  /** What the engine's side may ask. */
  private calls(): PageCalls {
    const { shared } = this;
    const { options, storage } = this.parts;
    return {
      served: () => undefined,
      token: () => options.token(),
      load: async () => this.seen(await storage.load(), true),
      peek: async () => {
        const { records = [], leads = false } = (await shared?.peek()) ?? {};
        return this.seen(records, leads);
      },
      commit: (change) => storage.commit(change),
      aside: () => storage.aside(),
      erase: async () => storage.destroy?.(),
      closeStorage: () => storage.close(),
      view: (update) => this.take(update),
      stands: (standing) => {
        this.standing = standing;
        if (this.isOpen) this.events.status();
      },
      event: (name, values) => this.pass(name, values),
      channel: (life) => {
        this.channel = openChannel(life, (message) =>
          this.tell((port) => port.tell("heard", message)),
        );
      },
      post: (message) => this.channel?.post(message),
      closeChannel: () => this.channel?.close(),
      beacon: async (url, body) => navigator.sendBeacon(url, body),
    };
  }

  private seen(records: Uint8Array[], leads: boolean): Loaded {
    const { shared, stored } = this;
    const marks = Array.from(shared?.marks ?? []);
    return { records, leads, life: shared?.life, marks, shown: stored.counts };
  }

  private take(update: ViewUpdate): void {
    this.stored.add(update);
    const keys = this.view.take(update).filter((key) => LISTS.test(key));
    // To the app both parts of progress are one.
    const changed = new Set(keys.map((key) => key.replace("completed:", "progress:")));
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
    this.events.failed(error);
    this.events.status();
  }

  private async finish(error: OmegaError): Promise<void> {
    if (this.ended?.code !== "destroyed") this.ended = error;
    this.channel?.close();
    this.parts.storage.close();
    const started = await this.ready.catch(() => undefined);
    started?.port.end(error);
    started?.end();
  }
}
