/**
 * What an app can ask of its copy: reads at once and writes, both by name.
 *
 * Either is the name of one of the engine's calls and plain values: so one tab can ask another to make a
 * write, which can be made again after the tab that was asked has died; and what is read need not come
 * from an engine, see `worker/view.ts`.
 */

import type { SyncState } from "./engine.js";
import { type Told, textOf } from "./errors.js";
import type { StopReason } from "./reasons.js";
import type { Storage } from "./storage.js";

/** Each write of the engine with its arguments, without the two clocks that end them all. */
export interface Writes {
  /** Puts a title on a watchlist. */
  watchlistAdd: [profile: string, content: string];
  /** Takes a title off a watchlist. */
  watchlistRemove: [profile: string, content: string];
  /** Notes how far a title was watched, in seconds; `state`: 0 playing, 1 paused, 2 stopped, 3 finished. */
  progressSet: [
    profile: string,
    content: string,
    position: number,
    duration: number,
    state: number,
  ];
  /** Takes a title off "continue watching". */
  progressRemove: [profile: string, content: string];
  /** Creates a profile, under an id that was read as `newProfileId`, or gives it another name. */
  profileName: [profile: string, name: string];
  /** Deletes a profile and everything on its shelf, for good. */
  profileDelete: [profile: string];
  /**
   * Notes what a device says of itself. `kind`: 0 TV, 1 phone, 2 tablet, 3 computer, 4 other;
   * `capabilities`: the bits that `docs/protocol.md` lists under "Record"; `keepsName`: 1 to keep the name
   * that it has instead, also when that is not known here yet.
   */
  deviceDescribe: [
    device: string,
    name: string,
    kind: number,
    platform: string,
    appVersion: string,
    capabilities: number,
    keepsName: number,
  ];
  /** Takes a device off the list. */
  deviceRemove: [device: string];
  /**
   * Asks something of another device; the outcome comes with the ticket. `kind`: the number of the
   * command, 9 for a handoff; `number`: a position in seconds or a level, negative for none; `text`: a
   * title or device.
   */
  deviceAsk: [
    ticket: number,
    target: string,
    kind: number,
    profile: string,
    number: number,
    text: string,
  ];
  /** Answers a command that came, by the halves of its id: 0 done, 1 not supported, 2 invalid. */
  deviceReply: [high: number, low: number, reply: number];
  /** Wants to be told which devices are here. */
  deviceWatch: [];
  /** Forgets the rejected operations, after the app has read so many; none when there are more by now. */
  rejectedTaken: [count: number];
}

/** The name of a write. */
export type WriteName = keyof Writes;

/** Writes of which nothing is stored: they end with the engine that makes them. */
export const FLEETING: ReadonlySet<WriteName> = new Set([
  ...(["deviceAsk", "deviceReply", "deviceWatch"] as const),
]);

/** Every write, in the order of the engine's numbers for them (`wasm/src/call.rs`). */
export const WRITES: readonly WriteName[] = [
  "watchlistAdd",
  "watchlistRemove",
  "progressSet",
  "progressRemove",
  "profileName",
  "profileDelete",
  "deviceDescribe",
  "deviceRemove",
  "deviceAsk",
  "deviceReply",
  "deviceWatch",
  "rejectedTaken",
];

/** What the driver tells a replica, with its values; the numbers go on after those of the writes. */
export const INPUTS = [
  /** What is to be done first after loading? */
  "firstOutputs",
  /** Whether to catch up by what changed, 1 unless told otherwise, or by the whole state, 0. */
  "catchUp",
  /** How long to rest between two requests, and after a write, in milliseconds. */
  "rest",
  /** The app is up, the network is back, or the TV woke. */
  "online",
  /** The network is gone, or the viewer wants to be offline. */
  "offline",
  /** The socket is open, and this is the token. */
  "opened",
  /** A frame arrived. */
  "frame",
  /** The socket closed with this code, did not open, or there was no token. */
  "closed",
  /** There is no socket, but a token: a request instead. */
  "asked",
  /** The answer to the request with this number. */
  "answered",
  /** The page goes to the background; the token, or nothing. */
  "hiding",
  /** The time of the last wake has come. */
  "wake",
] as const;

/** The name of what the driver tells. */
export type InputName = (typeof INPUTS)[number];

/** What the texts of a call are, by their places; a profile and a title where nothing is said. */
const TEXTS: { [Name in WriteName | ReadName]?: string } = {
  profileName: "pn",
  deviceDescribe: "dd-dd",
  deviceRemove: "d",
  deviceAsk: "-d-p-t",
  deviceReply: "-",
  rejectedTaken: "-",
};
/** What is said when something else is in the place of such a text. */
const NO_TEXT: Record<string, Told> = {
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

/** The engine's number of the first read. */
export const READS_FROM = 32;

/**
 * What can be read, in the order of the engine's numbers for it, and the cells of a row: `t` is a text, `n`
 * a number.
 */
export const READS = {
  /** Id and name of each, the default one first. */
  profiles: "tt",
  /** Title and time added (Unix milliseconds) of each, last added first. */
  watchlist: "tn",
  /** Whether a title is on a watchlist: 1 or 0. */
  has: "n",
  /** Position, duration, state, percent, resume position and time; in the next one after the title. */
  progress: "nnnnnn",
  progressAll: "tnnnnnn",
  /** Id, name, kind, platform, version of the app and capabilities of each, in the order of their ids. */
  devices: "ttnttn",
  /** Kind, profile, title or name, and reason of each operation that the server refused. */
  rejected: "tttt",
  /**
   * Number of rejected operations, server's clock minus this device's in milliseconds, the replica's id,
   * the household (empty when not known yet), and why the server closed the last connection (empty when
   * it did not).
   */
  about: "nnttt",
  /**
   * Counts since loading: operations, coalesced, sent, retried, acknowledged, rejected, bytes of plain
   * records, bytes of frames, and what these saved in percent.
   */
  metrics: "nnnnnnnnn",
  newProfileId: "t",
  /** How many writes wait for the server, and the number of the state of the connection. */
  standing: "nn",
} as const;

/** The name of a read: what the engine tells, or a part of all progress. */
export type ReadName = keyof typeof READS | "inProgress" | "completed";
/** One row of an answer. */
export type Cells = (string | number)[];

/** Where the percent are in a row of all progress. */
const PERCENT_CELL = 4;
/** From this share of the duration on, a title counts as watched to the end. */
const COMPLETED_PERCENT_MIN = 95;

/** The rows of all progress that belong to a part of it. */
export function partOf(part: "inProgress" | "completed", all: Cells[]): Cells[] {
  const isPart = (cells: Cells) =>
    Number(cells[PERCENT_CELL]) >= COMPLETED_PERCENT_MIN === (part === "completed");
  return all.filter(isPart);
}

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
  closeReason(): StopReason | undefined;
  pause(): void;
  resume(): void;
  flushed(): Promise<void>;
  syncNow(): Promise<void>;
  close(): Promise<void>;
  destroy(): Promise<void>;
}
