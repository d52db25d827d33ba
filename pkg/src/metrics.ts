/**
 * What a client counts: its writes, the bytes they took, and how a reconnect went.
 */

import type { Cells } from "./calls.js";
import type { ReplayReport } from "./engine.js";

/** Counts since {@link open} returned; `operations` are writes that changed something. */
export interface Metrics {
  /** Writes of the app. */
  operations: number;
  /** Of these, superseded by a later one before they were sent. */
  coalesced: number;
  /** Operations sent; one that is sent twice counts twice. */
  sent: number;
  /** Of these, sent again because an earlier connection ended before their answer came. */
  retried: number;
  /** Operations that the server answered, refused ones included. */
  acknowledged: number;
  /** Operations that the server refused for good. */
  rejected: number;
  /**
   * What the sent operations would take as plain records: fields of a fixed width (kind 1 byte, time
   * 8, profile 8, position and duration 4 each, state 1, 16 for each add that a removal names) and
   * texts with a byte of length. JSON would take two to four times as much. Without any framing.
   */
  bytesBefore: number;
  /** What they took in our frames, frame heads included, without the WebSocket's own framing. */
  bytesAfterDelta: number;
  /**
   * The same after compression. No body is compressed, because none of ours gets smaller by it: so
   * this equals {@link Metrics.bytesAfterDelta}, and compression has saved nothing.
   */
  bytesAfterCompression: number;
  /** From `bytesBefore` to `bytesAfterCompression`, in whole percent; negative when it grew. */
  savedPercent: number;
  /** How the last reconnect went; nothing before the first one has ended. */
  replay: ReplayReport | undefined;
}

/** The engine's counts, as it gives them, beside the report of the last reconnect. */
export function metricsOf([cells = []]: Cells[], replay: ReplayReport | undefined): Metrics {
  const [operations = 0, coalesced = 0, sent = 0, retried = 0, ...rest] = cells.map(Number);
  const [acknowledged = 0, rejected = 0, bytesBefore = 0, bytes = 0, savedPercent = 0] = rest;
  return {
    ...{ operations, coalesced, sent, retried, acknowledged, rejected },
    ...{ bytesBefore, bytesAfterDelta: bytes, bytesAfterCompression: bytes, savedPercent, replay },
  };
}
