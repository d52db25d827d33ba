// Two tabs of one storage in one process: Node has a BroadcastChannel, and the storage is ours, so that
// its commits take as long as a test wants.
import assert from "node:assert/strict";
import { test } from "node:test";
import { OmegaError } from "omega-sync";
import { open } from "omega-sync/patterns";
import WebSocket from "ws";
import { Disk, leaderAndFollower, NOWHERE } from "./disk.mjs";
import { Edge } from "./edge.mjs";
import { title } from "./titles.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually } from "./until.mjs";

test("what changes while a commit is under way is told once it is stored", async (context) => {
  const disk = new Disk();
  const { leader, follower } = await leaderAndFollower(context, disk);
  /** What an app shows that draws anew when it is told of a change. @type {string[]} */
  let shown = [];
  follower.on("change", () => {
    shown = titles(follower);
  });
  /** @type {Array<() => void>} */
  const waiting = [];
  disk.gate = () => new Promise((resolve) => void waiting.push(resolve));
  const first = leader.watchlist.add("one");
  await Promise.resolve().then(() => undefined);
  assert.equal(waiting.length, 1, "the first commit is under way");
  const second = leader.watchlist.add("two");
  waiting.shift()?.();
  await first;
  await eventually(follower, "the first", () => shown.join() === "before,one");
  waiting.shift()?.();
  await second;
  disk.gate = () => Promise.resolve();
  await eventually(follower, "the second", () => shown.join() === "before,one,two");
});

test("a follower that missed what was stored looks when it hears of the leader", async (context) => {
  const { leader, follower } = await leaderAndFollower(context, new Disk());
  const post = BroadcastChannel.prototype.postMessage;
  context.after(() => {
    BroadcastChannel.prototype.postMessage = post;
  });
  let missed = 0;
  BroadcastChannel.prototype.postMessage = function (message) {
    if (message.kind === "stored") missed += 1;
    else post.call(this, message);
  };
  await leader.watchlist.add("missed");
  await eventually(follower, "it", () => titles(follower).join() === "before,missed");
  assert.equal(missed, 1);
});

test("the lists of a profile that went unheard are told to be different", async (context) => {
  const { leader, follower } = await leaderAndFollower(context, new Disk());
  const kid = await leader.profiles.create("Kid");
  await leader.forProfile(kid).watchlist.add("x");
  const lists = follower.forProfile(kid);
  await eventually(follower, "it is there", () => lists.watchlist.items().length === 1);
  const post = BroadcastChannel.prototype.postMessage;
  context.after(() => {
    BroadcastChannel.prototype.postMessage = post;
  });
  BroadcastChannel.prototype.postMessage = function (message) {
    if (message.kind !== "stored") post.call(this, message);
  };
  /** @type {string[]} */
  const told = [];
  follower.on("change", ({ what, profile }) => told.push(`${what} ${profile}`));
  await leader.profiles.delete(kid);
  const wanted = ["watchlist", "progress"].map((what) => `${what} ${kid}`);
  await eventually(follower, "it is told", () => wanted.every((one) => told.includes(one)));
  assert.deepEqual(lists.watchlist.items(), []);
});

test("writes to the next leader, before and after it leads, are all made", async (context) => {
  const disk = new Disk();
  const said = heard(context);
  const storages = [disk.open(), disk.open(), disk.open()];
  const tabs = [];
  for (const storage of storages) tabs.push(await openTv(context, NOWHERE, "", "tv", { storage }));
  const [leader, follower, next] = tabs;
  assert.ok(leader && follower && next && storages[1] && storages[2]);
  leader.pause();
  for (const tab of [follower, next])
    await eventually(tab, "it follows", () => tab.status().state === "offline");
  const [loads, go] = [gate(), gate()];
  const { load } = storages[2];
  storages[2].load = async () => {
    loads.open();
    await go.opened;
    return load();
  };
  // This one would be slower still.
  storages[1].load = () => new Promise(() => undefined);
  leader.close();
  await loads.opened;
  const asked = said("write");
  const first = follower.watchlist.add("while nobody leads");
  await asked;
  /** @type {Promise<void> | undefined} */
  let second;
  next.on("change", () => {
    if (next.status().role === "leader") second ??= follower.watchlist.add("to nobody yet");
  });
  go.open();
  await first;
  await second;
  assert.deepEqual(titles(next), ["to nobody yet", "while nobody leads"]);
});

test("a follower's write is made by the next leader when this one closes", async (context) => {
  const disk = new Disk();
  const { leader, follower } = await leaderAndFollower(context, disk);
  const said = heard(context);
  const stored = gate();
  disk.gate = () => stored.opened;
  let asked = said("write");
  const one = follower.watchlist.add("one");
  await asked;
  const closed = leader.close();
  asked = said("write");
  const two = follower.watchlist.add("two");
  await asked;
  stored.open();
  await Promise.all([one, closed, two]);
  assert.deepEqual(titles(follower), ["before", "one", "two"]);
  assert.equal(follower.status().role, "leader");
});

test("after a refusal that was not heard the writes behind it are made, and no other", async (context) => {
  const { leader, follower } = await leaderAndFollower(context, new Disk());
  const post = BroadcastChannel.prototype.postMessage;
  context.after(() => {
    BroadcastChannel.prototype.postMessage = post;
  });
  let lost = 0;
  BroadcastChannel.prototype.postMessage = function (message) {
    if (message.kind !== "done" || message.code === undefined || lost > 0) {
      post.call(this, message);
      return;
    }
    lost += 1;
    // Whoever says something of itself asks for all that it waits for.
    setImmediate(() => follower.devices.onCommand(() => undefined));
  };
  const wrong = follower.watchlist.add("");
  const right = follower.watchlist.add("right");
  await assert.rejects(wrong, { code: "invalid_content_id" });
  await right;
  assert.equal(lost, 1);
  assert.deepEqual(titles(leader), ["before", "right"]);
});

test("several refusals of one commit that were not heard are told when it is asked again", async (context) => {
  const disk = new Disk();
  const { leader, follower } = await leaderAndFollower(context, disk);
  const full = gate();
  disk.gate = () => full.opened;
  // A commit is under way, so that what follows becomes one.
  const slow = leader.watchlist.add("slow");
  const post = BroadcastChannel.prototype.postMessage;
  context.after(() => {
    BroadcastChannel.prototype.postMessage = post;
  });
  let asked = 0;
  let lost = 0;
  const [allAsked, allLost] = [gate(), gate()];
  BroadcastChannel.prototype.postMessage = function (message) {
    if (message.kind === "done" && message.code !== undefined && lost < 3) {
      lost += 1;
      if (lost === 3) allLost.open();
      return;
    }
    post.call(this, message);
    // The leader says so when it has begun the write.
    if (message.kind === "heard") asked += 1;
    if (asked === 3) allAsked.open();
  };
  const writes = ["one", "two", "three"].map((title) => follower.watchlist.add(title));
  const ends = Promise.allSettled(writes);
  await allAsked.opened;
  disk.gate = () => Promise.reject(new OmegaError("storage_full", "full"));
  full.open();
  await slow;
  await allLost.opened;
  disk.gate = () => Promise.resolve();
  for (const end of await ends) {
    assert.equal(end.status === "rejected" && end.reason.code, "storage_full");
  }
  await follower.watchlist.add("later");
  assert.ok(titles(leader).includes("later"));
});

test("a tab that asked who is here goes on hearing it from the next leader", async (context) => {
  const edge = await Edge.start();
  context.after(() => edge.dispose());
  const home = newHousehold();
  const phone = await openTv(context, edge, home, "phone");
  await phone.devices.describe({ deviceType: "phone" });
  const disk = new Disk();
  const storages = [disk.open(), disk.open(), disk.open()];
  const tabs = [];
  for (const storage of storages) tabs.push(await openTv(context, edge, home, "tv", { storage }));
  const [leader, follower, next] = tabs;
  assert.ok(leader && follower && next && storages[1]);
  const isHere = () => follower.devices.list().some((at) => at.device === "phone" && at.isOnline);
  await eventually(follower, "the phone is here", isHere);
  // The other one will lead.
  storages[1].load = () => new Promise(() => undefined);
  await leader.close();
  const leads = () => next.status().role === "leader" && next.status().state === "live";
  await eventually(next, "it leads", leads);
  await eventually(follower, "it is live", isHere);
  await phone.close();
  await eventually(follower, "the phone is gone", () => !isHere());
});

/** What somebody waits for. */
function gate() {
  let open = () => {};
  /** @type {Promise<void>} */
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/**
 * @param {import("node:test").TestContext} context
 * @returns {(kind: string) => Promise<void>} waits until the next message of a kind was delivered
 */
function heard(context) {
  const post = BroadcastChannel.prototype.postMessage;
  context.after(() => {
    BroadcastChannel.prototype.postMessage = post;
  });
  return async (kind) => {
    const sent = gate();
    BroadcastChannel.prototype.postMessage = function (message) {
      post.call(this, message);
      if (message.kind === kind) sent.open();
    };
    await sent.opened;
    // Messages are delivered in their order: after one that is sent now it is there.
    const [one, other] = [new BroadcastChannel("after"), new BroadcastChannel("after")];
    await new Promise((resolve) => {
      other.onmessage = resolve;
      one.postMessage({});
    });
    for (const channel of [one, other]) channel.close();
  };
}

test("a command that its sender was told has expired is not carried out by the next leader", async (context) => {
  const edge = await Edge.start();
  context.after(() => edge.dispose());
  const home = newHousehold();
  const disk = new Disk();
  const storages = [disk.open(), disk.open()];
  const tabs = [];
  for (const storage of storages) {
    const tab = await openTv(context, edge, home, "tv1", { storage });
    await eventually(tab, "it is live", () => tab.status().state === "live");
    tabs.push(tab);
  }
  const [leader, follower] = tabs;
  const other = await openTv(context, edge, home, "tv2");
  await eventually(other, "it is live", () => other.status().state === "live");
  await other.devices.describe({
    ...{ name: "other", deviceType: "tv" },
    capabilities: { remoteControllable: true },
  });
  await other.flushed();
  /** @type {string[]} */
  const carriedOut = [];
  other.devices.onCommand(({ command }) => void carriedOut.push(command.type));
  assert.ok(leader && follower && storages[1]);
  await eventually(follower, "the other", () => follower.devices.list().length > 0);
  const go = gate();
  const { load } = storages[1];
  storages[1].load = () => go.opened.then(load);
  await leader.close();
  assert.equal(await follower.devices.send("tv2", { type: "pause" }), "expired");
  go.open();
  await eventually(follower, "it leads", () => follower.status().role === "leader");
  await eventually(follower, "it is live", () => follower.status().state === "live");
  assert.equal(await follower.devices.send("tv2", { type: "play" }), "delivered");
  assert.deepEqual(carriedOut, ["play"]);
});

test("after a logout in another tab nothing of the taste can be read", async (context) => {
  const disk = new Disk();
  const tabs = [];
  for (let tab = 0; tab < 2; tab += 1) {
    const settings = { url: NOWHERE.address, device: "tv", token: async () => "token", WebSocket };
    const client = await open({ ...settings, storage: disk.open() });
    context.after(() => client.close());
    client.pause();
    await client.taste.record({ ...title("Drama", 1, 0), watched: 1 });
    assert.equal(client.taste.patterns().length, 1);
    tabs.push(client);
  }
  const [here, there] = tabs;
  assert.ok(here && there);
  await here.destroy();
  await eventually(there, "it hears", () => there.status().closeReason === "destroyed");
  for (const { taste } of tabs) {
    assert.throws(() => taste.patterns(), { code: "destroyed" });
    assert.throws(() => taste.viewed(), { code: "destroyed" });
  }
});

test("tabs that talk through a full localStorage hear nothing, and go on", async (context) => {
  const { BroadcastChannel } = globalThis;
  let refused = 0;
  const localStorage = {
    setItem: () => {
      refused += 1;
      throw new DOMException("it is full", "QuotaExceededError");
    },
  };
  Object.assign(globalThis, { BroadcastChannel: undefined, localStorage });
  Object.assign(globalThis, { addEventListener: () => {}, removeEventListener: () => {} });
  /** @type {import("omega-sync").Client[]} */
  const tabs = [];
  context.after(async () => {
    for (const tab of tabs) await tab.close();
    Object.assign(globalThis, { BroadcastChannel });
    for (const name of ["localStorage", "addEventListener", "removeEventListener"]) {
      Reflect.deleteProperty(globalThis, name);
    }
  });
  const disk = new Disk();
  const settings = { url: NOWHERE.address, device: "tv", token: async () => "token", WebSocket };
  for (let tab = 0; tab < 2; tab += 1) tabs.push(await open({ ...settings, storage: disk.open() }));
  const second = /** @type {import("omega-sync").Client} */ (tabs[1]);
  await second.watchlist.add("one");
  assert.ok(refused > 0, `${refused} messages`);
  assert.deepEqual(titles(second), ["one"]);
});
