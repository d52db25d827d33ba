/**
 * The household as an app sees it: watchlist, progress and profiles over the engine's flat arrays.
 */

import type { Cells, Copy } from "./calls.js";
import { type ErrorCode, fieldsOf, OmegaError } from "./errors.js";

/** What playback is doing. */
export type PlayState = "playing" | "paused" | "stopped" | "finished";

/** The engine's numbers for the states are their places in this list. */
const PLAY_STATES: readonly PlayState[] = ["playing", "paused", "stopped", "finished"];

/** A title on the watchlist. */
export interface WatchlistItem {
  /** The title's content id. */
  content: string;
  /** When it was added, in Unix milliseconds. */
  addedMs: number;
}

/** How far a title was watched. */
export interface Progress {
  /** The title's content id. */
  content: string;
  /** Where playback was, in whole seconds from the start. */
  positionSeconds: number;
  /** In whole seconds; 0 when not known. */
  durationSeconds: number;
  /** What playback was doing when it was last written. */
  state: PlayState;
  /** When it was last written, in Unix milliseconds. */
  updatedMs: number;
  /** How much was watched, 0 to 100; 100 once finished, 0 while the duration is not known. */
  percent: number;
  /** Where to go on, in whole seconds: the position, or 0 once the title counts as watched. */
  resumeSeconds: number;
}

/** What the player reports. */
export interface ProgressUpdate {
  /** Where playback is, in seconds from the start, 0 to 4,294,967,295; a fraction is cut off. */
  positionSeconds: number;
  /** Of the title, in seconds as above; 0 while it is not known, which `NaN` is not. */
  durationSeconds: number;
  /** What playback is doing; `playing` when left out. */
  state?: PlayState | undefined;
}

/** A profile of the household; the default one has the empty id. */
export interface Profile {
  /** 16 hexadecimal digits; empty for the default profile. */
  id: string;
  /** What people call it, at most 64 bytes; the default profile may have none. */
  name: string;
}

/**
 * The watchlist of one profile. Writes resolve when they are durable on this device. They reject with
 * `invalid_content_id`, `invalid_profile`, `unknown_profile` or `outbox_full`, and nothing is changed;
 * with `storage_full` or `storage_failed`, and are tried again; with `closed` or what stopped the client.
 * Reads throw `invalid_content_id`, `invalid_profile` or `closed`.
 */
export class Watchlist {
  constructor(
    private readonly copy: Copy,
    private readonly profile: string,
  ) {}

  /** Adds a title. */
  add(content: string): Promise<void> {
    return this.copy.write("watchlistAdd", this.profile, content);
  }

  /** Removes a title; no error when it is not there. */
  remove(content: string): Promise<void> {
    return this.copy.write("watchlistRemove", this.profile, content);
  }

  /** Whether a title is on the list. */
  has(content: string): boolean {
    return this.copy.rows("has", this.profile, content)[0]?.[0] === 1;
  }

  /** Every title, the last added first. */
  items(): WatchlistItem[] {
    return this.copy.rows("watchlist", this.profile).map((cells) => ({
      content: String(cells[0]),
      addedMs: Number(cells[1]),
    }));
  }
}

/**
 * The playback progress of one profile. Writes resolve and reject, and reads throw, as those of
 * {@link Watchlist}.
 */
export class ProgressMap {
  constructor(
    private readonly copy: Copy,
    private readonly profile: string,
  ) {}

  /**
   * Writes a position; call it every few seconds while playing and at each change of state. Rejects with
   * `invalid_progress`, too.
   */
  async set(content: string, update: ProgressUpdate): Promise<void> {
    const fields = fieldsOf(update, "invalid_progress");
    const position = wholeSeconds(fields.positionSeconds, "invalid_progress");
    const duration = wholeSeconds(fields.durationSeconds, "invalid_progress");
    const state = PLAY_STATES.indexOf(fields.state ?? "playing");
    return this.copy.write("progressSet", this.profile, content, position, duration, state);
  }

  /** Takes a title out of both lists, on every device. */
  remove(content: string): Promise<void> {
    return this.copy.write("progressRemove", this.profile, content);
  }

  /** How far a title was watched, if it was. */
  get(content: string): Progress | undefined {
    const [cells] = this.copy.rows("progress", this.profile, content);
    return cells === undefined ? undefined : progressOf([content, ...cells]);
  }

  /** Where playback should start: the last position, or 0 for a new or a completed title. */
  resume(content: string): number {
    return this.get(content)?.resumeSeconds ?? 0;
  }

  /** Started and not completed, the last watched first. */
  inProgress(): Progress[] {
    return this.part("inProgress");
  }

  /** Watched to the end, the last watched first. */
  completed(): Progress[] {
    return this.part("completed");
  }

  private part(name: "inProgress" | "completed"): Progress[] {
    return this.copy.rows(name, this.profile).map(progressOf);
  }
}

/**
 * The profiles of the household. Writes resolve when they are durable on this device. They reject with
 * `invalid_profile`, `unknown_profile`, `invalid_profile_name`, `default_profile` or `outbox_full`, and
 * nothing is changed; for the rest as those of {@link Watchlist}.
 */
export class Profiles {
  constructor(private readonly copy: Copy) {}

  /** Every profile, the default one first. */
  list(): Profile[] {
    return this.copy.rows("profiles").map(([id, name]) => ({ id: String(id), name: String(name) }));
  }

  /** Makes a profile; resolves to its new id. */
  async create(name: string): Promise<string> {
    const id = String(this.copy.rows("newProfileId")[0]?.[0]);
    await this.copy.write("profileName", id, name);
    return id;
  }

  /** Gives a profile another name. */
  rename(id: string, name: string): Promise<void> {
    return this.copy.write("profileName", id, name);
  }

  /** Deletes a profile with its lists, for good. */
  delete(id: string): Promise<void> {
    return this.copy.write("profileDelete", id);
  }
}

/** By place: to take a row apart in a pattern costs old engines as much as all the rest. */
function progressOf(cells: Cells): Progress {
  return {
    content: String(cells[0]),
    positionSeconds: Number(cells[1]),
    durationSeconds: Number(cells[2]),
    state: PLAY_STATES[Number(cells[3])] ?? "stopped",
    percent: Number(cells[4]),
    resumeSeconds: Number(cells[5]),
    updatedMs: Number(cells[6]),
  };
}

/** Players report fractions; the border would silently wrap what is negative or no number. */
export function wholeSeconds(value: number, code: ErrorCode): number {
  // What is no number may count as 0: the `null` that JSON makes of NaN would be a new position.
  const seconds = typeof value === "number" ? Math.floor(value) : Number.NaN;
  if (seconds >= 0 && seconds <= SECONDS_MAX) return seconds;
  const message = `${String(value)} is no position or duration: use seconds, 0 to ${SECONDS_MAX}`;
  throw new OmegaError(code, message);
}

const SECONDS_MAX = 4_294_967_295;
