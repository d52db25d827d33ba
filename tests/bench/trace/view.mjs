// What a device shows, and how it differs from the state that the oracle wants.
import { stateNumber } from "./file.mjs";

/** @typedef {import("omega-sync").Client} Client */

/**
 * @typedef {object} View everything that a device shows of the household
 * @property {import("omega-sync").WatchlistItem[]} watchlist
 * @property {import("omega-sync").Progress[]} progress
 * @property {import("omega-sync").Profile[]} profiles
 * @property {import("omega-sync").Device[]} devices
 */

/** @param {Client} client @returns {View} */
export function viewOf(client) {
  return {
    watchlist: client.watchlist.items(),
    progress: [...client.progress.inProgress(), ...client.progress.completed()],
    profiles: client.profiles.list(),
    devices: client.devices.list(),
  };
}

/** @param {View[]} views whether all devices show the same */
export function isSame(views) {
  const texts = views.map((view) => JSON.stringify(view));
  return texts.every((text) => text === texts[0]);
}

/**
 * Entries that any of the devices shows otherwise than the oracle has them. Of a device the oracle says
 * only that it is known: what it says of itself is its last event, because nobody else writes it.
 * @param {View[]} views
 * @param {import("./file.mjs").Oracle} oracle
 * @param {import("./file.mjs").Trace} trace
 * @returns {string[]}
 */
export function wrongEntries(views, oracle, trace) {
  const wanted = entriesOfOracle(oracle, trace);
  const wrong = new Set();
  for (const view of views) {
    const shown = entriesOfView(view);
    for (const name of new Set([...wanted.keys(), ...shown.keys()])) {
      if (wanted.get(name) !== shown.get(name)) wrong.add(name);
    }
  }
  return [...wrong].sort();
}

/** @param {import("./file.mjs").Oracle} oracle @param {import("./file.mjs").Trace} trace */
function entriesOfOracle(oracle, { header, events }) {
  const entries = new Map();
  /** @type {Map<number, string>} */
  const records = new Map();
  for (const event of events) {
    if (event.k !== "dev") continue;
    const { name, model, app, caps } = event;
    records.set(event.d, JSON.stringify([name, model, app, caps.slice().sort()]));
  }
  for (const content of oracle.watch) entries.set(`watch ${content}`, "listed");
  for (const [content, cells] of Object.entries(oracle.prog)) {
    entries.set(`progress ${content}`, cells.join());
  }
  for (const at of oracle.dev) {
    const record = records.get(at) ?? "known, without a record";
    entries.set(`device ${header.devices[at]}`, record);
  }
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
  for (const { device, name, platform, appVersion, capabilities } of view.devices) {
    const record = [name, platform, appVersion, capsOf(capabilities)];
    entries.set(`device ${device}`, JSON.stringify(record));
  }
  return entries;
}

/** A trace's words for what a device can do. @param {import("omega-sync").Capabilities} capabilities */
function capsOf({ videoCodecs, hdrFormats, audioCodecs }) {
  const hdr = hdrFormats.map((format) => (format === "dolby_vision" ? "dv" : format));
  return [...videoCodecs, ...hdr, ...audioCodecs].sort();
}

/**
 * A device's record as the package has it.
 * @param {import("./file.mjs").Describe} event
 * @returns {import("omega-sync").DeviceDescription}
 */
export function description({ name, model, app, caps }) {
  const deviceType = /iPad/.test(model) ? "tablet" : /Pixel/.test(model) ? "phone" : "tv";
  return {
    ...{ name, deviceType, platform: model, appVersion: app },
    capabilities: {
      videoCodecs: caps.includes("hevc") ? ["hevc"] : [],
      hdrFormats: caps.includes("dv") ? ["dolby_vision"] : [],
      audioCodecs: caps.includes("atmos") ? ["atmos"] : [],
    },
  };
}
