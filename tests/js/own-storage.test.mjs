// One storage of the app's own in the hands of two clients: the later one has it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemoryStorage } from "omega-sync";
import { NOWHERE } from "./disk.mjs";
import { Edge } from "./edge.mjs";
import { codeOf, newHousehold, openTv, titles } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

test("who opens a storage that is in use takes it over, and the device goes on syncing", async (context) => {
  const household = newHousehold();
  const storage = new MemoryStorage();
  const first = await openTv(context, edge, household, "tv", { storage });
  await first.watchlist.add("of-the-first");
  await first.syncNow();
  /** @type {string[]} */
  const told = [];
  first.on("error", ({ code }) => told.push(code));

  const second = await openTv(context, edge, household, "tv", { storage });
  assert.equal(await first.watchlist.add("too-late").catch(codeOf), "superseded");
  assert.deepEqual(told, ["superseded"]);
  const { state, closeReason } = first.status();
  assert.deepEqual([state, closeReason], ["stopped", "superseded"]);
  // Nor does it release what the other one uses.
  await first.close();
  await second.watchlist.add("of-the-second");
  await second.syncNow();
  await second.close();

  const again = await openTv(context, edge, household, "tv", { storage });
  await again.watchlist.add("later");
  await again.syncNow();
  const other = await openTv(context, edge, household, "tv-other");
  const all = ["later", "of-the-first", "of-the-second"];
  await eventually(other, "everything is there", () => titles(other).join() === all.join());
});

test("opened twice at once, or closed while it is opened again, it loses no write", async (context) => {
  const kept = new MemoryStorage();
  let closed = 0;
  /** @type {(() => void) | undefined} what a commit waits for */
  let store;
  let holds = false;
  /** @type {import("omega-sync").Storage} */
  const storage = {
    kind: "ours",
    load: () => kept.load(),
    commit: async (change) => {
      if (holds) await new Promise((resolve) => (store = () => resolve(undefined)));
      return kept.commit(change);
    },
    aside: () => kept.aside(),
    close: () => {
      closed += 1;
    },
  };
  const options = { storage };
  const [first, second] = await Promise.all([
    openTv(context, NOWHERE, "", "tv", options),
    openTv(context, NOWHERE, "", "tv", options),
  ]);
  await first.close();
  assert.equal(closed, 0);
  await second.watchlist.add("stored");

  holds = true;
  const write = second.watchlist.add("slow");
  await until("it is being stored", () => store !== undefined);
  const ended = second.close();
  const opening = openTv(context, NOWHERE, "", "tv", options);
  holds = false;
  store?.();
  await write;
  await ended;
  const third = await opening;
  assert.deepEqual(titles(third), ["slow", "stored"]);
});
