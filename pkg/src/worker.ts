/**
 * The package for TVs whose page must not stand still: the engine runs in a Worker, and what was shown
 * last shows at once, before there is an engine.
 *
 * This script is small; beside it lies `omega-sync.iife.js`, which the Worker loads. The API is that of
 * `omega-sync`; what differs is said at {@link open}.
 *
 * @packageDocumentation
 */

import type { Addresses, Client, OpenSettings } from "./api.js";
import { OmegaError } from "./errors.js";
import { IndexedDbStorage, storageFor } from "./indexeddb.js";
import { Port, type PortLike } from "./port.js";
import type { EngineCalls, PageCalls } from "./serve.js";
import { settingsOf } from "./settings.js";
import { StoredView } from "./stored-view.js";
import { SyncClient } from "./sync-client.js";
import { type Started, WorkerKeeper } from "./worker-keeper.js";

export { OmegaError } from "./errors.js";
export type * from "./index.js";
export { MemoryStorage } from "./storage.js";
export { wipe } from "./wipe.js";

/** A Worker whose script has not run after so long counts as one that does not start. */
export const WORKER_START_MS = 10_000;

/** Settings of {@link open}. */
export type WorkerOptions = Omit<OpenSettings, "WebSocket"> &
  Addresses & {
    /** Address of `omega-sync.iife.js`, of the same version; beside this script when left out. */
    script?: string | URL;
  };

/**
 * Opens this device's copy; resolves with what was stored last as soon as that is read, else when the
 * engine is there. A write shows when its promise resolves, at the latest; one that is made before the
 * engine is there waits for it. Where no Worker can start the engine runs in the page.
 *
 * Rejects as `open` of `omega-sync`. When the engine fails after it has resolved, that is an `error`
 * event, and the state is `stopped`.
 */
export function open(options: WorkerOptions): Promise<Client> {
  return openInWorker(options, () => import("./script-url.js").then(({ scriptUrl }) => scriptUrl));
}

/** {@link open} with another default place of the Worker's script. */
export async function openInWorker(
  options: WorkerOptions,
  defaultScript: () => string | URL | Promise<string | URL>,
): Promise<Client> {
  const settings = settingsOf(options);
  const [script, wasm] = await Promise.all([options.script ?? defaultScript(), options.wasm]);
  const { storage, warning } = await storageFor(options);
  const client = new SyncClient(options);
  if (warning !== undefined) client.report(warning);
  const shared = storage instanceof IndexedDbStorage ? storage : undefined;
  const view = new StoredView();
  if (shared !== undefined) shared.beside = view;
  const url = absolute(script);
  const parts = {
    opening: {
      settings,
      storage: { kind: storage.kind, name: shared?.name ?? "", shared: shared !== undefined },
      ...(wasm === undefined ? {} : { wasm: isAddress(wasm) ? absolute(wasm) : wasm }),
    },
    ...{ token: options.token, storage, shared, view },
    starts: [(calls: PageCalls) => inWorker(url, calls), (calls: PageCalls) => inPage(url, calls)],
  };
  try {
    await client.join((events) => WorkerKeeper.open(parts, events));
  } catch (thrown) {
    storage.close();
    throw thrown;
  }
  client.start();
  return client;
}

/**
 * By a text of its own, because a page from `file://` may not start a Worker from another file, while a
 * Worker may load one.
 */
function inWorker(url: string, calls: PageCalls): Promise<Started> {
  const started = new Promise<Started>((resolve, reject) => {
    const text = `importScripts(${JSON.stringify(url)});OmegaSync.serve(self)`;
    const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const worker = new Worker(address);
    const end = () => worker.terminate();
    const fail = (why: string) => {
      end();
      reject(notStarted(why));
    };
    const timer = setTimeout(() => fail(`nothing in ${WORKER_START_MS} ms`), WORKER_START_MS);
    worker.onerror = (event) => {
      clearTimeout(timer);
      event.preventDefault();
      fail(event.message);
    };
    const served = () => {
      clearTimeout(timer);
      URL.revokeObjectURL(address);
      worker.onerror = null;
      resolve({ port, end });
    };
    const port: Port<EngineCalls> = new Port(worker, { ...calls, served });
  });
  // A policy may refuse the Worker at once.
  return started.catch((cause: unknown) => {
    throw cause instanceof OmegaError ? cause : notStarted(String(cause));
  });
}

/** What the script of the engine leaves behind in a page. */
interface Scripted {
  OmegaSync?: { serve(port: PortLike): void } | undefined;
}

/** The same engine in this page, which may have a global `OmegaSync` of its own. */
function inPage(url: string, calls: PageCalls): Promise<Started> {
  return new Promise((resolve, reject) => {
    const page = window as Scripted;
    const own = page.OmegaSync;
    const element = document.createElement("script");
    element.onerror = () => reject(notStarted(`${url} was not loaded`));
    element.onload = () => {
      const engine = page.OmegaSync;
      page.OmegaSync = own;
      const { port1, port2 } = new MessageChannel();
      const port: Port<EngineCalls> = new Port(port1, { ...calls });
      engine?.serve(port2);
      resolve({ port, end: () => port1.close() });
    };
    element.src = url;
    document.head.appendChild(element);
  });
}

function notStarted(why: string): OmegaError {
  return new OmegaError("wasm_failed", `the engine's script did not run: ${why}`);
}

function isAddress(source: unknown): source is string | URL {
  return typeof source === "string" || source instanceof URL;
}

function absolute(address: string | URL): string {
  return new URL(address, document.baseURI).href;
}
