// Commands, handoff and presence between real clients on the real server, and with JSON and REST.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { MemoryStorage } from "omega-sync";
import WebSocket from "ws";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @typedef {import("omega-sync").Client} Client */
/** @typedef {import("omega-sync").ReceivedCommand} Received */

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

const CONTROLLABLE = { capabilities: { remoteControllable: true, canCast: true } };

/**
 * A TV that takes commands, and what it has taken.
 * @param {import("node:test").TestContext} context
 * @param {string} household @param {string} device @param {import("./tv.mjs").Options} [options]
 */
async function television(context, household, device, options) {
  const tv = await openTv(context, edge, household, device, options);
  await tv.devices.describe({ name: device, ...CONTROLLABLE });
  await tv.flushed();
  /** @type {Received[]} */
  const taken = [];
  return { tv, taken, listen: () => tv.devices.onCommand((received) => void taken.push(received)) };
}

/** @param {Client} client @param {string} device */
function sees(client, device) {
  return eventually(client, `${device} is online`, () =>
    client.devices.list().some((known) => known.device === device && known.isOnline),
  );
}

/** @param {string} household @param {string} path @param {object} body */
function post(household, path, body) {
  return fetch(`${edge.address}/api/v1/devices/${path}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${edge.token(household, "rest")}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(body),
  });
}

/** A program that speaks JSON. @param {import("node:test").TestContext} context */
async function plain(context, /** @type {string} */ household, /** @type {string} */ device) {
  const socket = new WebSocket(`${edge.address.replace("http", "ws")}/ws`, {
    headers: { authorization: `Bearer ${edge.token(household, device)}` },
  });
  /** @type {Record<string, any>[]} */
  const heard = [];
  socket.on("message", (data) => heard.push(JSON.parse(String(data))));
  context.after(() => socket.terminate());
  await once(socket, "open");
  /** @param {string} type */
  const hear = (type) =>
    until(`a ${type}`, () => {
      const at = heard.findIndex((message) => message.type === type);
      return at < 0 ? undefined : heard.splice(at, 1)[0];
    });
  const say = (/** @type {object} */ message) => socket.send(JSON.stringify(message));
  say({ type: "ping" });
  await hear("pong");
  return { say, hear };
}

test("every command arrives with all its fields, and its sender hears so", async (context) => {
  const household = newHousehold();
  const { tv: sender } = await television(context, household, "tv-1");
  const { tv: target, taken, listen } = await television(context, household, "tv-2");
  const stop = listen();
  await sees(sender, "tv-2");
  /** @type {import("omega-sync").Command[]} */
  const commands = [
    { type: "play" },
    { type: "pause" },
    { type: "stop" },
    { type: "seek", positionSeconds: 4_294_967_295 },
    { type: "volume_set", level: 0 },
    { type: "volume_set", level: 100 },
    { type: "volume_mute" },
    { type: "volume_unmute" },
    { type: "load_content", contentId: "tmdb:550" },
    { type: "load_content", contentId: "tmdb:550", startPosition: 0 },
    { type: "cast_to", targetDeviceId: "tv-1" },
  ];
  for (const command of commands) {
    assert.equal(await sender.devices.send("tv-2", command), "delivered", command.type);
  }
  assert.deepEqual(
    taken,
    commands.map((command) => ({ command, from: "tv-1" })),
  );
  stop();
  assert.equal(await sender.devices.send("tv-2", { type: "play" }), "not_supported");
  const answers = /** @type {const} */ (["not_supported", "invalid"]);
  for (const answer of answers) {
    const end = target.devices.onCommand(async () => answer);
    assert.equal(await sender.devices.send("tv-2", { type: "play" }), answer);
    end();
  }
  // An app without types may return anything: all but the two answers mean that it is done.
  for (const answer of /** @type {any[]} */ ([true, false, null, 0, "done", "delivered", {}])) {
    const end = target.devices.onCommand(() => answer);
    assert.equal(await sender.devices.send("tv-2", { type: "play" }), "delivered", String(answer));
    end();
  }
  target.devices.onCommand(() => {
    throw new Error("no such title");
  });
  assert.equal(await sender.devices.send("tv-2", { type: "play" }), "invalid");
  assert.equal(taken.length, commands.length);
});

test("a command that is wrong is refused where it is made", async (context) => {
  const { tv } = await television(context, newHousehold(), "tv-1");
  const wrong = /** @type {import("omega-sync").Command[]} */ ([
    { type: "seek", positionSeconds: -1 },
    { type: "seek", positionSeconds: 4_294_967_296 },
    { type: "volume_set", level: 101 },
    { type: "volume_set", level: -1 },
    { type: "volume_set", level: 100.4 },
    { type: "volume_set", level: Number.NaN },
    { type: "volume_set" },
    { type: "seek" },
    { type: "load_content", contentId: "" },
    { type: "cast_to", targetDeviceId: "" },
    { type: "explode" },
  ]);
  for (const command of wrong) {
    await assert.rejects(tv.devices.send("tv-1", command), { code: "invalid_command" });
  }
  await assert.rejects(tv.devices.send("", { type: "play" }), { code: "invalid_device" });
  assert.equal(await tv.devices.send("nobody", { type: "play" }), "device_unknown");
});

test("REST and JSON reach a TV, and a TV reaches JSON", async (context) => {
  const household = newHousehold();
  const { tv, taken, listen } = await television(context, household, "tv-1");
  listen();
  const seek = { type: "seek", position_seconds: 90 };
  const answer = await post(household, "tv-1/commands", seek);
  assert.equal(answer.status, 202);
  assert.equal((await answer.json()).status, "delivered");
  const { say, hear } = await plain(context, household, "speaker");
  const command = { type: "load_content", content_id: "tmdb:550", start_position: 7 };
  say({ type: "device_command", target_device_id: "tv-1", command });
  assert.equal((await hear("ack")).status, "delivered");
  assert.deepEqual(taken, [
    { command: { type: "seek", positionSeconds: 90 }, from: "rest" },
    { command: { type: "load_content", contentId: "tmdb:550", startPosition: 7 }, from: "speaker" },
  ]);
  // The speaker describes itself by the hand of the TV's household: any device may.
  const speaker = await openTv(context, edge, household, "speaker");
  await speaker.devices.describe({ name: "Speaker", ...CONTROLLABLE });
  await speaker.flushed();
  await speaker.close();
  await eventually(tv, "described", () => tv.devices.list().length === 2);
  await until("the speaker's other session takes it", async () => {
    return (await tv.devices.send("speaker", { type: "volume_set", level: 5 })) === "delivered";
  });
  const heard = await hear("device_command");
  assert.deepEqual(heard.command, { type: "volume_set", level: 5 });
  assert.equal(heard.from, "tv-1");
});

test("a handoff goes on where it was, on the other TV, and pauses this one", async (context) => {
  const household = newHousehold();
  const source = await television(context, household, "tv-1");
  const target = await television(context, household, "tv-2");
  source.listen();
  target.listen();
  await source.tv.progress.set("tmdb:603", { positionSeconds: 754, durationSeconds: 8_160 });
  await source.tv.flushed();
  const known = await source.tv.devices.handoff("tv-2", { contentId: "tmdb:603" });
  assert.deepEqual(known, { status: "delivered", positionSeconds: 754 });
  const told = { contentId: "tmdb:603", positionSeconds: 760.9 };
  const later = await source.tv.devices.handoff("tv-2", told);
  assert.deepEqual(later, { status: "delivered", positionSeconds: 760 });
  const load = { type: "load_content", contentId: "tmdb:603" };
  assert.deepEqual(
    target.taken.map(({ command }) => command),
    [
      { ...load, startPosition: 754 },
      { ...load, startPosition: 760 },
    ],
  );
  await until("the source is paused", () => source.taken.length === 2);
  assert.deepEqual(source.taken[0], { command: { type: "pause" }, from: "tv-2" });
  const nobody = await source.tv.devices.handoff("nobody", told);
  assert.deepEqual(nobody, { status: "device_unknown" });
});

test("what is made offline is sent while it lives, once, and never later", async (context) => {
  const household = newHousehold();
  const { tv: sender } = await television(context, household, "tv-1");
  const { taken, listen } = await television(context, household, "tv-2");
  listen();
  await sees(sender, "tv-2");
  // Each comes back on another connection, which says again what may have left.
  for (let turn = 0; turn < 10; turn += 1) {
    const status = sender.devices.send("tv-2", { type: "seek", positionSeconds: turn });
    if (turn % 2 === 0) sender.pause();
    sender.resume();
    assert.match(await status, /^(delivered|expired)$/);
  }
  const seeks = taken.map(({ command }) => command.type === "seek" && command.positionSeconds);
  assert.equal(new Set(seeks).size, taken.length, `twice: ${seeks}`);
  assert.ok(taken.length > 0);
  sender.pause();
  assert.equal(await sender.devices.send("tv-2", { type: "stop" }), "expired");
  sender.resume();
  await sees(sender, "tv-2");
  assert.equal(await sender.devices.send("tv-2", { type: "play" }), "delivered");
  assert.equal(taken.at(-1)?.command.type, "play");
  assert.ok(!taken.some(({ command }) => command.type === "stop"), "the old one never came");
});

test("a command to a device that is not there is not kept for it", async (context) => {
  const household = newHousehold();
  const { tv: sender } = await television(context, household, "tv-1");
  const { tv: target } = await television(context, household, "tv-2");
  await sees(sender, "tv-2");
  await target.close();
  await eventually(sender, "it is gone", () =>
    sender.devices.list().some(({ device, isOnline }) => device === "tv-2" && !isOnline),
  );
  assert.equal(await sender.devices.send("tv-2", { type: "stop" }), "offline");
  const [, gone] = sender.devices.list();
  const lastSeen = gone?.lastSeen ?? 0;
  assert.ok(Math.abs(Date.now() - lastSeen) < 60_000, String(lastSeen));
  const again = await television(context, household, "tv-2");
  again.listen();
  await sees(sender, "tv-2");
  assert.equal(await sender.devices.send("tv-2", { type: "play" }), "delivered");
  assert.deepEqual(
    again.taken.map(({ command }) => command.type),
    ["play"],
  );
});

test("of several listeners one that has done it is enough, though another never answers", async (context) => {
  const household = newHousehold();
  const { tv: sender } = await television(context, household, "tv-1");
  const { tv, taken, listen } = await television(context, household, "tv-2");
  tv.devices.onCommand(() => "not_supported");
  tv.devices.onCommand(() => new Promise(() => undefined));
  listen();
  await sees(sender, "tv-2");
  assert.equal(await sender.devices.send("tv-2", { type: "pause" }), "delivered");
  assert.equal(taken.length, 1);
});

test("a logout that is refused takes no listener away", async (context) => {
  const household = newHousehold();
  const storage = new MemoryStorage();
  Object.defineProperty(storage, "destroy", { value: undefined });
  const { tv: sender } = await television(context, household, "tv-1");
  const { tv, taken, listen } = await television(context, household, "tv-2", { storage });
  listen();
  await sees(sender, "tv-2");
  await assert.rejects(tv.destroy(), { code: "invalid_option" });
  assert.equal(await sender.devices.send("tv-2", { type: "pause" }), "delivered");
  assert.equal(taken.length, 1);
});

test("a closed client says so to whoever waits", async (context) => {
  const { tv } = await television(context, newHousehold(), "tv-1");
  tv.pause();
  const waiting = tv.devices.send("tv-1", { type: "play" });
  const refused = assert.rejects(waiting, { code: "closed" });
  await tv.close();
  await refused;
  assert.throws(() => tv.devices.list(), { code: "closed" });
  await assert.rejects(tv.devices.send("tv-1", { type: "play" }), { code: "closed" });
});
