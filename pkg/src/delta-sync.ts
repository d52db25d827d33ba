/**
 * Settings by the names of the service that this package replaces, and what is left of them.
 */

import { OmegaError } from "./errors.js";

/** How to catch up after a time away, and what may be done to what is sent. */
export interface DeltaSyncOptions {
  /**
   * true (default): who returns gets what changed meanwhile. false: the whole household at each
   * connection, which costs more bytes and gives the same; for comparing, or when in doubt. What
   * happens while connected travels as updates in any case. The server's `DELTA_SYNC_ENABLED` says
   * the same for all its devices.
   */
  enabled?: boolean;
  /**
   * Whether what is sent may be compressed where that makes it smaller: true (default) or false. Our
   * encoding leaves compression nothing to find (measured: it adds 5 bytes to each body), so nothing
   * is compressed, this changes nothing, and `metrics()` says so.
   */
  compression?: boolean;
  /**
   * From how many operations on what is sent may be compressed: a whole number, 1 or more, 3 when
   * left out. It changes nothing, because nothing is compressed; it never holds a write back.
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
