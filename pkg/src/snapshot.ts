/**
 * What a screen shows of a client, as an object that stays the same while nothing in it changes.
 *
 * Reads of a client make new objects each time; a framework that compares identities would draw anew at
 * each event. A snapshot reads when it was told of a change, and keeps what it had wherever that is equal.
 */

/** One read of a client, and what it gave last. */
export class Snapshot<T> {
  private isFresh = false;
  private readonly empty: T;

  /**
   * @param read what to show
   * @param value what to show once the client is logged out
   * @param told calls its argument whenever `read` may give something else, until what it returns is called
   */
  constructor(
    private readonly read: () => T,
    private value: T,
    private readonly told: (tell: () => void) => (() => void)[],
  ) {
    this.empty = value;
  }

  /** Calls `changed` whenever there may be something else to show, until the returned function is called. */
  readonly subscribe = (changed: () => void): (() => void) => {
    const stops = this.told(() => {
      this.isFresh = false;
      changed();
    });
    // What happened since the last read was told to nobody.
    this.isFresh = false;
    return () => {
      for (const stop of stops) stop();
    };
  };

  /** What to show now. */
  readonly get = (): T => {
    if (this.isFresh) return this.value;
    this.value = shared(this.value, this.readNow());
    this.isFresh = true;
    return this.value;
  };

  /** A client that was closed shows what it did; of one that was erased nothing is left to see. */
  private readNow(): T {
    try {
      return this.read();
    } catch (thrown) {
      const code = thrown instanceof Error && "code" in thrown ? thrown.code : "";
      if (code === "closed") return this.value;
      if (code === "destroyed") return this.empty;
      throw thrown;
    }
  }
}

/** The later of two plain values, with all those parts of the earlier one that are equal. */
export function shared<T>(earlier: T, later: T): T;
export function shared(earlier: unknown, later: unknown): unknown {
  if (Object.is(earlier, later) || !isObject(earlier) || !isObject(later)) return later;
  if (Array.isArray(earlier) && Array.isArray(later)) return sharedList(earlier, later);
  const names = Object.keys(later);
  const parts = names.map((name) => shared(earlier[name], later[name]));
  const same = names.length === Object.keys(earlier).length;
  if (same && names.every((name, at) => Object.is(earlier[name], parts[at]))) return earlier;
  const made: Record<string, unknown> = {};
  for (const [at, name] of names.entries()) made[name] = parts[at];
  return made;
}

/** Entries that have an id are compared with those of the same id, the others with those of their place. */
function sharedList(earlier: unknown[], later: unknown[]): unknown[] {
  const known = new Map(earlier.map((entry, at) => [idOf(entry, at), entry]));
  const made = later.map((entry, at) => shared(known.get(idOf(entry, at)), entry));
  const same = made.length === earlier.length;
  return same && made.every((entry, at) => Object.is(entry, earlier[at])) ? earlier : made;
}

function idOf(entry: unknown, at: number): unknown {
  return isObject(entry) ? (entry.content ?? entry.device ?? entry.id ?? at) : at;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
