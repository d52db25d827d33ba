/** What `open` is told, checked, as plain values that can be passed on to a Worker. */

import type { OpenOptions, PollOptions } from "./api.js";
import { checkDeltaSync } from "./delta-sync.js";
import { failure, OmegaError, textOf } from "./errors.js";
import { socketUrl } from "./socket.js";
import { FIRST_URL_RETRY_MS, SOCKET_RETRY_MS, TOKEN_TIMEOUT_MS } from "./transport.js";

/** Checked settings. */
export interface Settings {
  urls: string[];
  device: string;
  /** As the app named it, or empty. */
  household: string;
  /** Whether to catch up by differences. */
  differences: boolean;
  /** How often to ask, for apps without a socket. */
  poll: Record<keyof PollOptions, number> | undefined;
  /** Whether there are to be requests only. */
  requestsOnly: boolean;
  socketRetryMs: number;
  firstUrlRetryMs: number;
  tokenTimeoutMs: number;
}

/** What can name a device or a title has no control characters … */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const ID = /^[^\0-\x1f\x7f-\x9f]+$/;
/** … and so many bytes of UTF-8 at most. */
const ID_BYTES_MAX = 64;
/** Of one unit of a text. */
const UTF8_BYTES_MAX = 3;
/** A profile's id; the default one's is empty. */
const PROFILE = /^(?!0+$)[\da-f]{16}$/i;

/** Throws `invalid_url`, `invalid_device`, `invalid_profile`, `invalid_household` or `invalid_option`. */
export function settingsOf(options: OpenOptions): Settings {
  // An app without types may have passed nothing at all.
  const { device, household = "", profile = "", token, ...rest } = options ?? {};
  checkId(textOf(device, "invalid_device"), "invalid_device");
  textOf(household, "invalid_household");
  checkProfile(profile);
  if (typeof token !== "function") throw invalid("`token` must be a function");
  checkStorage(rest);
  const urls = rest.urls ?? [rest.url ?? ""];
  if (!Array.isArray(urls) || urls.length === 0) {
    throw new OmegaError("invalid_url", "`urls` must be a list of addresses");
  }
  for (const url of urls) socketUrl(url);
  const { WebSocket } = rest;
  if (WebSocket !== undefined && typeof WebSocket !== "function") {
    throw invalid("`WebSocket` must be a class: of the npm package ws, { WebSocket }");
  }
  const poll = checkPoll(rest.poll);
  return {
    urls: urls.slice(),
    device,
    household,
    differences: checkDeltaSync(rest.deltaSync).enabled,
    poll,
    requestsOnly: poll !== undefined,
    socketRetryMs: SOCKET_RETRY_MS,
    firstUrlRetryMs: FIRST_URL_RETRY_MS,
    tokenTimeoutMs: TOKEN_TIMEOUT_MS,
    ...rest.testing,
  };
}

/** The same with the default. Throws `invalid_option` for what is no time. */
function checkPoll(options: PollOptions | undefined): Settings["poll"] {
  if (options === undefined) return undefined;
  const { everySeconds = 0, afterWriteSeconds = everySeconds } = options ?? {};
  if (!isFrom(1, everySeconds)) throw invalid("poll.everySeconds must be 1 or more, seconds");
  if (!isFrom(0, afterWriteSeconds)) {
    throw invalid("poll.afterWriteSeconds must be 0 or more, seconds");
  }
  return { everySeconds, afterWriteSeconds };
}

/** Whether it is a number, and so large at least. */
function isFrom(least: number, value: unknown): boolean {
  return typeof value === "number" && value >= least;
}

/** Throws unless the engine would take it as the id of a device or a title. */
export function checkId(id: string, code: "invalid_device" | "invalid_content_id"): void {
  // What is short needs no encoder, which a first screen would make.
  const isLong = id.length * UTF8_BYTES_MAX > ID_BYTES_MAX;
  if (!ID.test(id) || (isLong && new TextEncoder().encode(id).length > ID_BYTES_MAX)) {
    throw failure(code);
  }
}

/** Throws `invalid_profile` unless the engine would take it as a profile's id. */
export function checkProfile(id: string): void {
  if (id !== "" && !PROFILE.test(id)) throw failure("invalid_profile");
}

function checkStorage({ storage = "indexeddb", name }: Partial<OpenOptions>): void {
  const isOwn = typeof storage === "object" && typeof storage?.load === "function";
  if (storage !== "indexeddb" && storage !== "memory" && !isOwn) {
    throw invalid('`storage` must be "indexeddb", "memory" or a storage of your own');
  }
  if (name !== undefined && (typeof name !== "string" || name === "")) {
    throw invalid("`name` must be a text, not empty");
  }
}

function invalid(message: string): OmegaError {
  return new OmegaError("invalid_option", message);
}

/** For a copy that belongs to somebody else. */
export function householdMismatch(): OmegaError {
  const message = "this device's copy is of another household: erase it first, with `wipe`";
  return new OmegaError("household_mismatch", message);
}
