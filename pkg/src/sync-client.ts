/** The client that `open` returns: the lists, the events, and the tab behind them. */

import type {
  Change,
  Client,
  ClientEvents,
  ExportedData,
  OpenOptions,
  Rejected,
  RejectedKind,
  Status,
} from "./api.js";
import {
  type Cells,
  type Copy,
  checkTexts,
  type Keeper,
  type ReadName,
  type WriteName,
  type Writes,
} from "./calls.js";
import type { TabEvents } from "./client.js";
import { Devices } from "./devices.js";
import type { ReplayReport } from "./engine.js";
import { listenerOf, OmegaError } from "./errors.js";
import { Profiles, ProgressMap, Watchlist } from "./household.js";
import { askToKeep } from "./indexeddb.js";
import { type Metrics, metricsOf } from "./metrics.js";
import type { CloseReason, RejectedReason } from "./reasons.js";
import type { AsideEntry } from "./storage.js";

/** Errors kept for an `error` listener that is added after `open` has returned. */
const EARLY_ERRORS_MAX = 8;

/** One device's copy of its household. */
export class SyncClient implements Client, Copy {
  readonly watchlist: Watchlist;
  readonly progress: ProgressMap;
  readonly profiles: Profiles;
  private others: Devices | undefined;
  private joined: Keeper | undefined;
  private readonly listeners: { [E in keyof ClientEvents]: Set<(d: ClientEvents[E]) => void> } = {
    change: new Set(),
    status: new Set(),
    rejected: new Set(),
    replay: new Set(),
    error: new Set(),
  };
  private earlyErrors: OmegaError[] = [];
  /** Notifications that are under way; the first is being told. */
  private untold: (() => void)[] = [];
  private lastStatus = "";
  private facts = { ...NO_FACTS };
  private readonly last: { [Name in ReadName]?: Cells[] } = {};
  private lastReplay: ReplayReport | undefined;

  constructor(private readonly options: OpenOptions) {
    this.profiles = new Profiles(this);
    const { watchlist, progress } = this.forProfile(options.profile ?? "");
    this.watchlist = watchlist;
    this.progress = progress;
  }

  /** Takes a keeper into use, which is told whom to tell. Rejects when what is stored can't be used. */
  async join(keeper: (events: TabEvents) => Promise<Keeper>): Promise<void> {
    this.joined = await keeper(this.tabEvents());
  }

  get devices(): Devices {
    // A first screen does without it.
    this.others ??= new Devices(this, this.options.device, {
      changed: () => this.emit("change", changeOf("devices")),
      isConnected: () => CONNECTED.has(this.tab.state()),
      attend: (attention) => this.tab.attend(attention),
    });
    return this.others;
  }

  get pending(): number {
    return this.status().pending;
  }

  rows(name: ReadName, ...values: string[]): Cells[] {
    checkTexts(name, values);
    return this.tab.rows(name, ...values);
  }

  async write<Name extends WriteName>(name: Name, ...values: Writes[Name]): Promise<void> {
    checkTexts(name, values);
    return this.tab.write(name, ...values);
  }

  /** From here on it connects, or follows who does. */
  start(): void {
    const { tab, options } = this;
    tab.start();
    // The app draws first what there is.
    const isOwn = tab.storage.kind === "indexeddb" && typeof options.storage !== "object";
    if (isOwn) setTimeout(() => askToKeep(options.persist), 0);
  }

  /** Tells the listeners, or the first of them. */
  report(error: OmegaError): void {
    if (this.listeners.error.size > 0) this.emit("error", error);
    else if (this.earlyErrors.length < EARLY_ERRORS_MAX) this.earlyErrors.push(error);
  }

  forProfile(profile: string): { watchlist: Watchlist; progress: ProgressMap } {
    // As the engine writes it, which a `change` is told by. What is no text is refused when it is used.
    const id = typeof profile === "string" ? profile.toLowerCase() : profile;
    return { watchlist: new Watchlist(this, id), progress: new ProgressMap(this, id) };
  }

  on<E extends keyof ClientEvents>(
    event: E,
    listener: (detail: ClientEvents[E]) => void,
  ): () => void {
    const events = Object.keys(this.listeners);
    if (!events.includes(event)) {
      throw new OmegaError("invalid_option", `an event is one of ${events.join(", ")}`);
    }
    const call = listenerOf(listener);
    // Of its own for each subscription: the same function may be there twice.
    const entry = (detail: ClientEvents[E]) => call(detail);
    const listeners = this.listeners[event];
    listeners.add(entry);
    if (event === "error") for (const error of this.earlyErrors.splice(0)) this.report(error);
    return () => listeners.delete(entry);
  }

  status(): Status {
    const { tab } = this;
    if (tab.isErased) this.facts = { ...NO_FACTS };
    // Of an engine that broke or is closed, the last that it said.
    else if (tab.isReadable) this.facts = factsOf(tab);
    const facts = this.facts;
    const closeReason = tab.closeReason() ?? facts.closeReason;
    const role = tab.leads ? "leader" : "follower";
    return { ...facts, state: tab.state(), storage: tab.storage.kind, role, closeReason };
  }

  metrics(): Metrics {
    return metricsOf(this.latest("metrics"), this.lastReplay);
  }

  pause(): void {
    this.tab.pause();
  }

  resume(): void {
    this.tab.resume();
  }

  flushed(): Promise<void> {
    return this.tab.flushed();
  }

  rejected(): Rejected[] {
    return this.latest("rejected").map(([kind, profile, subject, reason]) => ({
      kind: String(kind) as RejectedKind,
      profile: String(profile),
      subject: String(subject),
      reason: String(reason) as RejectedReason,
    }));
  }

  async takeRejected(): Promise<Rejected[]> {
    const taken = this.rejected();
    await this.write("rejectedTaken", taken.length);
    return taken;
  }

  aside(): Promise<AsideEntry[]> {
    return this.tab.storage.aside();
  }

  syncNow(): Promise<void> {
    return this.tab.syncNow();
  }

  async exportData(): Promise<ExportedData> {
    const profiles = this.profiles.list().map((profile) => {
      const { watchlist, progress } = this.forProfile(profile.id);
      const all = progress.inProgress().concat(progress.completed());
      return { ...profile, watchlist: watchlist.items(), progress: all };
    });
    const { pending, replica, household } = this.status();
    const facts = { device: this.options.device, replica, household, pending };
    const lists = { profiles, devices: this.devices.list(), rejected: this.rejected() };
    return { version: 1, exportedMs: Date.now(), ...facts, ...lists, aside: await this.aside() };
  }

  async close(): Promise<void> {
    // What is asked for afterwards, too.
    for (const name of ["metrics", "rejected"] as const) this.latest(name);
    this.devices.remote.close();
    await this.tab.close();
  }

  async destroy(): Promise<void> {
    // With a storage that can't erase the client goes on, and so do its listeners.
    await this.tab.destroy();
    this.devices.remote.close();
  }

  /** What is read now; of an engine that broke or is closed what was read last, of nothing nothing. */
  private latest(name: ReadName): Cells[] {
    const { tab, last } = this;
    if (tab.isErased) last[name] = [];
    else if (tab.isReadable) last[name] = tab.rows(name);
    return last[name] ?? [];
  }

  private get tab(): Keeper {
    if (this.joined === undefined) throw new OmegaError("closed", "this client is not open yet");
    return this.joined;
  }

  private tabEvents(): TabEvents {
    return {
      changed: (keys) => {
        for (const key of keys) this.emit("change", changeOf(key));
      },
      rejected: () => this.emit("rejected", this.rejected()),
      status: () => this.emitStatus(),
      replayed: (report) => {
        this.lastReplay = report;
        this.emit("replay", report);
      },
      failed: (error) => this.report(error),
      remote: (output) => this.devices.remote.take(output),
      led: () => this.devices.remote.led(),
      damaged: (damage) => this.report(damageError(damage)),
    };
  }

  private emitStatus(): void {
    const status = this.status();
    const text = JSON.stringify(status);
    if (text === this.lastStatus) return;
    this.lastStatus = text;
    this.emit("status", status);
  }

  /** What a listener causes is told after what it was called for: to all of them in the order it happened. */
  private emit<E extends keyof ClientEvents>(event: E, detail: ClientEvents[E]): void {
    this.untold.push(() => this.tell(event, detail));
    if (this.untold.length > 1) return;
    try {
      for (const tell of this.untold) tell();
    } finally {
      this.untold = [];
    }
  }

  private tell<E extends keyof ClientEvents>(event: E, detail: ClientEvents[E]): void {
    const listeners = this.listeners[event];
    for (const listener of Array.from(listeners)) {
      try {
        if (listeners.has(listener)) listener(detail);
      } catch (thrown) {
        // A listener's mistake belongs to the app: shown as uncaught, without stopping the driver.
        setTimeout(() => {
          throw thrown;
        }, 0);
      }
    }
  }
}

/** When the server tells which devices are online. */
const CONNECTED: ReadonlySet<string> = new Set(["syncing", "live"]);

/** What the engine says of itself. */
type Facts = Omit<Status, "state" | "storage" | "role">;

const NO_FACTS: Facts = {
  pending: 0,
  rejected: 0,
  offsetMs: 0,
  replica: "",
  household: "",
  closeReason: "",
};

function factsOf(keeper: Keeper): Facts {
  const pending = keeper.pending();
  const [cells = []] = keeper.rows("about");
  const [rejected, offsetMs, id, household, closeReason] = cells;
  return {
    pending,
    rejected: Number(rejected),
    offsetMs: Number(offsetMs),
    replica: String(id),
    household: String(household),
    closeReason: String(closeReason) as CloseReason | "",
  };
}

function changeOf(key: string): Change {
  const [what = "", profile = ""] = key.split(":");
  if (what === "watchlist" || what === "progress") return { what, profile };
  return { what: what === "devices" ? what : "profiles", profile: "" };
}

function damageError(damage: string): OmegaError {
  const message = `stored records were set aside (${damage}); the server fills the gap`;
  return new OmegaError("storage_corrupt", message);
}
