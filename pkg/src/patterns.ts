/**
 * The package with learned taste: {@link open} as in `omega-sync`, and `client.taste` beside it.
 *
 * What is watched is learned on this device. What leaves it, unless the viewer takes no part, are
 * patterns: means of ten titles or more. `docs/privacy.md` says what becomes of them.
 *
 * @packageDocumentation
 */

import type { Client, ExportedData, OpenOptions } from "./api.js";
import { type EngineSource, type Entropy, rows, type SyncState } from "./engine.js";
import { fromEngine, OmegaError } from "./errors.js";
import { openWith } from "./index.js";
import { openStorage, TASTE_DATABASES } from "./indexeddb.js";
import type { Requests } from "./requests.js";
import { platformWebSocket } from "./socket.js";
import { eraseStorage, MemoryStorage, type Storage } from "./storage.js";
import { type TasteCall, TasteDriver, type TasteParts } from "./taste/driver.js";
import { callTaste, newTaste, type TasteEngine } from "./taste/engine.js";
import { Tap } from "./taste/socket.js";
import { type ExportedTaste, Taste } from "./taste/taste.js";
import { askToken, httpUrl, TOKEN_TIMEOUT_MS } from "./transport.js";

export * from "./index.js";
export * from "./taste/taste.js";

/** What the engine takes: the bounds that {@link TasteOptions} names, of `docs/protocol.md`. */
const SAMPLES_MAX = 4_294_967_295;
const FLOOR_MIN = 0.5;
const FLOOR_MAX = 0.999;
const CAP_BYTES_MIN = 1_024;
const CAP_BYTES_MAX = 65_536;
const INTERVAL_MS_MIN = 1_000;
const INTERVAL_MS_MAX = 604_800_000;

/** What may be chosen about taste. */
export interface TasteOptions {
  /** What is good enough to leave: share of successes from 0 to 1 (0.7), and number of titles (10). */
  quality?: { successRate?: number; sampleCount?: number };
  /** Least cosine between a pattern and what the server reads of it, 0.5 to 0.999 (0.98). */
  floor?: number;
  /** Bytes of patterns in one request (2,048) and of one answer (10,240); 1,024 to 65,536. */
  bytes?: { up?: number; down?: number };
  /** Time between two syncs in milliseconds, drawn anew each time (300,000 to 900,000). */
  intervalMs?: { min?: number; max?: number };
  /** Whether titles come from the server's feed, too (true). */
  feed?: boolean;
  /**
   * Where the tables are that patterns are coded with: an address, or a function that gives the file with
   * that id. Left out: the server's, or if it has none to give those that come with the package.
   */
  tables?: string | ((id: number) => Promise<Uint8Array>);
  /** Storages for what is learned and for titles, when `storage` is one of your own. */
  storages?: readonly [Storage, Storage];
}

/** Settings of {@link open}. */
export type PatternsOptions = OpenOptions & { taste?: TasteOptions };

/** One device's copy of its household, with taste. */
export interface PatternsClient extends Client {
  /** What is learned of the profile given to {@link open}, and what follows from it. */
  readonly taste: Taste;
  /**
   * Everything this device holds of the household and its taste, as plain data; resolves and rejects as
   * in `omega-sync`.
   */
  exportData(): Promise<ExportedData & { taste: ExportedTaste }>;
}

/** Opens this device's copy; resolves and rejects as in `omega-sync`, also `invalid_option` for taste. */
export function open(options: PatternsOptions): Promise<PatternsClient> {
  const files = () => import("./patterns-wasm-url.js");
  return openPatterns(
    options,
    () => files().then(({ wasmUrl }) => wasmUrl),
    (requests) => files().then(({ tablesUrl }) => requests.ask(String(tablesUrl), {}, bytesOf)),
  );
}

/** {@link open} with another default place of the engine and of the tables; resolves and rejects as that. */
export async function openPatterns(
  options: PatternsOptions,
  engine: () => EngineSource,
  defaultTables: (requests: Requests) => Promise<Uint8Array>,
  entropy?: Entropy,
): Promise<PatternsClient> {
  // An app without types may have passed nothing at all.
  const chosen = options?.taste ?? {};
  const choice = checked(chosen);
  let driver: TasteDriver | undefined;
  let storages: TasteParts["storages"] | undefined;
  const Inner = options?.WebSocket ?? platformWebSocket(options?.poll === undefined);
  const tap: Tap = new Tap(
    Inner,
    (frame) => request(tap.requests, options, frame),
    (bytes) => driver?.frame(bytes),
  );
  const client = await openWith({ ...options, WebSocket: tap.WebSocket }, engine, entropy);
  try {
    storages = chosen.storages ?? (await storagesOf(options, client));
    const { requests } = tap;
    const parts: TasteParts = {
      engine: configured(choice),
      storages,
      tap,
      tables: tablesFrom(requests, chosen.tables, (id) =>
        tablesOf(requests, options, id).catch(() => defaultTables(requests)),
      ),
    };
    let taste: Taste | undefined;
    driver = new TasteDriver(parts, {
      changed: (what) => taste?.changed(what),
      synced: (how) => taste?.ended(how),
      failed: (error) => report(client, error),
      stuck: (error) => taste?.stuck(error),
    });
    await loadOf(driver, parts, client);
    taste = new Taste(driver, client, options.profile ?? "");
    return joined(client, driver, taste, tap);
  } catch (thrown) {
    if (driver === undefined) for (const storage of storages ?? []) storage.close();
    await driver?.close();
    await client.close();
    throw fromEngine(thrown);
  }
}

/** Reads what is stored; goes on from memory where it can't: that is not the household's trouble. */
async function loadOf(driver: TasteDriver, parts: TasteParts, client: Client): Promise<void> {
  try {
    await driver.load();
  } catch (thrown) {
    const error = fromEngine(thrown);
    if (error.code !== "storage_failed" && error.code !== "storage_full") throw error;
    const [small, large] = parts.storages;
    parts.storages = [inPlaceOf(small), inPlaceOf(large)];
    inMemory(client, error);
    await driver.load();
  }
}

function inMemory(client: Client, cause: OmegaError): void {
  const message = "taste cannot be stored here, or not be read: it lasts until this page closes";
  report(client, new OmegaError("storage_memory", message, cause));
}

/** Memory; to erase it is to erase what can't be read. */
function inPlaceOf(storage: Storage): Storage {
  storage.close();
  return Object.assign(new MemoryStorage(), { destroy: () => eraseStorage(storage) });
}

/** One client of both. */
function joined(client: Client, driver: TasteDriver, taste: Taste, tap: Tap): PatternsClient {
  let requests = false;
  /** Whether all profiles are listed: what is stored here may be of before, or damaged. */
  let whole = false;
  const follow = () => {
    const { state, closeReason, role, household } = client.status();
    if (closeReason === "destroyed" || closeReason === "erased") {
      driver.forget().catch((thrown: unknown) => report(client, fromEngine(thrown)));
      return;
    }
    // Before anything of it is shown, or leaves.
    if (household !== "") driver.belongTo(household);
    driver.halted(state === "stopped", closeReason);
    // Between two requests of the household, and during one, taste may make its own.
    requests = role === "leader" && (state === "polling" || (requests && BETWEEN.has(state)));
    const live = (state === "live" && tap.isOpen) || requests;
    driver.connection(live, closeReason);
    whole = role === "leader" && (whole || live);
    if (whole) keepProfiles(client, driver);
  };
  client.on("status", follow);
  client.on("change", ({ what }) => {
    if (what === "profiles") follow();
  });
  follow();
  const { profiles, close, destroy, exportData } = client;
  const { delete: remove } = profiles;
  // At once also while the list may not be whole.
  profiles.delete = async (id) => {
    await remove.call(profiles, id);
    const forget: TasteCall = (engine, ...now) => callTaste(engine, "profileDeleted", [id], ...now);
    // The driver says by itself what fails, and tries again.
    await driver.write(forget).catch(() => undefined);
  };
  return Object.assign(client, {
    taste,
    exportData: async () => {
      const household = await exportData.call(client);
      const ids = household.profiles.map(({ id }) => id);
      return { ...household, taste: taste.exported(ids) };
    },
    close: async () => {
      try {
        await driver.close();
      } finally {
        await close.call(client);
      }
    },
    // The household last: while it is here, it is known whose taste is left where power fails between.
    // One that can't be erased keeps nobody from erasing the other.
    destroy: async () => {
      try {
        await driver.destroy();
      } finally {
        await destroy.call(client);
      }
    },
  });
}

/** States that are passed through from one request of the household to the next. */
const BETWEEN = new Set<SyncState>(["connecting", "syncing"]);

/** One frame about taste by itself. */
function request(
  requests: Requests,
  options: OpenOptions,
  body: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const type = { "Content-Type": "application/octet-stream" };
  return ask(requests, options, "/api/v1/sync", type, { method: "POST", body });
}

/** The server's tables. */
function tablesOf(requests: Requests, options: OpenOptions, id: number): Promise<Uint8Array> {
  return ask(requests, options, `/api/v1/taste/tables/${id.toString(16).padStart(8, "0")}`, {}, {});
}

/** What the first of the addresses says that has an answer. */
async function ask(
  requests: Requests,
  { url = "", urls = [url], device, token }: OpenOptions,
  path: string,
  type: Record<string, string>,
  what: RequestInit,
): Promise<Uint8Array> {
  const got = await askToken({ device, token, tokenTimeoutMs: TOKEN_TIMEOUT_MS });
  const headers = { Authorization: `Bearer ${got}`, ...type };
  let failure: unknown;
  for (const address of urls) {
    try {
      const init = { ...what, headers };
      return await requests.ask(httpUrl(address, path), init, bytesOf);
    } catch (thrown) {
      failure = thrown;
    }
  }
  throw failure;
}

/** A profile that is no more takes its patterns with it. */
function keepProfiles(client: Client, driver: TasteDriver): void {
  const ids = client.profiles.list().map((profile) => profile.id);
  if (!ids.includes("")) ids.unshift("");
  driver.feed("profiles", ids.join("\n"));
}

function report(client: Client, error: OmegaError): void {
  (client as Client & { report(error: OmegaError): void }).report(error);
}

/** What the engine is told of what was chosen. Throws `invalid_option`. */
function checked(chosen: TasteOptions): number[] {
  const { floor = 0.98, feed = true } = chosen;
  const { successRate = 0.7, sampleCount = 10 } = chosen.quality ?? {};
  const { up = 2_048, down = 10_240 } = chosen.bytes ?? {};
  const { min = 300_000, max = 900_000 } = chosen.intervalMs ?? {};
  between("quality.successRate", successRate, 0, 1);
  between("quality.sampleCount", sampleCount, 0, SAMPLES_MAX);
  between("floor", floor, FLOOR_MIN, FLOOR_MAX);
  between("bytes.up", up, CAP_BYTES_MIN, CAP_BYTES_MAX);
  between("bytes.down", down, CAP_BYTES_MIN, CAP_BYTES_MAX);
  between("intervalMs.min", min, INTERVAL_MS_MIN, INTERVAL_MS_MAX);
  between("intervalMs.max", max, min, INTERVAL_MS_MAX);
  return [successRate, sampleCount, floor, up, down, min, max, Number(feed)];
}

function configured(choice: number[]): TasteEngine {
  const engine = newTaste();
  rows(callTaste(engine, "configure", choice), "t");
  return engine;
}

/** Throws `invalid_option` for what is no such number. */
function between(name: string, value: number, least: number, most: number): void {
  if (typeof value === "number" && value >= least && value <= most) return;
  const message = `taste.${name} must be ${least} to ${most}, not ${value}`;
  throw new OmegaError("invalid_option", message);
}

function tablesFrom(
  requests: Requests,
  tables: TasteOptions["tables"],
  otherwise: (id: number) => Promise<Uint8Array>,
): (id: number) => Promise<Uint8Array> {
  if (typeof tables === "function") return tables;
  if (tables !== undefined) return () => requests.ask(tables, {}, bytesOf);
  return otherwise;
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}: ${response.url}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function storagesOf(
  options: PatternsOptions,
  client: Client,
): Promise<readonly [Storage, Storage]> {
  const kind = options.storage ?? "indexeddb";
  if (kind !== "indexeddb") return [new MemoryStorage(), new MemoryStorage()];
  const name = options.name ?? `omega-sync:${options.device}`;
  const opening = [
    openStorage(name + TASTE_DATABASES[0], kind),
    openStorage(name + TASTE_DATABASES[1], kind),
  ] as const;
  try {
    const [taste, titles] = await Promise.all(opening);
    const warning = taste.warning ?? titles.warning;
    // Where the household is in memory, too, that was told.
    if (warning !== undefined && client.status().storage !== "memory") inMemory(client, warning);
    return [taste.storage, titles.storage];
  } catch (thrown) {
    for (const one of opening) one.then(({ storage }) => storage.close()).catch(() => undefined);
    throw thrown;
  }
}
