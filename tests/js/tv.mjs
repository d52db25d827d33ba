// A TV in Node: the npm package with storage in memory and the WebSocket of `ws`.
import { randomUUID } from "node:crypto";
import { MemoryStorage, open } from "omega-sync";
import WebSocket from "ws";

/** @typedef {import("omega-sync").Client} Client */

/**
 * Settings, and what only these tests may set: times in milliseconds.
 * @typedef {Partial<import("omega-sync").OpenOptions> & {testing?: Record<string, number>}} Options
 */

/** @param {unknown} error @returns {string} the stable code of an OmegaError */
export function codeOf(error) {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}

/** A household of its own for each test, so that tests can share a server. */
export function newHousehold() {
  return `home-${randomUUID()}`;
}

/**
 * Opens a TV of a household; it is closed when the test ends.
 * @param {import("node:test").TestContext} context
 * @param {import("./edge.mjs").Edge} edge
 * @param {string} household @param {string} device
 * @param {Options} [options]
 * @returns {Promise<Client>}
 */
export async function openTv(context, edge, household, device, options) {
  const client = await open({
    url: edge.address,
    device,
    token: async () => edge.token(household, device),
    storage: new MemoryStorage(),
    WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
      /** @type {unknown} */ (WebSocket)
    ),
    ...options,
  });
  context.after(() => client.close());
  return client;
}

/** The titles on a TV's watchlist, by name. @param {Client} tv */
export function titles(tv) {
  return tv.watchlist
    .items()
    .map((item) => item.content)
    .sort();
}
