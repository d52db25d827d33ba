/**
 * Omega Sync: the watchlist, playback progress and devices of a household, the same on every TV.
 *
 * {@link open} loads this device's copy, which can be read and written at once and without any
 * network; the rest happens behind it. Every write returns a promise that resolves when the write
 * is durable on this device. {@link Client.flushed} tells when the server has everything.
 *
 * @packageDocumentation
 */

import type { Client, OpenOptions } from "./api.js";
import { type EngineSource, type Entropy, startEngine } from "./engine.js";
import { storageFor } from "./indexeddb.js";
import { joinTab } from "./join.js";
import { settingsOf } from "./settings.js";
import { platformWebSocket } from "./socket.js";
import { SyncClient } from "./sync-client.js";

export type {
  Addresses,
  Change,
  Client,
  ClientEvents,
  ExportedData,
  OpenOptions,
  OpenSettings,
  PollOptions,
  Rejected,
  RejectedKind,
  Status,
} from "./api.js";
export type {
  Command,
  CommandListener,
  CommandReply,
  CommandStatus,
  HandoffResult,
  Presence,
  ReceivedCommand,
} from "./commands.js";
export type { DeltaSyncOptions } from "./delta-sync.js";
export type {
  AudioCodec,
  Capabilities,
  Device,
  DeviceDescription,
  Devices,
  DeviceType,
  HandoffRequest,
  HdrFormat,
  Resolution,
  VideoCodec,
} from "./devices.js";
export type { ReplayReport, SyncState, WasmSource } from "./engine.js";
export { type ErrorCode, OmegaError } from "./errors.js";
export type {
  PlayState,
  Profile,
  Profiles,
  Progress,
  ProgressMap,
  ProgressUpdate,
  Watchlist,
  WatchlistItem,
} from "./household.js";
export type { Metrics } from "./metrics.js";
export type { CloseReason, RejectedReason, StopReason } from "./reasons.js";
export type { WebSocketConstructor, WebSocketLike } from "./socket.js";
export { type AsideEntry, MemoryStorage, type Storage, type StorageChange } from "./storage.js";
export { wipe } from "./wipe.js";

/**
 * Opens this device's copy. Resolves when it can be read and written, before any network.
 *
 * Rejects with an {@link OmegaError}: `storage_newer`, `invalid_device`, `invalid_profile`,
 * `invalid_household`, `invalid_url`, `household_mismatch`, `invalid_option`, `websocket_missing` or
 * `wasm_failed`. Not for want of room, nor where there is no storage: an `error` event says so then,
 * `storage_full` while nothing can be stored, or once `storage_memory`.
 */
export function open(options: OpenOptions): Promise<Client> {
  return openWith(options, () => import("./wasm-url.js").then((module) => module.wasmUrl));
}

/**
 * {@link open} with another place that the engine comes from by default, and another source of chance;
 * resolves and rejects as that.
 */
export async function openWith(
  options: OpenOptions,
  defaultEngine: () => EngineSource,
  entropy?: Entropy,
): Promise<Client> {
  const settings = settingsOf(options);
  const WebSocket = options.WebSocket ?? platformWebSocket(options.poll === undefined);
  const engine = () => startEngine(() => options.wasm ?? defaultEngine(), entropy);
  const { storage, warning } = await storageBeside(engine, options);
  const client = new SyncClient(options);
  if (warning !== undefined) client.report(warning);
  const platform = { WebSocket, token: options.token };
  await client.join((events) => joinTab(settings, storage, platform, events));
  client.start();
  return client;
}

/** Opens the storage while the engine compiles, which takes the oldest engines a third of a second. */
async function storageBeside(
  startEngine: () => Promise<void>,
  options: OpenOptions,
): ReturnType<typeof storageFor> {
  const opening = storageFor(options);
  try {
    const [opened] = await Promise.all([opening, startEngine()]);
    return opened;
  } catch (thrown) {
    opening.then(({ storage }) => storage.close()).catch(() => undefined);
    throw thrown;
  }
}
