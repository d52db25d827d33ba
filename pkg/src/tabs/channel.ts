/**
 * How the tabs of one storage talk: BroadcastChannel, or the `storage` events of localStorage where an
 * engine (Chromium 53) has none.
 *
 * Invariant: nothing depends on a message that arrives. What is true is in the storage; a message only
 * says when to look, and who would answer for it.
 */

import type { Attention, WriteName } from "../calls.js";
import type { Order, RemoteOutput, ReplayReport, SyncState } from "../engine.js";
import { type ErrorCode, OmegaError } from "../errors.js";
import type { StopReason } from "../reasons.js";

/** Why something was not done; empty when it was. */
export interface Refusal {
  code?: ErrorCode;
  message?: string;
}

/** How it stands with the server. */
export interface Standing {
  state: SyncState;
  closeReason: StopReason;
}

/** A write that one tab asks another to make. */
export interface Asked {
  /** Each tab numbers its own from 1. */
  write: number;
  /** When the app asked for it, Unix milliseconds: it may be made much later. */
  atMs: number;
  name: WriteName;
  values: (string | number)[];
}

/** What tabs say. `tab` is who says it. */
export type Message =
  /** Is there anybody who leads? And this is how attentive I am to commands. */
  | { kind: "ask"; tab: string; attention: Attention }
  /**
   * I lead, this is how it stands with the server, and so often I have stored something. Each time that
   * a tab begins to lead is a term of its own.
   */
  | ({ kind: "lead"; tab: string; term: string; paused: boolean; stored: number } & Standing)
  /** Something was stored for the `stored`th time; these parts look different. */
  | { kind: "stored"; tab: string; term: string; stored: number; keys: string[] }
  /**
   * Make this write, whoever leads in the term `to`; a tab numbers its own from 1. What comes before
   * `first` has its answer.
   */
  | ({ kind: "write"; tab: string; to: string; first: number } & Asked)
  /** I lead, and heard `to`; unlike `lead` it is no reason to ask for anything again. */
  | { kind: "heard"; tab: string; to: string }
  /** A write of `to` is stored, or refused. */
  | ({ kind: "done"; tab: string; to: string; write: number } & Refusal)
  /** The exchange that `to` wished for has ended. */
  | ({ kind: "synced"; tab: string; to: string } & Refusal)
  /** Do this with the connection. */
  | { kind: "connection"; tab: string; wish: "pause" | "resume" | "sync" }
  | { kind: "replay"; tab: string; report: ReplayReport }
  /** What became of a command of some tab, or which devices are here. */
  | { kind: "remote"; tab: string; output: RemoteOutput }
  /** There is a command for this device; `to` may have it. */
  | { kind: "offer"; tab: string; to: string; number: number }
  /** I want the command of this number. */
  | { kind: "claim"; tab: string; number: number }
  /** `to` carries it out, and nobody else. */
  | { kind: "order"; tab: string; to: string; number: number; order: Order }
  /** I led, and have stopped. */
  | { kind: "end"; tab: string }
  /** The storage was erased. */
  | { kind: "destroyed"; tab: string };

/** What a refusal says. */
export function errorOf({ code, message = "" }: Refusal): OmegaError | undefined {
  return code === undefined ? undefined : new OmegaError(code, message);
}

/** The way to the other tabs. */
export interface Channel {
  post(message: Message): void;
  close(): void;
}

/** Raised when messages change: tabs of different versions don't hear each other. */
const VERSION = 4;

/** Opens the way to the tabs that use the same name; nothing where there is none. */
export function openChannel(name: string, hear: (message: Message) => void): Channel | undefined {
  const full = `omega-sync-tabs-${VERSION}:${name}`;
  try {
    const Constructor = typeof BroadcastChannel === "function" ? BroadcastChannel : undefined;
    if (Constructor === undefined) return storageEvents(full, hear);
    return broadcast(new Constructor(full), hear);
  } catch {
    // Pages without an origin of their own may have neither.
    return undefined;
  }
}

/** Tells the tabs of this life that it was erased, where there is no way to them yet, or any more. */
export function tellErased(life: string | undefined): void {
  if (life === undefined) return;
  const channel = openChannel(life, () => undefined);
  channel?.post({ kind: "destroyed", tab: "" });
  channel?.close();
}

function broadcast(channel: BroadcastChannel, hear: (message: Message) => void): Channel {
  channel.onmessage = (event: MessageEvent<Message>) => hear(event.data);
  return {
    post: (message) => channel.postMessage(message),
    close: () => channel.close(),
  };
}

/** The event comes to all pages of the origin but the one that wrote. */
function storageEvents(name: string, hear: (message: Message) => void): Channel {
  const store = localStorage;
  const listener = (event: StorageEvent) => {
    if (event.key === name && event.newValue !== null) hear(JSON.parse(event.newValue));
  };
  addEventListener("storage", listener);
  return {
    post: (message) => {
      try {
        store.setItem(name, JSON.stringify(message));
        store.removeItem(name);
      } catch {
        // It is full: nobody hears this one.
      }
    },
    close: () => removeEventListener("storage", listener),
  };
}
