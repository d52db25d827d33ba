// What a device shows, and how it differs from the state that the oracle wants.
import { stateNumber } from "./file.mjs";

/** @typedef {import("omega-sync").Client} Client */

/**
 * @typedef {object} View everything that a device shows of the household
 * @property {import("omega-sync").WatchlistItem[]} watchlist
 * @property {import("omega-sync").Progress[]} progress
 * @property {import("omega-sync").Profile[]} profiles
 * @property {string[] | undefined} devices nothing where the package does not know devices
 */

/** @param {Client} client @returns {View} */
export function viewOf(client) {
  return {
    watchlist: client.watchlist.items(),
    progress: [...client.progress.inProgress(), ...client.progress.completed()],
    profiles: client.profiles.list(),
    devices: devicesOf(client)?.ids(),
  };
}

/** @param {View[]} views whether all devices show the same */
export function isSame(views) {
  const texts = views.map((view) => JSON.stringify(view));
  return texts.every((text) => text === texts[0]);
}

/**
 * Entries that any of the devices shows otherwise than the oracle has them.
 * @param {View[]} views
 * @param {import("./file.mjs").Oracle} oracle
 * @param {string[]} devices ids of the trace's devices
 * @returns {string[]}
 */
export function wrongEntries(views, oracle, devices) {
  const wanted = entriesOfOracle(oracle, devices);
  const wrong = new Set();
  for (const view of views) {
    const shown = entriesOfView(view);
    for (const name of new Set([...wanted.keys(), ...shown.keys()])) {
      const judged = view.devices !== undefined || !name.startsWith("device ");
      if (judged && wanted.get(name) !== shown.get(name)) wrong.add(name);
    }
  }
  return [...wrong].sort();
}

/** @param {import("./file.mjs").Oracle} oracle @param {string[]} devices */
function entriesOfOracle(oracle, devices) {
  const entries = new Map();
  for (const content of oracle.watch) entries.set(`watch ${content}`, "listed");
  for (const [content, cells] of Object.entries(oracle.prog)) {
    entries.set(`progress ${content}`, cells.join());
  }
  for (const device of oracle.dev) entries.set(`device ${devices[device]}`, "known");
  return entries;
}

/** @param {View} view */
function entriesOfView(view) {
  const entries = new Map();
  for (const { content } of view.watchlist) entries.set(`watch ${content}`, "listed");
  for (const item of view.progress) {
    const { content, positionSeconds, durationSeconds, state, updatedMs } = item;
    const cells = [positionSeconds, durationSeconds, stateNumber(state), updatedMs];
    entries.set(`progress ${content}`, cells.join());
  }
  for (const device of view.devices ?? []) entries.set(`device ${device}`, "known");
  return entries;
}

/**
 * @typedef {object} Devices the package's devices as a trace writes and reads them
 * @property {(event: import("./file.mjs").Describe) => Promise<void>} describe
 * @property {() => string[]} ids
 */

/**
 * @param {Client} client
 * @returns {Devices | undefined} nothing while the package has no call for devices
 */
export function devicesOf(client) {
  const { devices } = /** @type {{devices?: PackageDevices}} */ (/** @type {unknown} */ (client));
  if (devices === undefined) return undefined;
  return {
    describe: ({ name, model, app, caps }) =>
      devices.describe({
        name,
        deviceType: /iPad/.test(model) ? "tablet" : /Pixel/.test(model) ? "phone" : "tv",
        platform: model,
        appVersion: app,
        capabilities: {
          videoCodecs: caps.filter((cap) => cap === "hevc"),
          hdrFormats: caps.includes("dv") ? ["dolby_vision"] : [],
          audioCodecs: caps.filter((cap) => cap === "atmos"),
        },
      }),
    ids: () => devices.list().map(({ device }) => device),
  };
}

/**
 * @typedef {object} PackageDevices
 * @property {(record: object) => Promise<void>} describe
 * @property {() => Array<{device: string}>} list
 */
