// A TV with taste in Node that has its own storages and never gets a connection.
import { MemoryStorage, OmegaError, open } from "omega-sync/patterns";
import WebSocket from "ws";

/** @typedef {readonly [MemoryStorage, MemoryStorage]} Storages */

/** Two storages of one device. @returns {Storages} */
export const storages = () => [new MemoryStorage(), new MemoryStorage()];

/**
 * A device that never gets a connection.
 * @param {import("node:test").TestContext} context
 * @param {Storages} kept
 * @param {Partial<import("omega-sync/patterns").PatternsOptions>} [more]
 */
export async function offline(context, kept, more = {}) {
  const client = await open({
    url: "http://127.0.0.1:1",
    device: "tv",
    token: () => Promise.reject(new Error("no network")),
    storage: "memory",
    WebSocket,
    taste: { storages: kept },
    ...more,
  });
  client.pause();
  context.after(() => client.close());
  return client;
}

/** @param {string} code */
export const refusedWith = (code) => (/** @type {unknown} */ error) =>
  error instanceof OmegaError && error.code === code;
