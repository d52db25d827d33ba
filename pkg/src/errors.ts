/**
 * The one error class of the package. Its `code` is stable and meant for programs; its message is
 * meant for people and says what to do.
 */

/** Every code an {@link OmegaError} of this package can carry. */
export type ErrorCode =
  /** `url` is not an http(s) or ws(s) address. */
  | "invalid_url"
  /** A setting passed to `open` or `wipe`, or a listener, is of the wrong kind or out of range. */
  | "invalid_option"
  /** The WebAssembly file could not be read or compiled. */
  | "wasm_failed"
  /** No WebSocket in this environment and none was passed. */
  | "websocket_missing"
  /** A content id is empty, longer than 64 bytes or has control characters. */
  | "invalid_content_id"
  /** A profile id is neither empty nor 16 hexadecimal digits. */
  | "invalid_profile"
  /** A profile name is empty or longer than 64 bytes. */
  | "invalid_profile_name"
  /** The profile was deleted or never existed. */
  | "unknown_profile"
  /** The default profile cannot be deleted. */
  | "default_profile"
  /** A position, duration or state is out of range. */
  | "invalid_progress"
  /** A device id, or what a device says of itself, is out of range. */
  | "invalid_device"
  /** A command has a field that is out of range, or lacks one. */
  | "invalid_command"
  /** The household id passed to `open` is not one. */
  | "invalid_household"
  /** Too many changes wait for the server; nothing was changed by this call. */
  | "outbox_full"
  /** The change is visible but not stored yet: there is no room. It is retried by itself. */
  | "storage_full"
  /** The change is visible but not stored yet: the storage failed. It is retried by itself. */
  | "storage_failed"
  /** No durable storage here (private window?): this session works from memory. */
  | "storage_memory"
  /** Stored records could not be read; they were set aside and the server fills the gap. */
  | "storage_corrupt"
  /** The storage was written by a newer version of this package; it was not touched. */
  | "storage_newer"
  /** Another tab or a later `open` has this storage, and can't be talked to; this one stopped. */
  | "superseded"
  /** The data of this device was erased (logout), here or in another tab. */
  | "destroyed"
  /** What is stored belongs to another household than `open` names: erase it first, see `wipe`. */
  | "household_mismatch"
  /** What waits for the server can't reach it, or not now; `status()` says why it has stopped. */
  | "sync_failed"
  /** `token` failed, took longer than 10 seconds, or named another device; it will be asked again. */
  | "token_failed"
  /** A title's genre is not 1 to 32 bytes, or its embedding is not 384 finite numbers but all zero. */
  | "invalid_title"
  /** Nothing is known of this title: pass its genre and embedding, or tell `learnTitles` of it. */
  | "unknown_title"
  /** The tables for patterns could not be fetched; the next sync tries again. */
  | "tables_failed"
  /** The server refused patterns for good. */
  | "patterns_refused"
  /** The client is closed. */
  | "closed"
  /** The engine broke, is gone for good, or does not fit: what is stored is safe; open again. */
  | "engine_failed";

/** Thrown, or passed to `error` listeners, by everything in this package. */
export class OmegaError extends Error {
  /** Stable name of what went wrong. */
  readonly code: ErrorCode;
  /** What was caught underneath, if anything. */
  readonly cause: unknown;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message);
    this.name = "OmegaError";
    this.code = code;
    this.cause = cause;
  }
}

/** What is said in more than one place, or when the engine refuses a call: what is wrong, and what to do. */
const TEXTS = {
  invalid_content_id: "a content id must be 1 to 64 bytes of text without control characters",
  invalid_profile: "a profile id must be empty or 16 hexadecimal digits",
  invalid_profile_name: "a profile name must be 1 to 64 bytes long",
  default_profile: "the default profile can't be deleted: remove its titles instead",
  unknown_profile: "this profile does not exist: create it first, or use one from the list",
  invalid_progress: "progress needs seconds, and a state: playing, paused, stopped or finished",
  invalid_device: "a device's id must be 1 to 64 bytes, its name, platform and version at most 64",
  invalid_command: "a command needs a type, and the position, level, title or device of that type",
  invalid_household: "a household id must be 1 to 64 bytes of text without control characters",
  outbox_full: "too many changes wait for the server: connect before making more",
  invalid_title: "a title needs a genre of 1 to 32 bytes and an embedding of 384 numbers",
  unknown_title: "pass the title's genre and embedding, or tell learnTitles of it before",
  storage_failed: "this device's storage failed",
  storage_newer: "stored by a newer version of omega-sync: update the app",
  superseded: "another tab or window uses this storage now; open again to take it back",
  destroyed: "the data of this device was erased here or in another tab: open again",
  closed: "this client is closed; call open again",
} satisfies Partial<Record<ErrorCode, string>>;

/** A code with a text of its own. */
export type Told = keyof typeof TEXTS;

/** The error for what says the same wherever it happens. */
export function failure(code: Told, cause?: unknown): OmegaError {
  return new OmegaError(code, TEXTS[code], cause);
}

/** The error for a call that the engine refused. */
export function refusal(code: string): OmegaError {
  if (code in TEXTS) return failure(code as Told);
  return new OmegaError("engine_failed", `the engine refused the call: ${code}`);
}

/**
 * The text that an app without types may have passed something else for: at the engine's border a number
 * would be taken for an address. Throws `code` then.
 */
export function textOf(value: unknown, code: Told): string {
  if (typeof value === "string") return value;
  throw wrongKind(value, code);
}

/** The same for an object with fields. */
export function fieldsOf<T>(value: T, code: Told): T {
  if (typeof value === "object" && value !== null) return value;
  throw wrongKind(value, code);
}

function wrongKind(value: unknown, code: Told): OmegaError {
  return new OmegaError(code, `${TEXTS[code]}, not ${value === null ? value : typeof value}`);
}

/** A listener. Throws `invalid_option` when it is no function. */
export function listenerOf<T>(value: T): T {
  if (typeof value === "function") return value;
  throw new OmegaError("invalid_option", "a listener must be a function");
}

/** What was thrown on the way into the engine or out of it, as an {@link OmegaError}. */
export function fromEngine(thrown: unknown): OmegaError {
  if (thrown instanceof OmegaError) return thrown;
  return new OmegaError("engine_failed", String(thrown), thrown);
}

/** What a storage refused a commit with: unless it is refused for good, it is tried again. */
export function fromCommit(thrown: unknown): OmegaError {
  const error = thrown instanceof OmegaError ? thrown : failure("storage_failed", thrown);
  const { code, message, cause } = error;
  if (code !== "storage_full" && code !== "storage_failed") return error;
  return new OmegaError(code, `${message}; storing is retried by itself`, cause);
}
