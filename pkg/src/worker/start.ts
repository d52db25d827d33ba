/**
 * How the engine's side of Worker mode starts.
 */

import { fromEngine, OmegaError } from "../errors.js";
import { watchLifecycle } from "../lifecycle.js";
import type { EngineCalls, Opening, PageCalls } from "./engine-side.js";
import { Port, type PortLike } from "./port.js";

/** A Worker whose script has not run after so long counts as one that does not start. */
const WORKER_START_MS = 10_000;

/** An engine's side that was started. */
export interface Started {
  port: Port<EngineCalls>;
  /** Ends it at once; who waits for an answer gets this error. */
  end(error: OmegaError): void;
}

/**
 * Starts the engine in a Worker, or in this page where no Worker starts, and opens it. Rejects with an
 * {@link OmegaError}. `gone`: the Worker has died, perhaps before it was open.
 */
export async function startEngineSide(
  script: string | URL,
  opening: Opening,
  calls: PageCalls,
  gone: (error: OmegaError) => void,
): Promise<Started> {
  const url = absolute(script);
  const { wasm } = opening;
  const given = isAddress(wasm) ? { ...opening, wasm: absolute(wasm) } : opening;
  const open = async ({ port, end }: Started) => {
    try {
      await port.call("open", given);
    } catch (thrown) {
      end(fromEngine(thrown));
      throw thrown;
    }
    const stopWatching = watchLifecycle({
      woke: () => port.tell("woke"),
      hides: () => port.tell("hides"),
    });
    return {
      port,
      end: (error: OmegaError) => {
        stopWatching();
        end(error);
      },
    };
  };
  return inWorker(url, calls, gone)
    .then(open)
    .catch(async (thrown: unknown) => {
      // Anything else is no fault of the place.
      if (fromEngine(thrown).code !== "wasm_failed") throw thrown;
      return open(await inPage(url, calls));
    });
}

/**
 * By a text of its own, because a page from `file://` may not start a Worker from another file, while a
 * Worker may load one.
 */
function inWorker(
  url: string,
  calls: PageCalls,
  gone: (error: OmegaError) => void,
): Promise<Started> {
  const started = new Promise<Started>((resolve, reject) => {
    const text = `importScripts(${JSON.stringify(url)});OmegaSync.serve(self)`;
    const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const worker = new Worker(address);
    const end = (error: OmegaError) => {
      worker.terminate();
      port.end(error);
    };
    const fail = (why: string) => {
      end(notStarted(why));
      reject(notStarted(why));
    };
    const timer = setTimeout(() => fail(`nothing in ${WORKER_START_MS} ms`), WORKER_START_MS);
    worker.onerror = (event) => {
      clearTimeout(timer);
      event.preventDefault();
      fail(event.message);
    };
    const served = (version: string) => {
      clearTimeout(timer);
      URL.revokeObjectURL(address);
      worker.onerror = null;
      if (isOurs(version)) resolve({ port, end });
      else fail(otherVersion(version));
    };
    const died = () => {
      const error = new OmegaError("engine_failed", "the engine's Worker is gone: reload the app");
      end(error);
      gone(error);
    };
    const port: Port<EngineCalls> = new Port(worker, { ...calls, served }, died);
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
      // Also where a script has a mistake it counts as loaded.
      if (engine === own || typeof engine?.serve !== "function") {
        element.remove();
        reject(notStarted(`${url} is not the engine`));
        return;
      }
      const { port1, port2 } = new MessageChannel();
      const end = (error: OmegaError) => {
        port1.close();
        port.end(error);
      };
      const served = (version: string) => {
        if (isOurs(version)) resolve({ port, end });
        else reject(notStarted(otherVersion(version)));
      };
      const port: Port<EngineCalls> = new Port(port1, { ...calls, served });
      engine.serve(port2);
    };
    element.src = url;
    document.head.appendChild(element);
  });
}

function notStarted(why: string): OmegaError {
  return new OmegaError("wasm_failed", `the engine's script did not run: ${why}`);
}

/** A TV's cache may keep the script of an older app. */
function isOurs(version: string): boolean {
  return version === OMEGA_SYNC_VERSION;
}

function otherVersion(version: string): string {
  return `it is of version ${version}, the page of ${OMEGA_SYNC_VERSION}`;
}

function isAddress(source: unknown): source is string | URL {
  return typeof source === "string" || source instanceof URL;
}

function absolute(address: string | URL): string {
  return new URL(address, document.baseURI).href;
}
