// What an app without types may pass: whatever is thrown or rejected for it is an OmegaError that says
// what was wrong, and what was accepted before goes on.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage, OmegaError, open, wipe } from "omega-sync";
import { open as openPatterns, OmegaError as PatternsError } from "omega-sync/patterns";
import WebSocket from "ws";

/** @typedef {(...values: any[]) => unknown} Call */

const socket = /** @type {import("omega-sync").WebSocketConstructor} */ (
  /** @type {unknown} */ (WebSocket)
);
const settings = {
  ...{ url: "http://127.0.0.1:1", device: "tv", token: async () => "unused" },
  ...{ storage: new MemoryStorage(), WebSocket: socket },
};
const WRONG = [undefined, null, 5, Number.NaN, "", "x", true, {}, [], [5], [null], () => 5];

/** @type {import("omega-sync/patterns").PatternsClient} */
let tv;
before(async () => {
  const storages = /** @type {const} */ ([new MemoryStorage(), new MemoryStorage()]);
  tv = await openPatterns({ ...settings, taste: { storages } });
});
after(() => tv.close());

/** What a call throws or rejects with, if it does. @param {() => unknown} call */
async function failureOf(call) {
  try {
    await call();
  } catch (thrown) {
    return thrown;
  }
  return undefined;
}

/** What each call ends with that is no OmegaError. @param {Record<string, () => Call>} calls */
async function others(calls) {
  const found = [];
  let failed = 0;
  for (const [name, call] of Object.entries(calls)) {
    for (const one of WRONG) {
      for (const values of [[one], ["x", one], [one, one, one]]) {
        const failure = await failureOf(() => call()(...values));
        if (failure === undefined) continue;
        failed += 1;
        // Each entry is a bundle with a class of its own.
        const isOurs = failure instanceof OmegaError || failure instanceof PatternsError;
        if (!isOurs || failure.code === "engine_failed")
          found.push(`${name}(${values.map((value) => String(value))}): ${failure}`);
      }
    }
  }
  assert.ok(failed > Object.keys(calls).length, `${failed} calls failed`);
  return found;
}

test("of the household", async () => {
  const { watchlist, progress, profiles, devices } = tv;
  const found = await others({
    "watchlist.add": () => watchlist.add.bind(watchlist),
    "watchlist.remove": () => watchlist.remove.bind(watchlist),
    "watchlist.has": () => watchlist.has.bind(watchlist),
    "progress.set": () => progress.set.bind(progress),
    "progress.get": () => progress.get.bind(progress),
    "progress.remove": () => progress.remove.bind(progress),
    "profiles.create": () => profiles.create.bind(profiles),
    "profiles.rename": () => profiles.rename.bind(profiles),
    "profiles.delete": () => profiles.delete.bind(profiles),
    forProfile: () => (value) => tv.forProfile(value).watchlist.items(),
    on: () => tv.on.bind(tv),
    "on change": () => (_, value) => tv.on("change", value)(),
    "devices.describe": () => devices.describe.bind(devices),
    "capabilities of a device": () => (capabilities) => devices.describe({ capabilities }),
    "formats of a device": () => (hdrFormats) => devices.describe({ capabilities: { hdrFormats } }),
    "devices.remove": () => devices.remove.bind(devices),
    // Of what is right nothing comes before 5 seconds.
    "devices.send": () => (one, two) => devices.send(two ?? "b", one === "x" ? { type: one } : one),
    "devices.handoff": () => (_, request) => devices.handoff("b", request),
    "devices.onCommand": () => (value) => devices.onCommand(value)(),
  });
  assert.deepEqual(found, []);
});

test("of taste", async () => {
  const { taste } = tv;
  const found = await others({
    "taste.record": () => taste.record.bind(taste),
    "embedding of a viewing": () => (embedding) =>
      taste.record({ content: "x", watched: 1, genre: "g", embedding }),
    "taste.learnTitles": () => taste.learnTitles.bind(taste),
    "embedding of a title": () => (embedding) =>
      taste.learnTitles([{ content: "x", genre: "g", embedding }]),
    "taste.recommend": () => taste.recommend.bind(taste),
    "exclude of recommend": () => (exclude) => taste.recommend(5, { exclude }),
    "taste.forProfile": () => (value) => taste.forProfile(value).patterns(),
    "taste.onChange": () => (value) => taste.onChange(value)(),
  });
  assert.deepEqual(found, []);
});

test("of open and wipe", async () => {
  /** @param {Call} opens @returns {Call} */
  const closing = (opens) => async (value) => {
    const client = /** @type {import("omega-sync").Client} */ (await opens(value));
    await client?.close();
  };
  /** @type {Record<string, () => Call>} */
  const calls = { wipe: () => (one) => wipe(one) };
  const names = ["device", "household", "profile", "token", "url", "urls", "poll", "storage"];
  for (const name of [...names, "name", "deltaSync"]) {
    calls[`open, ${name}`] = () =>
      closing((value) => open({ ...settings, storage: new MemoryStorage(), [name]: value }));
  }
  for (const name of ["taste", "quality", "floor", "bytes", "intervalMs"]) {
    calls[`patterns, ${name}`] = () =>
      closing((value) => {
        const storages = /** @type {const} */ ([new MemoryStorage(), new MemoryStorage()]);
        const taste = name === "taste" ? value : { storages, [name]: value };
        return openPatterns({ ...settings, storage: new MemoryStorage(), taste });
      });
  }
  calls.open = () => (/** @type {any} */ value) => open(value);
  calls["patterns, open"] = () => (/** @type {any} */ value) => openPatterns(value);
  assert.deepEqual(await others(calls), []);
});
