// Devices of a household: what each says of itself, on the real server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage } from "omega-sync";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** Everything that a device can say. @type {import("omega-sync").DeviceDescription} */
const TELEVISION = {
  name: "Wohnzimmer 📺",
  deviceType: "tv",
  platform: "webOS 5 / OLED55CX",
  appVersion: "4.2.0",
  capabilities: {
    resolution: "8k",
    hdrFormats: ["dolby_vision", "hdr10", "hlg", "hdr10_plus"],
    videoCodecs: ["h264", "hevc", "vp9", "av1", "vvc", "mpeg2"],
    audioCodecs: ["aac", "ac3", "eac3", "atmos", "dts", "dts_x", "truehd", "opus"],
    remoteControllable: true,
    canCast: true,
    screenInches: 255,
  },
};

const NOTHING = {
  resolution: "sd",
  hdrFormats: [],
  videoCodecs: [],
  audioCodecs: [],
  remoteControllable: false,
  canCast: false,
  screenInches: 0,
};

test("a device's description reaches the others, to the last field", async (context) => {
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv-living");
  const phone = await openTv(context, edge, household, "phone");
  // The first state may touch every list.
  await eventually(phone, "live", () => phone.status().state === "live");
  /** @type {import("omega-sync").Change[]} */
  const changes = [];
  phone.on("change", (change) => changes.push(change));
  await tv.devices.describe(TELEVISION);
  await phone.devices.describe({ name: "Ana's phone", deviceType: "phone" });
  for (const client of [tv, phone]) {
    await eventually(client, "both", () => client.devices.list().length === 2);
  }
  const described = {
    ...TELEVISION,
    device: "tv-living",
    capabilities: {
      ...TELEVISION.capabilities,
      hdrFormats: ["hdr10", "hdr10_plus", "hlg", "dolby_vision"],
    },
  };
  const rest = { platform: "", appVersion: "", capabilities: NOTHING };
  const wanted = [
    { device: "phone", name: "Ana's phone", deviceType: "phone", ...rest },
    described,
  ];
  for (const client of [tv, phone]) {
    await eventually(client, "both are here", () =>
      client.devices.list().every(({ isOnline }) => isOnline),
    );
    const said = client.devices.list().map(({ isOnline, lastSeen, ...described }) => {
      assert.ok(isOnline && Math.abs(Date.now() - Number(lastSeen)) < 60_000, String(lastSeen));
      return described;
    });
    assert.deepEqual(said, wanted);
  }
  const told = new Set(changes.map(({ what, profile }) => `${what} ${profile}`));
  assert.deepEqual([...told], ["devices "]);
});

/** @param {string} field @param {unknown} value @returns {[string, unknown]} */
function pair(field, value) {
  return [field, value];
}

test("each capability is kept by itself", async (context) => {
  const tv = await openTv(context, edge, newHousehold(), "tv-living");
  tv.pause();
  const { capabilities = {} } = TELEVISION;
  /** @type {Array<[string, unknown]>} */
  const single = Object.entries(capabilities).flatMap(([field, value]) =>
    Array.isArray(value) ? value.map((one) => pair(field, [one])) : [pair(field, value)],
  );
  const sizes = /** @type {const} */ (["sd", "hd", "full_hd", "4k", "8k"]);
  for (const resolution of sizes) single.push(["resolution", resolution]);
  for (const [field, value] of single) {
    const one = { [field]: value };
    await tv.devices.describe({ name: "TV", capabilities: one });
    assert.deepEqual(tv.devices.list()[0]?.capabilities, { ...NOTHING, ...one });
  }
  for (const deviceType of /** @type {const} */ (["tv", "phone", "tablet", "computer", "other"])) {
    await tv.devices.describe({ name: "TV", deviceType });
    assert.equal(tv.devices.list()[0]?.deviceType, deviceType);
  }
});

test("saying the same again is no write; the last description stays; any device removes", async (context) => {
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv-living");
  const phone = await openTv(context, edge, household, "phone");
  tv.pause();
  await tv.devices.describe(TELEVISION);
  assert.equal(tv.pending, 1);
  await tv.devices.describe(TELEVISION);
  assert.equal(tv.pending, 1);
  await tv.devices.describe({ ...TELEVISION, appVersion: "4.3.0" });
  tv.resume();
  await tv.flushed();
  await eventually(phone, "the TV", () => phone.devices.list()[0]?.appVersion === "4.3.0");

  await phone.devices.remove("tv-living");
  await phone.devices.remove("nobody");
  await eventually(tv, "gone", () => tv.devices.list().length === 0);
  await tv.devices.describe(TELEVISION);
  await eventually(phone, "back", () => phone.devices.list()[0]?.name === TELEVISION.name);
});

for (const [way, options] of /** @type {const} */ ([
  ["a socket", {}],
  ["requests", { poll: { everySeconds: 600 } }],
])) {
  test(`by ${way}: a new installation that says no name keeps the one it has`, async (context) => {
    const household = newHousehold();
    const before = await openTv(context, edge, household, "tv");
    await before.devices.describe({ ...TELEVISION, name: "Living room" });
    await before.flushed();
    await before.close();
    const tv = await openTv(context, edge, household, "tv", options);
    await tv.devices.describe({ deviceType: "tv", platform: "webOS 6" });
    assert.equal(tv.pending, 1);
    await tv.flushed();
    const phone = await openTv(context, edge, household, "phone");
    for (const client of [tv, phone]) {
      await eventually(client, "the platform", () => {
        return client.devices.list()[0]?.platform === "webOS 6";
      });
      assert.equal(client.devices.list()[0]?.name, "Living room");
    }
  });
}

test("a device that says no name while it is offline says it at its next start", async (context) => {
  const household = newHousehold();
  const storage = new MemoryStorage();
  const gone = "http://127.0.0.1:1";
  const offline = await openTv(context, edge, household, "tv", { url: gone, storage });
  await offline.devices.describe({ platform: "webOS 6" });
  await offline.close();
  const tv = await openTv(context, edge, household, "tv", { storage });
  await tv.devices.describe({ platform: "webOS 6" });
  await tv.flushed();
  assert.equal(tv.devices.list()[0]?.platform, "webOS 6");
});

test("what describes no device fails the one call", async (context) => {
  const tv = await openTv(context, edge, newHousehold(), "tv-living");
  /** @param {object} description */
  const refused = (description) => {
    const given = /** @type {import("omega-sync").DeviceDescription} */ (description);
    return assert.rejects(tv.devices.describe(given), {
      name: "OmegaError",
      code: "invalid_device",
    });
  };
  const name = "TV";
  await refused({ name: "x".repeat(65) });
  await refused({ name, platform: "x".repeat(65) });
  await refused({ name, appVersion: "x".repeat(65) });
  await refused({ name, deviceType: "toaster" });
  await refused({ name, capabilities: { resolution: "16k" } });
  await refused({ name, capabilities: { hdrFormats: ["hdr11"] } });
  for (const screenInches of [-1, 256, Number.NaN]) {
    await refused({ name, capabilities: { screenInches } });
  }
  await assert.rejects(tv.devices.remove(""), { code: "invalid_device" });
  assert.equal(tv.pending, 0);
  await tv.devices.describe({ name: "x".repeat(64), capabilities: { screenInches: 54.6 } });
  assert.equal(tv.devices.list()[0]?.capabilities.screenInches, 55);
});

test("a device beyond the limit of a household is refused with its reason", async (context) => {
  const household = newHousehold();
  const limit = 64;
  const storage = "memory";
  for (let at = 0; at < limit; at += 1) {
    const device = await openTv(context, edge, household, `tv-${at}`, { storage });
    await device.devices.describe({ name: `TV ${at}` });
    await device.flushed();
    await device.close();
  }
  const late = await openTv(context, edge, household, "tv-late", { storage });
  await late.devices.describe({ name: "one too many" });
  await eventually(late, "refused", () => late.rejected().length === 1);
  assert.deepEqual(await late.takeRejected(), [
    { kind: "device_describe", profile: "", subject: "tv-late", reason: "household_full" },
  ]);
  assert.equal(late.devices.list().length, limit);
});
