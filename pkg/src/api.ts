/**
 * What an app sees of a client: its settings, its events, and everything it can be asked.
 */

import type { DeltaSyncOptions } from "./delta-sync.js";
import type { Device, Devices } from "./devices.js";
import type { ReplayReport, SyncState, WasmSource } from "./engine.js";
import type { OmegaError } from "./errors.js";
import type {
  Profile,
  Profiles,
  Progress,
  ProgressMap,
  Watchlist,
  WatchlistItem,
} from "./household.js";
import type { Metrics } from "./metrics.js";
import type { RejectedReason, StopReason } from "./reasons.js";
import type { WebSocketConstructor } from "./socket.js";
import type { AsideEntry, Storage } from "./storage.js";

/** Settings of {@link open}. */
export type OpenOptions = OpenSettings & Addresses;

/** Where the server is: `url` or `urls`; of both, `urls` counts. */
export type Addresses = OneAddress | SeveralAddresses;

interface OneAddress {
  /** Address of the edge server, for instance `https://sync.example`, with the path where it is mounted. */
  url: string;
  urls?: readonly string[] | undefined;
}

interface SeveralAddresses {
  url?: string | undefined;
  /**
   * Several addresses instead, in the order in which they are to be tried. The first one is returned to
   * when it answers again. All must lead to the same household data.
   */
  urls: readonly string[];
}

/** The settings but for the server's address. */
export interface OpenSettings {
  /**
   * For apps that sync now and then: no socket is kept, one request does all. Without it requests are
   * the way out where a proxy breaks WebSockets: every 30 seconds, and 2 seconds after a write.
   */
  poll?: PollOptions | undefined;
  /**
   * This device's id, the one in its token: 1 to 64 bytes without control characters. It also names the
   * local database. A token of another device is not used: that is an `error` event, `token_failed`.
   */
  device: string;
  /**
   * Asked for a token before each connection and each request; a connection ends with its token, so it
   * must give a fresh one each time. One that fails, or gives none within 10 seconds, is reported as
   * `token_failed` and asked again later, further and further apart. A token that is over is no error: the
   * reason in the status is `unauthorized`, and writes wait.
   */
  token: () => Promise<string>;
  /** The household, if the app knows it: the server then refuses a token of another one. */
  household?: string | undefined;
  /** The profile that `watchlist` and `progress` work on; the default one when left out. */
  profile?: string | undefined;
  /** `indexeddb` (default), `memory`, or a storage of your own. */
  storage?: "indexeddb" | "memory" | Storage | undefined;
  /**
   * Whether to ask the engine to keep IndexedDB also when the device runs out of room. Left out: yes,
   * but not where the viewer would be asked (Firefox).
   */
  persist?: boolean | undefined;
  /** Name of the IndexedDB database; `omega-sync:` and the device when left out. */
  name?: string | undefined;
  /** Where the WebAssembly file is; needed only where it is not beside the package's script. */
  wasm?: WasmSource | undefined;
  /** A WebSocket class where the platform has none (Node 20: `ws`). */
  WebSocket?: WebSocketConstructor | undefined;
  /** How to catch up; see {@link DeltaSyncOptions}. */
  deltaSync?: DeltaSyncOptions | undefined;
  /**
   * Times that tests of this package shorten, in milliseconds: see the constants of `transport.ts`.
   *
   * @internal
   */
  testing?: { socketRetryMs?: number; firstUrlRetryMs?: number; tokenTimeoutMs?: number };
}

/** See {@link OpenOptions.poll}. */
export interface PollOptions {
  /** From one request to the next, in seconds, 1 or more; up to a quarter less, at random. */
  everySeconds: number;
  /** After a write, in seconds; when left out a write waits for the next request. */
  afterWriteSeconds?: number | undefined;
}

/** A list that changed. */
export interface Change {
  /** Which list. */
  what: "watchlist" | "progress" | "profiles" | "devices";
  /** The profile whose list it is; empty for the default one and for what is of no profile. */
  profile: string;
}

/** How things stand. */
export interface Status {
  /** Where the connection to the server stands. */
  state: SyncState;
  /** Writes that the server has not acknowledged yet. */
  pending: number;
  /** Writes that the server refused; see {@link Client.takeRejected}. */
  rejected: number;
  /** Where this device keeps its copy: `indexeddb`, `memory`, or the name of a custom storage. */
  storage: string;
  /**
   * `leader`: this tab stores and talks to the server. `follower`: another tab of the same storage does,
   * and `state` is that tab's. With the engine in a Worker it is `leader` until that is there and knows.
   */
  role: "leader" | "follower";
  /** What to add to this device's clock to get the server's, in milliseconds. */
  offsetMs: number;
  /** This copy's id, 16 hexadecimal digits. */
  replica: string;
  /** Why the last connection ended or this client stopped; empty if neither. */
  closeReason: StopReason;
  /** The household, once known; empty before. */
  household: string;
}

/** What a refused write was. */
export type RejectedKind =
  | "watchlist_add"
  | "watchlist_remove"
  | "progress_set"
  | "progress_remove"
  | "profile_name"
  | "profile_delete"
  | "device_describe"
  | "device_remove";

/** A write that the server refused for good, with its reason. */
export interface Rejected {
  /** What the write was to do. */
  kind: RejectedKind;
  /** Whose list it was for; empty for the default profile and for what is of no profile. */
  profile: string;
  /** The content id, the profile's name, or the device's id. */
  subject: string;
  /** Why the server refused it. */
  reason: RejectedReason;
}

/**
 * What listeners of each event get. What a listener causes, by a write for instance, shows at once and is
 * told when all listeners have heard what it was called for.
 */
export interface ClientEvents {
  /** A list shows something else, by a write here or on another device. */
  change: Change;
  /** Something in {@link Client.status} is different, or may be. */
  status: Status;
  /** The server refused writes: all those that nobody took yet, see {@link Client.takeRejected}. */
  rejected: Rejected[];
  /** Once for each connection: when all that waited for it is answered, or it ended before. */
  replay: ReplayReport;
  /** What failed without anybody waiting for it, for instance `token_failed` or `storage_full`. */
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
  /**
   * The lists of another profile. An id that is none shows when they are used: reads throw
   * `invalid_profile`, writes reject with it, and with `unknown_profile` when it was deleted.
   */
  forProfile(profile: string): { watchlist: Watchlist; progress: ProgressMap };
  /**
   * Calls `listener` at every such event until the returned function is called. The first listener of
   * `error` also gets what came before it. Throws `invalid_option` for an event of another name, and for a
   * listener that is no function.
   */
  on<E extends keyof ClientEvents>(
    event: E,
    listener: (detail: ClientEvents[E]) => void,
  ): () => void;
  /**
   * How things stand now. After {@link Client.close} the last facts, `stopped` with the reason `closed`, and
   * so with {@link Client.pending}, {@link Client.metrics} and {@link Client.rejected}; after
   * {@link Client.destroy} nothing is left of them.
   */
  status(): Status;
  /**
   * What was counted since {@link open}: writes, bytes, and how the last reconnect went; it begins anew
   * with an engine that takes the place of one that died in a Worker. A tab that follows
   * counts nothing, its writes are the leader's: all is 0 there but `replay`.
   */
  metrics(): Metrics;
  /** Goes offline until {@link Client.resume}; reads and writes go on. */
  pause(): void;
  /** Goes online again, at once. */
  resume(): void;
  /**
   * Resolves when the server has acknowledged every write; until there is a network, and room to store
   * them, it waits. Rejects with `sync_failed` when the server's answer has stopped this client
   * (`status().closeReason`: `version_unsupported`, `household_mismatch`, `too_large` or `erased`), with
   * `closed`, or with what ended it: `superseded`, `storage_newer`, `destroyed`.
   */
  flushed(): Promise<void>;
  /** Writes that the server refused. */
  rejected(): Rejected[];
  /**
   * The same, and forgets them durably; when others have come that this tab does not show yet, all of them
   * stay for the next call. Resolves when that is durable on this device; rejects with `storage_full` or
   * `storage_failed`, with `closed`, or with what ended the client.
   */
  takeRejected(): Promise<Rejected[]>;
  /**
   * Unreadable records that were set aside, for export, oldest first. Resolves when they are read; rejects
   * with what the storage failed with, `storage_failed` for IndexedDB.
   */
  aside(): Promise<AsideEntry[]>;
  /**
   * Asks the server now, on a connection of its own. Resolves when this device has what the server had
   * and the server has every write of this device. Rejects with `sync_failed` when it can't be reached
   * or the client has stopped, with what the storage failed with, `closed`, or what ended the client.
   */
  syncNow(): Promise<void>;
  /**
   * Everything this device holds of the household, as plain data. Resolves without the network; rejects
   * with `closed`, with what ended the client, or as {@link Client.aside}.
   */
  exportData(): Promise<ExportedData>;
  /**
   * Stores what is queued and releases storage, socket and memory. Resolves when that is done, also when
   * it was before. It never rejects: a write that can't be stored any more does, as does what waits for
   * the server (`closed`).
   */
  close(): Promise<void>;
  /**
   * Logout: erases everything this device has stored, in every tab, and stops them; what the server has
   * stays. Writes that it does not have yet are lost: wait for {@link Client.flushed} before, if there is
   * a network. Resolves when nothing can be read any more, neither here nor by the next user; other tabs
   * of the app then have the state `stopped` with the reason `destroyed`. Also after {@link Client.close},
   * and when all was erased before.
   *
   * Rejects with `invalid_option` when `storage` is one that can't erase, or with what its erasing failed
   * with: then nothing can be read or written any more, and another call tries again.
   */
  destroy(): Promise<void>;
}

/** What {@link Client.exportData} gives. */
export interface ExportedData {
  /** Of this form. */
  version: 1;
  /** When, in Unix milliseconds. */
  exportedMs: number;
  /** This device's id. */
  device: string;
  /** This copy's id, 16 hexadecimal digits. */
  replica: string;
  /** The household, if known. */
  household: string;
  /** Writes that the server has not acknowledged yet. */
  pending: number;
  /** Every profile, the default one too, with its lists. */
  profiles: (Profile & { watchlist: WatchlistItem[]; progress: Progress[] })[];
  /** Every device that described itself. */
  devices: Device[];
  /** Writes that the server refused and nobody took. */
  rejected: Rejected[];
  /** Unreadable records that were set aside. */
  aside: AsideEntry[];
}
