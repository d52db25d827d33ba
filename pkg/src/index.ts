/**
 * Omega Sync: the watchlist, playback progress and devices of a household, the same on every TV.
 *
 * {@link open} loads this device's copy, which can be read and written at once and without any
 * network; the rest happens behind it. Every write returns a promise that resolves when the write
 * is durable on this device. {@link Client.flushed} tells when the server has everything.
 *
 * @packageDocumentation
 */

import { Driver } from "./client.js";
import { checkDeltaSync, type DeltaSyncOptions } from "./delta-sync.js";
import { Devices } from "./devices.js";
import type { EngineSource, Entropy, ReplayReport, SyncState, WasmSource } from "./engine.js";
import { engineFailure, loadReplica, type Replica, rows, startEngine } from "./engine.js";
import { fromEngine, OmegaError } from "./errors.js";
import { Profiles, ProgressMap, Watchlist } from "./household.js";
import { type Metrics, metricsOf } from "./metrics.js";
import { socketUrl, type WebSocketConstructor } from "./socket.js";
import { type AsideEntry, MemoryStorage, openStorage, type Storage } from "./storage.js";

export type { DeltaSyncOptions } from "./delta-sync.js";
export type {
  AudioCodec,
  Capabilities,
  Device,
  DeviceDescription,
  Devices,
  DeviceType,
  HdrFormat,
  Resolution,
  VideoCodec,
} from "./devices.js";
export type { ReplayReport, SyncState, WasmSource } from "./engine.js";
export { type ErrorCode, OmegaError } from "./errors.js";
export type {
  PlayState,
  Profile,
  Profiles,
  Progress,
  ProgressMap,
  ProgressUpdate,
  Watchlist,
  WatchlistItem,
} from "./household.js";
export type { Metrics } from "./metrics.js";
export type { WebSocketConstructor, WebSocketLike } from "./socket.js";
export { type AsideEntry, MemoryStorage, type Storage, type StorageChange } from "./storage.js";

/** Settings of {@link open}. */
export interface OpenOptions {
  /** Address of the edge server, for instance `https://sync.example`; the path is `/ws`. */
  url: string;
  /** This device's id, the one in its token. It also names the local database. */
  device: string;
  /** Asked for a token before each connection, so a fresh one can be fetched. */
  token: () => Promise<string>;
  /** The household, if the app knows it: the server then refuses a token of another one. */
  household?: string;
  /** The profile that `watchlist` and `progress` work on; the default one when left out. */
  profile?: string;
  /** `indexeddb` (default), `memory`, or a storage of your own. */
  storage?: "indexeddb" | "memory" | Storage;
  /** Name of the IndexedDB database; `omega-sync:` and the device when left out. */
  name?: string;
  /** Where the WebAssembly file is; needed only where it is not beside the package's script. */
  wasm?: WasmSource;
  /** A WebSocket class where the platform has none (Node 20: `ws`). */
  WebSocket?: WebSocketConstructor;
  /** How to catch up; see {@link DeltaSyncOptions}. */
  deltaSync?: DeltaSyncOptions;
}

/** A list that changed. */
export interface Change {
  what: "watchlist" | "progress" | "profiles" | "devices";
  /** The profile whose list it is; empty for the default one and for what is of no profile. */
  profile: string;
}

/** How things stand. */
export interface Status {
  state: SyncState;
  /** Writes that the server has not acknowledged yet. */
  pending: number;
  /** Writes that the server refused; see {@link Client.takeRejected}. */
  rejected: number;
  /** Where this device keeps its copy: `indexeddb`, `memory`, or the name of a custom storage. */
  storage: string;
  /** What to add to this device's clock to get the server's, in milliseconds. */
  offsetMs: number;
  /** This copy's id, 16 hexadecimal digits. */
  replica: string;
  /** Why the last connection ended or this client stopped; empty if neither. */
  closeReason: string;
  /** The household, once known; empty before. */
  household: string;
}

/** A write that the server refused for good, with its reason. */
export interface Rejected {
  /**
   * `watchlist_add`, `watchlist_remove`, `progress_set`, `progress_remove`, `profile_name`,
   * `profile_delete`, `device_describe` or `device_remove`.
   */
  kind: string;
  profile: string;
  /** The content id, the profile's name, or the device's id. */
  subject: string;
  /** Stable name of the reason, for instance `profile_deleted` or `forbidden`. */
  reason: string;
}

/** What listeners of each event get. */
export interface ClientEvents {
  change: Change;
  status: Status;
  rejected: Rejected[];
  /** Once for each connection: when all that waited for it is answered, or it ended before. */
  replay: ReplayReport;
  error: OmegaError;
}

/** One device's copy of its household. */
export interface Client {
  /** The watchlist of the profile given to {@link open}. */
  readonly watchlist: Watchlist;
  /** The progress of the profile given to {@link open}. */
  readonly progress: ProgressMap;
  /** The household's profiles. */
  readonly profiles: Profiles;
  /** The household's devices, and what this one says of itself. */
  readonly devices: Devices;
  /** Writes that the server has not acknowledged yet. */
  readonly pending: number;
  /** The lists of another profile. */
  forProfile(profile: string): { watchlist: Watchlist; progress: ProgressMap };
  /** Calls `listener` at every such event until the returned function is called. */
  on<E extends keyof ClientEvents>(
    event: E,
    listener: (detail: ClientEvents[E]) => void,
  ): () => void;
  /** How things stand now. */
  status(): Status;
  /** What was counted since {@link open}: writes, bytes, and how the last reconnect went. */
  metrics(): Metrics;
  /** Goes offline until {@link Client.resume}; reads and writes go on. */
  pause(): void;
  /** Goes online again, at once. */
  resume(): void;
  /** Resolves when the server has acknowledged every write. */
  flushed(): Promise<void>;
  /** Writes that the server refused. */
  rejected(): Rejected[];
  /** The same, and forgets them durably. */
  takeRejected(): Promise<Rejected[]>;
  /** Unreadable records that were set aside, for export. */
  aside(): Promise<AsideEntry[]>;
  /** Stores what is queued and releases storage, socket and memory. */
  close(): Promise<void>;
}

/** Errors kept for an `error` listener that is added after {@link open} has returned. */
const EARLY_ERRORS_MAX = 8;

/**
 * Opens this device's copy. Resolves when it can be read and written, before any network.
 *
 * Rejects with an {@link OmegaError}: `storage_newer`, `invalid_household`, `invalid_url`,
 * `invalid_option`, `websocket_missing` or `wasm_failed`.
 */
export function open(options: OpenOptions): Promise<Client> {
  return openWith(options, () => import("./wasm-url.js").then((module) => module.wasmUrl));
}

/** {@link open} with another place that the engine comes from by default, and another source of chance. */
export async function openWith(
  options: OpenOptions,
  defaultEngine: () => EngineSource,
  entropy?: Entropy,
): Promise<Client> {
  const url = socketUrl(options.url);
  const { enabled } = checkDeltaSync(options.deltaSync);
  const WebSocket = options.WebSocket ?? platformWebSocket();
  await startEngine(() => options.wasm ?? defaultEngine(), entropy);
  const { storage, records, warning } = await loadStorage(options);
  let loaded: ReturnType<typeof loadReplica>;
  try {
    loaded = loadReplica(records, options.household ?? "");
  } catch (thrown) {
    storage.close();
    throw fromEngine(thrown);
  }
  const { replica, damage } = loaded;
  replica.catchUpByDifferences(enabled);
  const client = new SyncClient(
    { replica, storage, url, WebSocket, token: options.token, damage },
    options,
  );
  if (warning !== undefined) client.report(warning);
  if (damage !== undefined) client.report(damageError(damage));
  client.start();
  return client;
}

class SyncClient implements Client {
  readonly watchlist: Watchlist;
  readonly progress: ProgressMap;
  readonly profiles: Profiles;
  readonly devices: Devices;
  private readonly driver: Driver;
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

  constructor(parts: ConstructorParameters<typeof Driver>[0], options: OpenOptions) {
    this.driver = new Driver(parts, {
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
    });
    this.profiles = new Profiles(this.driver);
    this.devices = new Devices(this.driver, options.device);
    const { watchlist, progress } = this.forProfile(options.profile ?? "");
    this.watchlist = watchlist;
    this.progress = progress;
  }

  get pending(): number {
    return this.driver.read((replica) => replica.pending());
  }

  start(): void {
    this.driver.start();
  }

  report(error: OmegaError): void {
    if (this.listeners.error.size > 0) this.emit("error", error);
    else if (this.earlyErrors.length < EARLY_ERRORS_MAX) this.earlyErrors.push(error);
  }

  forProfile(profile: string): { watchlist: Watchlist; progress: ProgressMap } {
    return {
      watchlist: new Watchlist(this.driver, profile),
      progress: new ProgressMap(this.driver, profile),
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
    // Of an engine that broke, the last that it said.
    if (engineFailure() === undefined) this.facts = this.driver.read(factsOf);
    const facts = this.facts;
    const closeReason = this.driver.closeReason() ?? facts.closeReason;
    const storage = this.driver.storage.kind;
    return { ...facts, state: this.driver.state(), storage, closeReason };
  }

  metrics(): Metrics {
    return metricsOf(this.driver, this.lastReplay);
  }

  pause(): void {
    this.driver.pause();
  }

  resume(): void {
    this.driver.resume();
  }

  flushed(): Promise<void> {
    return this.driver.flushed();
  }

  rejected(): Rejected[] {
    const list = this.driver.read((replica) => rows(replica.rejected(), "tttt"));
    return list.map(([kind, profile, subject, reason]) => ({
      kind: String(kind),
      profile: String(profile),
      subject: String(subject),
      reason: String(reason),
    }));
  }

  async takeRejected(): Promise<Rejected[]> {
    const taken = this.rejected();
    await this.driver.write("rejectedTaken");
    return taken;
  }

  aside(): Promise<AsideEntry[]> {
    return this.driver.storage.aside();
  }

  close(): Promise<void> {
    return this.driver.close();
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

/** What the engine says of itself. */
type Facts = Omit<Status, "state" | "storage">;

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

async function loadStorage(options: OpenOptions): Promise<{
  storage: Storage;
  records: Uint8Array[];
  warning?: OmegaError;
}> {
  const kind = options.storage ?? "indexeddb";
  if (typeof kind === "object") return { storage: kind, records: await kind.load() };
  const opened = await openStorage(options.name ?? `omega-sync:${options.device}`, kind);
  try {
    return { ...opened, records: await opened.storage.load() };
  } catch (cause) {
    opened.storage.close();
    const message = "the stored copy cannot be read: changes last until this page closes";
    const warning = new OmegaError("storage_memory", message, cause);
    return { storage: new MemoryStorage(), records: [], warning };
  }
}

function damageError(damage: string): OmegaError {
  const message = `stored records were set aside (${damage}); the server fills the gap`;
  return new OmegaError("storage_corrupt", message);
}

function platformWebSocket(): WebSocketConstructor {
  if (typeof WebSocket !== "undefined") return WebSocket;
  const message = "no WebSocket here; pass one, for instance the npm package ws: { WebSocket }";
  throw new OmegaError("websocket_missing", message);
}

function changeOf(key: string): Change {
  const [what = "", profile = ""] = key.split(":");
  if (what === "watchlist" || what === "progress") return { what, profile };
  return { what: what === "devices" ? what : "profiles", profile: "" };
}
