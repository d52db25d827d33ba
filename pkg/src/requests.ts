/**
 * Requests that end. One that hangs holds one of the six connections that a browser has for a host, and
 * six take the host from the whole app.
 */

/** How long a request may take, its answer included, in milliseconds. */
const REQUEST_TIMEOUT_MS = 30_000;

const Controller = typeof AbortController === "undefined" ? undefined : AbortController;

/** Requests that can be called off together; engines before Chromium 66 can't. */
export class Requests {
  private readonly underWay = new Set<AbortController>();

  /** Asks, and reads the answer. Rejects as `fetch` does, and when it was called off. */
  async ask<T>(
    url: string,
    init: RequestInit,
    read: (answer: Response) => T | Promise<T>,
  ): Promise<T> {
    if (Controller === undefined) return read(await fetch(url, init));
    const abort = new Controller();
    const timer = setTimeout(() => abort.abort(), REQUEST_TIMEOUT_MS);
    this.underWay.add(abort);
    try {
      return await read(await fetch(url, { ...init, signal: abort.signal }));
    } finally {
      clearTimeout(timer);
      this.underWay.delete(abort);
    }
  }

  /** Calls all of them off. */
  end(): void {
    for (const abort of Array.from(this.underWay)) abort.abort();
  }
}
