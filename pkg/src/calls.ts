/**
 * What an app can ask of its copy: reads at once and writes, both by name.
 *
 * Either is the name of one of the engine's calls and plain values: so one tab can ask another to make a
 * write, which can be made again after the tab that was asked has died; and what is read need not come
 * from an engine, see `view.ts`.
 */

import type { Replica, SyncState } from "./engine.js";
import { type ErrorCode, textOf } from "./errors.js";
import type { Storage } from "./storage.js";

/** Each write of the engine with its arguments, without the two clocks that end them all. */
export interface Writes {
  watchlistAdd: [profile: string, content: string];
  watchlistRemove: [profile: string, content: string];
  progressSet: [
    profile: string,
    content: string,
    position: number,
    duration: number,
    state: number,
  ];
  progressRemove: [profile: string, content: string];
  profileName: [profile: string, name: string];
  profileDelete: [profile: string];
  deviceDescribe: [
    device: string,
    name: string,
    kind: number,
    platform: string,
    appVersion: string,
    capabilities: number,
  ];
  deviceRemove: [device: string];
  deviceAsk: [
    ticket: number,
    target: string,
    kind: number,
    profile: string,
    number: number,
    text: string,
  ];
  deviceReply: [high: number, low: number, reply: number];
  deviceWatch: [];
  rejectedTaken: [];
}

/** The name of a write. */
export type WriteName = keyof Writes;

/** What the texts of a call are, by their places; a profile and a title where nothing is said. */
const TEXTS: { [Name in WriteName | ReadName]?: string } = {
  profileName: "pn",
  deviceDescribe: "dd-dd",
  deviceRemove: "d",
  deviceAsk: "-d-p-t",
  deviceReply: "-",
};
/** What is said when something else is in the place of such a text. */
const NO_TEXT: Record<string, ErrorCode> = {
  p: "invalid_profile",
  c: "invalid_content_id",
  n: "invalid_profile_name",
  d: "invalid_device",
  t: "invalid_command",
};

/** Throws when anything but a text is where one belongs. */
export function checkTexts(name: WriteName | ReadName, values: readonly unknown[]): void {
  const letters = TEXTS[name] ?? "pc";
  for (let place = 0; place < values.length; place += 1) {
    const code = NO_TEXT[letters[place] ?? ""];
    if (code !== undefined) textOf(values[place], code);
  }
}

/** What can be read, and the cells of a row of it: `t` is a text, `n` a number. */
export const READS = {
  profiles: "tt",
  watchlist: "tn",
  has: "n",
  /** Position, duration, state, percent, resume position and time; in the next one after the title. */
  progress: "nnnnnn",
  progressAll: "tnnnnnn",
  devices: "ttnttn",
  rejected: "tttt",
  about: "nnttt",
  metrics: "nnnnnnnnn",
  newProfileId: "t",
} as const;

/** The name of a read. */
export type ReadName = keyof typeof READS;
/** One row of an answer. */
export type Cells = (string | number)[];

/** How attentive a tab is to commands: it does not listen, it does but is hidden, or it is seen as well. */
export type Attention = 0 | 1 | 2;
export const UNHEARD: Attention = 0;
export const HIDDEN: Attention = 1;
export const SEEN: Attention = 2;

/** A copy of the household that can be read and written; which tab's engine does it is not said. */
export interface Copy {
  /** Reads at once; throws what the engine refuses it for. */
  rows(name: ReadName, ...values: string[]): Cells[];
  /** Makes a write; resolves when it is durable on this device. */
  write<Name extends WriteName>(name: Name, ...values: Writes[Name]): Promise<void>;
}

/** Where a copy is kept and who writes to it: the tabs of a storage, here or in a Worker. */
export interface Keeper extends Copy {
  /** Whether this page's engine is the one that stores and talks to the server. */
  readonly leads: boolean;
  /** Whether everything was erased. */
  readonly isErased: boolean;
  /** Whether the engine can still be asked. */
  readonly isReadable: boolean;
  readonly storage: Pick<Storage, "kind" | "aside">;
  /** Begins to connect, or to follow who does. */
  start(): void;
  /** Says how attentive this page is to commands, whenever that changes. */
  attend(attention: Attention): void;
  /** Writes that the server has not acknowledged. */
  pending(): number;
  state(): SyncState;
  /** Why it stopped or is kept offline, for a reason on this device. */
  closeReason(): string | undefined;
  pause(): void;
  resume(): void;
  flushed(): Promise<void>;
  syncNow(): Promise<void>;
  close(): Promise<void>;
  destroy(): Promise<void>;
}

/** Calls the engine. @returns the address of its answer */
export function callWrite(
  replica: Replica,
  name: WriteName,
  values: readonly (string | number)[],
  unix: number,
  steady: number,
): number {
  // The engine's calls take what `Writes` says, which the type of a name chosen at run time can't.
  const call = replica[name] as (...values: (string | number)[]) => number;
  return call.apply(replica, [...values, unix, steady]);
}
