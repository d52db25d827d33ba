/** Stable names of what the server decides. A test compares them with the engine's own lists. */

import type { ErrorCode } from "./errors.js";

/** Why the server refused a write for good. */
export type RejectedReason =
  /** The profile was deleted; deletion is final. */
  | "profile_deleted"
  /** The profile was never created. */
  | "profile_unknown"
  /** A limit of the household is reached. */
  | "household_full"
  /** The default profile can't be deleted. */
  | "default_profile"
  /** The token does not allow writing. */
  | "forbidden";

/**
 * Why the server ended a connection. After the last four, from `version_unsupported` on, the client stops;
 * after any other it comes back.
 */
export type CloseReason =
  /** The server stops or starts anew. */
  | "restart"
  /** The client reads too slowly; it catches up from its cursor. */
  | "slow"
  /** A frame was lost or repeated. */
  | "resync"
  /** A stamp is too far ahead; the next handshake measures the clock. */
  | "drift"
  /** The server can't store at the moment. */
  | "storage_unavailable"
  /** Nothing was heard for too long. */
  | "idle"
  /** A newer connection of this replica took over. */
  | "replaced"
  /** A limit of the server is reached. */
  | "overloaded"
  /** A frame that can't be read. It may be a broken proxy, so the client comes back, more and more slowly. */
  | "malformed"
  /** The device or its household sends more than its quota. */
  | "rate_limited"
  /** The token is missing, wrong or expired: fetch another. */
  | "unauthorized"
  /** The storage is a copy or was rolled back: the replica takes a new id. */
  | "stale_session"
  /** This server does not speak that protocol version. */
  | "version_unsupported"
  /** The token is for another household than the storage. */
  | "household_mismatch"
  /** A frame above the limit, or a delta above its own. */
  | "too_large"
  /** The household was erased: the device forgets its copy. */
  | "erased";

/** Why a client is not connected: by the server, by something on this device, or neither. */
export type StopReason = CloseReason | ErrorCode | "";
