// Power cuts of the server: what it acknowledged is there afterwards.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @param {import("node:test").TestContext} context */
async function newEdge(context) {
  const edge = await Edge.start();
  context.after(() => edge.dispose());
  return edge;
}

test("kill -9 between the ack and the restart loses nothing acknowledged", async (context) => {
  const edge = await newEdge(context);
  const household = newHousehold();
  const living = await openTv(context, edge, household, "tv-living");
  /** @type {string[]} */
  const acknowledged = [];
  for (let round = 0; round < 5; round += 1) {
    for (const content of [`a:${round}`, `b:${round}`]) {
      await living.watchlist.add(content);
      acknowledged.push(content);
    }
    await living.flushed();
    await edge.kill();
    await eventually(living, "lost", () => living.status().state !== "live");
    await edge.start();
    // A TV that has never seen any of it: everything it shows comes from the server's disk.
    const fresh = await openTv(context, edge, household, `tv-${round}`);
    await eventually(fresh, "all acknowledged", () => titles(fresh).length === acknowledged.length);
    assert.deepEqual(titles(fresh), acknowledged.slice().sort());
    await fresh.close();
    living.pause();
    living.resume();
    await eventually(living, "live again", () => living.status().state === "live");
  }
});

test("writes in flight when the server dies arrive after its restart, once", async (context) => {
  const edge = await newEdge(context);
  const household = newHousehold();
  const living = await openTv(context, edge, household, "tv-living");
  const bedroom = await openTv(context, edge, household, "tv-bedroom");
  await eventually(living, "live", () => living.status().state === "live");
  const contents = Array.from({ length: 200 }, (_, at) => `tmdb:${at}`);
  const writes = contents.map((content) => living.watchlist.add(content));
  const acked = eventually(living, "first acks", () => living.pending < contents.length);
  await Promise.all([...writes, acked]);
  await edge.kill();
  await living.watchlist.remove("tmdb:0");
  await edge.start();
  for (const tv of [living, bedroom]) {
    tv.pause();
    tv.resume();
  }
  await living.flushed();
  await eventually(bedroom, "all", () => titles(bedroom).length === contents.length - 1);
  assert.ok(!bedroom.watchlist.has("tmdb:0"));
});

test("a server that stops in order says so, and the TVs come back by themselves", async (context) => {
  const edge = await newEdge(context);
  const household = newHousehold();
  const living = await openTv(context, edge, household, "tv-living");
  await eventually(living, "live", () => living.status().state === "live");
  // The next attempt, which finds nobody, forgets the reason: so whoever waits for it is there before.
  const told = eventually(living, "told", () => living.status().closeReason === "restart");
  await edge.stop();
  await told;
  await living.watchlist.add("tmdb:1");
  await edge.start();
  await living.flushed();
  // By request, if its socket was tried while nobody was there.
  assert.match(living.status().state, /^(live|polling)$/);
});

test("kill -9 leaves nobody online, and a handoff under way nowhere or whole", async (context) => {
  const edge = await newEdge(context);
  const household = newHousehold();
  const content = "tmdb:603";
  const capabilities = { remoteControllable: true, canCast: true };
  const [source, target] = await Promise.all(
    ["tv-1", "tv-2"].map(async (device) => {
      const tv = await openTv(context, edge, household, device);
      await tv.devices.describe({ name: device, capabilities });
      await tv.flushed();
      return tv;
    }),
  );
  assert.ok(source && target);
  await source.progress.set(content, { positionSeconds: 754, durationSeconds: 8_160 });
  await source.flushed();
  /** @type {string[]} */
  const paused = [];
  source.devices.onCommand(({ command }) => void paused.push(command.type));
  // The target has the order, and the server dies before it hears the answer.
  let loads = 0;
  const killed = new Promise((resolve) => {
    target.devices.onCommand(async () => {
      loads += 1;
      await edge.kill();
      resolve(undefined);
    });
  });
  assert.equal((await online(edge, household)).length, 2, "both were here");
  const outcome = source.devices.handoff("tv-2", { contentId: content });
  await killed;
  for (const tv of [source, target]) tv.pause();
  await edge.start();
  assert.deepEqual(await online(edge, household), [], "nobody has come back");

  for (const tv of [source, target]) tv.resume();
  // Nobody told the sender that it was done, so it does not say so; and nothing is done twice.
  assert.deepEqual(await outcome, { status: "expired" });
  await eventually(source, "live again", () => source.status().state === "live");
  await source.flushed();
  assert.deepEqual([loads, paused], [1, []]);
  for (const tv of [source, target]) {
    assert.equal(tv.progress.get(content)?.positionSeconds, 754);
  }
  await until("both are here again", async () => (await online(edge, household)).length === 2);
});

/** The devices that the server takes for present. @param {Edge} edge @param {string} household */
async function online(edge, household) {
  const headers = { authorization: `Bearer ${edge.token(household, "rest")}` };
  const { devices } = await (await fetch(`${edge.address}/api/v1/devices`, { headers })).json();
  assert.ok(devices.length >= 2, "the household knows them");
  return devices.filter((/** @type {{is_online: boolean}} */ device) => device.is_online);
}
