/** The client that `open` returns: the lists, the events, and the tab behind them. */

import type {
  Change,
  Client,
  ClientEvents,
  ExportedData,
  OpenOptions,
  PollOptions,
  Rejected,
  Status,
} from "./api.js";
import type { Copy, WriteName, Writes } from "./calls.js";
import { Devices } from "./devices.js";
import { engineFailure, type ReplayReport, type Replica, rows } from "./engine.js";
import { OmegaError } from "./errors.js";
import { Profiles, ProgressMap, Watchlist } from "./household.js";
import { type Metrics, metricsOf } from "./metrics.js";
import type { AsideEntry } from "./storage.js";
import { Tab, type TabEvents, type TabParts } from "./tabs.js";

const SECOND_MS = 1_000;
/** Errors kept for an `error` listener that is added after `open` has returned. */
const EARLY_ERRORS_MAX = 8;

/** What {@link SyncClient.join} needs. */
export interface ClientParts extends Omit<TabParts, "loaded"> {
  /** Whether to catch up by differences. */
  differences: boolean;
  /** How often to ask, for apps without a socket. */
  poll: Required<PollOptions> | undefined;
}

/** The same with the default. Throws `invalid_option` for what is no time. */
export function checkPoll(options: PollOptions | undefined): Required<PollOptions> | undefined {
  if (options === undefined) return undefined;
  const { everySeconds, afterWriteSeconds = everySeconds } = options;
  if (!(everySeconds >= 1) || !(afterWriteSeconds >= 0)) {
    throw new OmegaError("invalid_option", "poll.everySeconds must be 1 or more, seconds");
  }
  return { everySeconds, afterWriteSeconds };
}

/** One device's copy of its household. */
export class SyncClient implements Client, Copy {
  readonly watchlist: Watchlist;
  readonly progress: ProgressMap;
  readonly profiles: Profiles;
  readonly devices: Devices;
  private joined: Tab | undefined;
  private readonly listeners: { [E in keyof ClientEvents]: Set<(d: ClientEvents[E]) => void> } = {
    change: new Set(),
    status: new Set(),
    rejected: new Set(),
    replay: new Set(),
    error: new Set(),
  };
  private earlyErrors: OmegaError[] = [];
  private lastStatus = "";
  private facts = { ...NO_FACTS };
  private lastReplay: ReplayReport | undefined;

  constructor(private readonly options: OpenOptions) {
    this.profiles = new Profiles(this);
    this.devices = new Devices(this, options.device, {
      changed: () => this.emit("change", changeOf("devices")),
      isConnected: () => CONNECTED.has(this.tab.state()),
    });
    const { watchlist, progress } = this.forProfile(options.profile ?? "");
    this.watchlist = watchlist;
    this.progress = progress;
  }

  /** Loads what is stored. Rejects when it can't be used. */
  async join(parts: ClientParts): Promise<void> {
    const household = this.options.household ?? "";
    const loaded = (replica: Replica) => {
      const stored = factsOf(replica).household;
      if (household !== "" && stored !== household) throw householdMismatch();
      replica.catchUpByDifferences(parts.differences);
      const { poll } = parts;
      if (poll !== undefined) {
        replica.setRest(poll.everySeconds * SECOND_MS, poll.afterWriteSeconds * SECOND_MS);
      }
    };
    this.joined = await Tab.open({ ...parts, loaded }, this.tabEvents());
  }

  get pending(): number {
    return this.read((replica) => replica.pending());
  }

  read<T>(query: (replica: Replica) => T): T {
    return this.tab.read(query);
  }

  write<Name extends WriteName>(name: Name, ...values: Writes[Name]): Promise<void> {
    return this.tab.write(name, ...values);
  }

  /** From here on it connects, or follows who does. */
  start(): void {
    this.tab.start();
  }

  /** Tells the listeners, or the first of them. */
  report(error: OmegaError): void {
    if (this.listeners.error.size > 0) this.emit("error", error);
    else if (this.earlyErrors.length < EARLY_ERRORS_MAX) this.earlyErrors.push(error);
  }

  forProfile(profile: string): { watchlist: Watchlist; progress: ProgressMap } {
    return {
      watchlist: new Watchlist(this, profile),
      progress: new ProgressMap(this, profile),
    };
  }

  on<E extends keyof ClientEvents>(
    event: E,
    listener: (detail: ClientEvents[E]) => void,
  ): () => void {
    this.listeners[event].add(listener);
    if (event === "error") for (const error of this.earlyErrors.splice(0)) this.report(error);
    return () => this.listeners[event].delete(listener);
  }

  status(): Status {
    const { tab } = this;
    if (tab.isErased) this.facts = { ...NO_FACTS };
    // Of an engine that broke, the last that it said.
    else if (engineFailure() === undefined) this.facts = this.read(factsOf);
    const facts = this.facts;
    const closeReason = tab.closeReason() ?? facts.closeReason;
    const role = tab.leads ? "leader" : "follower";
    return { ...facts, state: tab.state(), storage: tab.storage.kind, role, closeReason };
  }

  metrics(): Metrics {
    return metricsOf(this, this.lastReplay);
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
    const list = this.read((replica) => rows(replica.rejected(), "tttt"));
    return list.map(([kind, profile, subject, reason]) => ({
      kind: String(kind),
      profile: String(profile),
      subject: String(subject),
      reason: String(reason),
    }));
  }

  async takeRejected(): Promise<Rejected[]> {
    const taken = this.rejected();
    await this.write("rejectedTaken");
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
    this.devices.remote.close();
    await this.tab.close();
  }

  async destroy(): Promise<void> {
    this.devices.remote.close();
    await this.tab.destroy();
  }

  private get tab(): Tab {
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

  private emit<E extends keyof ClientEvents>(event: E, detail: ClientEvents[E]): void {
    for (const listener of Array.from(this.listeners[event])) {
      try {
        listener(detail);
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

function factsOf(replica: Replica): Facts {
  const pending = replica.pending();
  const [cells = []] = rows(replica.about(), "nnttt");
  const [rejected, offsetMs, id, household, closeReason] = cells;
  return {
    pending,
    rejected: Number(rejected),
    offsetMs: Number(offsetMs),
    replica: String(id),
    household: String(household),
    closeReason: String(closeReason),
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

function householdMismatch(): OmegaError {
  const message = "this device's copy is of another household: erase it first, with `wipe`";
  return new OmegaError("household_mismatch", message);
}
