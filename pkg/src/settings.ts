/** What `open` is told, checked, as plain values that can be passed on to a Worker. */

import type { OpenOptions, PollOptions } from "./api.js";
import { checkDeltaSync } from "./delta-sync.js";
import { OmegaError, textOf } from "./errors.js";
import { socketUrl } from "./socket.js";
import { FIRST_URL_RETRY_MS, SOCKET_RETRY_MS, TOKEN_TIMEOUT_MS } from "./transport.js";

/** Checked settings. */
export interface Settings {
  urls: string[];
  /** As the app named it, or empty. */
  household: string;
  /** Whether to catch up by differences. */
  differences: boolean;
  /** How often to ask, for apps without a socket. */
  poll: Required<PollOptions> | undefined;
  /** Whether there are to be requests only. */
  requestsOnly: boolean;
  socketRetryMs: number;
  firstUrlRetryMs: number;
  tokenTimeoutMs: number;
}

/** A profile's id; the default one's is empty. */
const PROFILE = /^[\da-f]{16}$/i;

/** Throws `invalid_url`, `invalid_device`, `invalid_profile`, `invalid_household` or `invalid_option`. */
export function settingsOf(options: OpenOptions): Settings {
  const { device, household = "", profile = "", token } = options;
  textOf(device, "invalid_device");
  textOf(household, "invalid_household");
  if (profile !== "" && !PROFILE.test(profile)) {
    throw new OmegaError("invalid_profile", "`profile` is no id of a profile");
  }
  if (typeof token !== "function") {
    throw new OmegaError("invalid_option", "`token` must be a function");
  }
  const urls = options.urls ?? [options.url ?? ""];
  if (urls.length === 0) throw new OmegaError("invalid_url", "`urls` has no address");
  for (const url of urls) socketUrl(url);
  const poll = checkPoll(options.poll);
  return {
    urls,
    household,
    differences: checkDeltaSync(options.deltaSync).enabled,
    poll,
    requestsOnly: poll !== undefined,
    socketRetryMs: SOCKET_RETRY_MS,
    firstUrlRetryMs: FIRST_URL_RETRY_MS,
    tokenTimeoutMs: TOKEN_TIMEOUT_MS,
    ...options.testing,
  };
}

/** The same with the default. Throws `invalid_option` for what is no time. */
function checkPoll(options: PollOptions | undefined): Required<PollOptions> | undefined {
  if (options === undefined) return undefined;
  const { everySeconds, afterWriteSeconds = everySeconds } = options;
  if (!(everySeconds >= 1) || !(afterWriteSeconds >= 0)) {
    throw new OmegaError("invalid_option", "poll.everySeconds must be 1 or more, seconds");
  }
  return { everySeconds, afterWriteSeconds };
}

/** For a copy that belongs to somebody else. */
export function householdMismatch(): OmegaError {
  const message = "this device's copy is of another household: erase it first, with `wipe`";
  return new OmegaError("household_mismatch", message);
}
