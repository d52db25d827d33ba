/**
 * `open({ deltaSync })`: how to catch up after a time away, one switch. An earlier sync service had two
 * settings beside it, for when it compressed: they are accepted, so that an app can pass on what it has,
 * and have no effect.
 */

import { OmegaError } from "./errors.js";

/** How to catch up after a time away; the other two have no effect. */
export interface DeltaSyncOptions {
  /**
   * true (default): who returns gets what changed meanwhile. false: the whole household at each
   * connection, which costs more bytes and gives the same; for comparing, or when in doubt. What
   * happens while connected travels as updates in any case. The server's `DELTA_SYNC_ENABLED` says
   * the same for all its devices.
   */
  enabled?: boolean;
  /**
   * No effect: nothing is compressed, because our encoding leaves compression nothing to find (measured:
   * it adds 5 bytes to each body), and `metrics()` says so. true (default) or false.
   */
  compression?: boolean;
  /**
   * No effect, for the same reason: from how many operations on something was compressed. A whole number,
   * 1 or more, 3 when left out. It never holds a write back.
   */
  minBatchSize?: number;
}

/** The same with the defaults. Throws `invalid_option` for what is of the wrong kind. */
export function checkDeltaSync(options?: DeltaSyncOptions): Required<DeltaSyncOptions> {
  const { enabled = true, compression = true, minBatchSize = 3 } = options ?? {};
  for (const [name, value] of Object.entries({ enabled, compression })) {
    if (typeof value !== "boolean") throw invalid(name, "true or false", value);
  }
  if (!Number.isInteger(minBatchSize) || minBatchSize < 1) {
    throw invalid("minBatchSize", "a whole number, 1 or more", minBatchSize);
  }
  return { enabled, compression, minBatchSize };
}

function invalid(name: string, wanted: string, value: unknown): OmegaError {
  const message = `deltaSync.${name} must be ${wanted}, not ${String(value)}`;
  return new OmegaError("invalid_option", message);
}
