/**
 * The engine's side of Worker mode: everything of `open` but the storage, the token and the page's life,
 * which stay with the page (`page-side.ts`). From `file://` a Worker of engines before Chromium 80
 * may not open IndexedDB, and none of them hears that the page hides.
 */

import type { Keeper } from "../calls.js";
import type { DriverEvents, TabEvents } from "../client.js";
import { type EngineSource, type SyncState, startEngine, type WasmSource } from "../engine.js";
import { OmegaError } from "../errors.js";
import { joinTab } from "../join.js";
import type { LifecycleEvents } from "../lifecycle.js";
import type { StopReason } from "../reasons.js";
import type { Settings } from "../settings.js";
import { platformWebSocket } from "../socket.js";
import type { AsideEntry, Seen, SharedStorage, Storage, StorageChange } from "../storage.js";
import type { Asked, Channel, Message } from "../tabs/channel.js";
import type { Tab } from "../tabs/tabs.js";
import { Port, type PortLike } from "./port.js";
import type { ViewUpdate } from "./view.js";
import { ViewWriter } from "./view-writer.js";

/** A change that no write waits for is told so much later, with what follows at once. */
const TELL_MS = 4;

/** What the page tells the engine's side once. */
export interface Opening {
  settings: Settings;
  wasm?: WasmSource;
  /** What the page's storage is called; `shared` when several tabs can have it open. */
  storage: { kind: string; name: string; shared: boolean };
  /** What the page shows already, as it was stored. */
  shown: ViewUpdate[];
  /** What the page calls this tab. */
  tab: string;
  /** Whether it is to stay offline. */
  paused: boolean;
}

/** How the engine's side stands. */
export interface Standing {
  state: SyncState;
  closeReason: StopReason | undefined;
  leads: boolean;
  isErased: boolean;
  isReadable: boolean;
  isPaused: boolean;
  /** Counts, as `metrics.ts` reads them. */
  metrics: number[];
}

/** What taking over the page's storage gives. */
export interface Loaded extends Seen {
  life: string | undefined;
  marks: [tab: string, write: number][];
  /** Whether what the page shows is what is stored. */
  shown: boolean;
}

/** What a client asks of its keeper that goes on to the engine's side as it is. */
type PassedOn =
  | "start"
  | "attend"
  | "pause"
  | "resume"
  | "flushed"
  | "syncNow"
  | "close"
  | "destroy";

/** What the page can ask of the engine's side. */
export interface EngineCalls extends Pick<Keeper, PassedOn> {
  open(opening: Opening): Promise<void>;
  write(asked: Asked): Promise<void>;
  woke(): void;
  hides(): void;
  /** Something from another tab. */
  heard(message: Message): void;
}

/** What the engine's side can ask of the page. */
export interface PageCalls {
  /** The script has run, and is of this version. */
  served(version: string): void;
  token(): Promise<string>;
  load(): Promise<Loaded>;
  peek(): Promise<Loaded>;
  commit(change: StorageChange): Promise<void>;
  aside(): Promise<AsideEntry[]>;
  erase(): Promise<void>;
  /** From here on the storage is memory. */
  useMemory(): void;
  closeStorage(): void;
  view(update: ViewUpdate): void;
  stands(standing: Standing): void;
  event(name: PassedEvent, values: unknown[]): void;
  channel(life: string): void;
  post(message: Message): void;
  closeChannel(): void;
  beacon(url: string, body: Uint8Array<ArrayBuffer>): Promise<boolean>;
}

/** Events that pass as they are. */
export type PassedEvent = "rejected" | "replayed" | "remote" | "failed" | "led" | "damaged";

/** Serves the page at the other end. */
export function serve(inner: PortLike, defaultEngine: () => EngineSource): void {
  new Served(inner, defaultEngine).begin();
}

class Served {
  private readonly port: Port<PageCalls>;
  private tab: Tab | undefined;
  private life: LifecycleEvents | undefined;
  private hear: (message: Message) => void = () => undefined;
  private writer: ViewWriter | undefined;
  private shown: ViewUpdate[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lastStanding = "";
  private isStarted = false;

  constructor(
    inner: PortLike,
    private readonly defaultEngine: () => EngineSource,
  ) {
    const calls: EngineCalls = {
      open: (opening) => this.open(opening),
      start: () => {
        this.isStarted = true;
        this.opened.start();
      },
      attend: (attention) => this.opened.attend(attention),
      write: (asked) => this.told(this.opened.make(asked)),
      pause: () => this.told(this.opened.pause()),
      resume: () => this.told(this.opened.resume()),
      flushed: () => this.told(this.opened.flushed()),
      syncNow: () => this.told(this.opened.syncNow()),
      close: () => this.opened.close(),
      destroy: () => this.told(this.opened.destroy()),
      woke: () => this.life?.woke(),
      hides: () => this.life?.hides(),
      heard: (message) => this.hear(message),
    };
    this.port = new Port(inner, { ...calls });
  }

  begin(): void {
    this.port.tell("served", OMEGA_SYNC_VERSION);
  }

  private get opened(): Tab {
    if (this.tab === undefined) throw new OmegaError("closed", "this client is not open yet");
    return this.tab;
  }

  private async open({ settings, wasm, storage, shown, ...more }: Opening): Promise<void> {
    this.shown = shown;
    await startEngine(() => wasm ?? this.defaultEngine());
    const memory = { kind: "memory", name: "", shared: false };
    const platform = {
      ...more,
      memory: () => {
        this.port.tell("useMemory");
        return this.storage(memory);
      },
      WebSocket: platformWebSocket(),
      token: () => this.port.call("token"),
      beacon: (url: string, body: Uint8Array<ArrayBuffer>) => this.port.call("beacon", url, body),
      channel: (life: string, hear: (message: Message) => void) => this.channel(life, hear),
      watch: (events: LifecycleEvents) => {
        this.life = events;
        return () => {
          this.life = undefined;
        };
      },
    };
    this.tab = await joinTab(settings, this.storage(storage), platform, this.events());
    this.writer = new ViewWriter(this.tab);
    this.writer.begin(this.shown);
    this.writer.touchAll();
    this.tell();
  }

  /** Passes an answer on after the view that goes with it. */
  private async told(answer: Promise<void> | void): Promise<void> {
    try {
      await answer;
    } finally {
      this.tell();
    }
  }

  /** Tells the page how the view and everything else stand now. */
  private tell(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { tab, writer } = this;
    if (tab === undefined || writer === undefined) return;
    const { leads, isErased, isReadable, isPaused } = tab;
    const canRead = isReadable && !isErased;
    const update = canRead ? writer.update() : undefined;
    if (update !== undefined) this.port.tell("view", update);
    const metrics = canRead ? (tab.rows("metrics")[0] ?? []).map(Number) : [];
    const state = this.isStarted ? tab.state() : "connecting";
    const closeReason = tab.closeReason();
    const standing = { state, closeReason, leads, isErased, isReadable, isPaused, metrics };
    const text = JSON.stringify(standing);
    // In a message of its own even if only the view is new: the page's tasks stay short.
    if (text === this.lastStanding && update === undefined) return;
    this.lastStanding = text;
    this.port.tell("stands", standing);
  }

  private tellSoon(keys: readonly string[]): void {
    this.writer?.touch(keys);
    this.timer ??= setTimeout(() => this.tell(), TELL_MS);
  }

  private events(): TabEvents {
    const pass =
      (name: PassedEvent) =>
      (...values: unknown[]) => {
        this.tell();
        this.port.tell("event", name, values);
      };
    const failed: DriverEvents["failed"] = ({ code, message }) => pass("failed")(code, message);
    return {
      changed: (keys) => this.tellSoon(keys),
      status: () => this.tellSoon(["about", "pending", "rejected"]),
      rejected: pass("rejected"),
      replayed: pass("replayed"),
      remote: pass("remote"),
      failed,
      led: pass("led"),
      damaged: pass("damaged"),
    };
  }

  private channel(life: string, hear: (message: Message) => void): Channel {
    this.hear = hear;
    this.port.tell("channel", life);
    return {
      post: (message) => this.port.tell("post", message),
      close: () => this.port.tell("closeChannel"),
    };
  }

  /** The page's storage, seen from here. */
  private storage({ kind, name, shared }: Opening["storage"]): Storage {
    const { port } = this;
    let life: string | undefined;
    const marks = new Map<string, number>();
    const storage: Storage = {
      kind,
      load: async () => {
        const loaded = await port.call("load");
        life = loaded.life;
        for (const [tab, write] of loaded.marks) marks.set(tab, write);
        if (!loaded.shown) {
          // The page has something else on the screen than the storage in its hands.
          this.shown = [];
          this.writer?.begin(this.shown);
        }
        return loaded.records;
      },
      commit: (change) => {
        // Before the commit, so that the page stores it with the records that it comes from.
        this.tell();
        return port.call("commit", change);
      },
      aside: () => port.call("aside"),
      close: () => port.tell("closeStorage"),
      destroy: () => port.call("erase"),
    };
    if (!shared) return storage;
    const peek = async (): Promise<Seen> => {
      const seen = await port.call("peek");
      life = seen.life;
      return seen;
    };
    const open: SharedStorage = {
      ...{ ...storage, name, marks, peek },
      get life() {
        return life;
      },
    };
    return open;
  }
}
