// Taste and its storages: tabs that take turns, disks that are full or broken.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as after } from "node:timers/promises";
import { MemoryStorage, OmegaError, open } from "omega-sync/patterns";
import WebSocket from "ws";
import { Edge } from "./edge.mjs";
import { FakeTime } from "./fake-time.mjs";
import { offline, refusedWith, storages } from "./taste-tv.mjs";
import { title, titles } from "./titles.mjs";
import { codeOf, newHousehold } from "./tv.mjs";
import { eventually, until, WAIT_MS } from "./until.mjs";

/** Longer than it takes until a failed commit is tried again, in milliseconds. */
const RETRY_MS = 5_001;

/**
 * A device whose small storage is full: one viewing waits to be stored.
 * @param {import("node:test").TestContext} context
 */
async function full(context) {
  const broken = new BrokenStorage();
  const kept = /** @type {const} */ ([broken, new MemoryStorage()]);
  const tv = await offline(context, kept);
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  broken.fails = true;
  const time = new FakeTime(Date.now());
  time.take();
  context.after(() => time.release());
  const viewing = tv.taste.record({ content: "Drama:1", watched: 1 });
  await assert.rejects(viewing, refusedWith("storage_full"));
  return { broken, kept, time, tv };
}

test("two instances on one storage take turns, and none writes over the other", async (context) => {
  const kept = sharedStorages();
  const one = await offline(context, [kept.open(0), kept.open(1)]);
  await one.taste.learnTitles(titles("Drama", 1, 0, 30));
  await one.taste.record({ content: "Drama:1", watched: 1 });
  const two = await offline(context, [kept.open(0), kept.open(1)]);
  await two.taste.record({ content: "Drama:2", watched: 1 });
  await one.taste.record({ content: "Drama:3", watched: 1 });
  await two.taste.record({ content: "Drama:4", watched: 1 });
  assert.equal(two.taste.patterns()[0]?.sampleCount, 4);
  const last = await offline(context, [kept.open(0), kept.open(1)]);
  assert.equal(last.taste.patterns()[0]?.sampleCount, 4);
});

test("a viewing that is stored when another instance takes over counts once", async (context) => {
  const kept = sharedStorages();
  const small = kept.open(0);
  const tv = await offline(context, [small, kept.open(1)]);
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  await tv.taste.record({ content: "Drama:1", watched: 1 });
  const { commit } = small;
  small.commit = async (change) => {
    small.commit = commit;
    await commit(change);
    // Another instance opens both just now.
    await Promise.all([kept.open(0).load(), kept.open(1).load()]);
  };
  await Promise.all([
    tv.taste.record({
      content: "Drama:40",
      watched: 1,
      genre: "Drama",
      embedding: title("Drama", 1, 40).embedding,
    }),
    tv.taste.learnTitles(titles("Crime", 2, 0, 5)),
  ]);
  assert.equal(tv.taste.patterns()[0]?.sampleCount, 2);
  assert.equal(tv.taste.status().titles, 35);
  const last = await offline(context, [kept.open(0), kept.open(1)]);
  assert.deepEqual([last.taste.patterns()[0]?.sampleCount, last.taste.status().titles], [2, 35]);
});

test("a failing storage rejects the write, and stores it when it works again", async (context) => {
  const kept = storages();
  const broken = new BrokenStorage();
  const tv = await offline(context, [broken, kept[1]]);
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  /** @type {OmegaError[]} */
  const errors = [];
  tv.on("error", (error) => errors.push(error));
  broken.fails = true;
  await assert.rejects(
    tv.taste.record({ content: "Drama:1", watched: 1 }),
    refusedWith("storage_full"),
  );
  assert.deepEqual(
    errors.map(({ code }) => code).filter((code) => code !== "token_failed"),
    ["storage_full"],
  );
  assert.equal(tv.taste.patterns()[0]?.sampleCount, 1, "it is visible");
  broken.fails = false;
  await tv.taste.record({ content: "Drama:2", watched: 1 });
  await tv.close();
  const again = await offline(context, [broken, kept[1]]);
  assert.equal(again.taste.patterns()[0]?.sampleCount, 2, "both are stored");
});

test("what could not be stored is tried again and again, without another write", async (context) => {
  const { broken, kept, time, tv } = await full(context);
  for (const tries of [1, 2, 3]) {
    assert.equal(broken.tries, tries);
    await time.pass(RETRY_MS);
  }
  broken.fails = false;
  await time.pass(RETRY_MS);
  assert.equal(time.timers, 0, "it is not tried any more");
  // Not by the end of the first one: it goes on.
  const again = await offline(context, kept);
  assert.equal(again.taste.patterns()[0]?.sampleCount, 1);
  await tv.close();
});

test("what could not be stored is tried once more at the end", async (context) => {
  const { broken, kept, time, tv } = await full(context);
  broken.fails = false;
  await tv.close();
  assert.equal(time.timers, 0);
  const again = await offline(context, kept);
  assert.equal(again.taste.patterns()[0]?.sampleCount, 1);
});

test("once storing works again patterns are exchanged as before", async (context) => {
  const edge = await Edge.start();
  context.after(() => edge.dispose());
  const household = newHousehold();
  const broken = new BrokenStorage();
  const tv = await open({
    url: edge.address,
    device: "tv",
    token: async () => edge.token(household, "tv"),
    storage: "memory",
    WebSocket: /** @type {any} */ (WebSocket),
    taste: { storages: [broken, new MemoryStorage()] },
  });
  context.after(() => tv.close());
  await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
  await eventually(tv, "live", () => tv.status().state === "live");
  const sync = () => Promise.race([tv.taste.sync(), after(WAIT_MS, "never", { ref: false })]);
  assert.equal(await sync(), "ok");
  const fail = async () => {
    broken.fails = true;
    const viewing = tv.taste.record({ content: "Drama:1", watched: 1 });
    await assert.rejects(viewing, refusedWith("storage_full"));
    await assert.rejects(sync(), refusedWith("storage_full"));
    broken.fails = false;
  };
  await fail();
  const synced = () =>
    sync()
      .then((how) => how === "ok")
      .catch(() => false);
  await until("synced, by itself", synced);
  await fail();
  await tv.taste.record({ content: "Drama:2", watched: 1 });
  assert.equal(await sync(), "ok", "as soon as a write is stored");
});

test("nothing is written over another instance whose records can't be read now", async (context) => {
  const kept = sharedStorages();
  const [small, large] = [kept.open(0), kept.open(1)];
  const one = await offline(context, [small, large]);
  await one.taste.learnTitles(titles("Drama", 1, 0, 30));
  await one.taste.record({ content: "Drama:1", watched: 1 });
  const two = await offline(context, [kept.open(0), kept.open(1)]);
  await two.taste.record({ content: "Drama:2", watched: 1 });
  const { load } = large;
  large.load = () => Promise.reject(new OmegaError("storage_failed", "the disk"));
  const lost = one.taste.record({ content: "Drama:3", watched: 1 });
  await assert.rejects(lost, refusedWith("storage_failed"));
  large.load = load;
  await one.taste.record({ content: "Drama:4", watched: 1 });
  const viewed = one.taste.viewed().map(({ content }) => content);
  assert.deepEqual(viewed, ["Drama:1", "Drama:2", "Drama:4"]);
  const last = await offline(context, [kept.open(0), kept.open(1)]);
  assert.deepEqual(last.taste.viewed(), one.taste.viewed());
});

for (const code of /** @type {const} */ (["storage_failed", "storage_full"])) {
  test(`taste that cannot be read (${code}) lasts until the end, and the household opens`, async (context) => {
    const kept = storages();
    let erased = 0;
    kept[0].load = () => Promise.reject(new OmegaError(code, "the disk"));
    kept[0].destroy = async () => {
      erased += 1;
    };
    const tv = await offline(context, kept);
    /** @type {OmegaError[]} */
    const errors = [];
    tv.on("error", (error) => errors.push(error));
    const [told] = errors.filter((error) => error.code !== "token_failed");
    assert.equal(told?.code, "storage_memory");
    assert.equal(codeOf(told?.cause), code);
    await tv.watchlist.add("film");
    await tv.taste.learnTitles(titles("Drama", 1, 0, 30));
    await tv.taste.record({ content: "Drama:1", watched: 1 });
    assert.equal(tv.taste.patterns()[0]?.sampleCount, 1);
    assert.deepEqual(await kept[1].load(), [], "what could not be read is left as it is");
    await tv.destroy();
    assert.equal(erased, 1, "a logout erases it");
  });
}

test("an `open` that is refused lets both storages go", async (context) => {
  for (const at of [0, 1]) {
    const kept = storages();
    const closed = [0, 0];
    kept.forEach((storage, which) => {
      storage.close = () => {
        closed[which] = Number(closed[which]) + 1;
      };
    });
    const newer = kept[at] ?? assert.fail();
    newer.load = () => Promise.reject(new OmegaError("storage_newer", "of a later version"));
    await assert.rejects(offline(context, kept), refusedWith("storage_newer"));
    assert.deepEqual(closed, [1, 1]);
  }
});

/** Storages that several instances open, as IndexedDB is: the last one to load may write. */
function sharedStorages() {
  const inner = storages();
  const leader = [0, 0];
  let opened = 0;
  return {
    /** @param {0 | 1} which @returns {MemoryStorage} */
    open(which) {
      let own = 0;
      const { load, commit } = inner[which];
      const shared = new MemoryStorage();
      shared.load = () => {
        opened += 1;
        own = opened;
        leader[which] = own;
        return load.call(inner[which]);
      };
      shared.commit = (change) => {
        if (leader[which] !== own) return Promise.reject(new OmegaError("superseded", "later one"));
        return commit.call(inner[which], change);
      };
      return shared;
    },
  };
}

class BrokenStorage extends MemoryStorage {
  fails = false;
  /** Commits that failed. */
  tries = 0;

  /** @param {import("omega-sync/patterns").StorageChange} change @returns {Promise<void>} */
  commit(change) {
    if (!this.fails) return super.commit(change);
    this.tries += 1;
    return Promise.reject(new OmegaError("storage_full", "no room"));
  }
}
