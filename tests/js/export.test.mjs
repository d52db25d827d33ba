// `exportData`: everything that a device holds of its household, as plain data, unsent writes included.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

test("an export has what was synced and what was not, of every profile, and survives JSON", async (context) => {
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv");
  const phone = await openTv(context, edge, household, "phone");
  await phone.devices.describe({ name: "Phone", deviceType: "phone" });
  await phone.watchlist.add("theirs");
  const gone = await phone.profiles.create("Gone");
  await phone.flushed();
  await eventually(tv, "the profile", () => tv.profiles.list().length === 2);
  await eventually(tv, "the title", () => tv.watchlist.has("theirs"));
  await eventually(tv, "the device", () => tv.devices.list().length === 1);

  // One write is refused; then some wait that the server never hears of.
  tv.pause();
  await tv.forProfile(gone).watchlist.add("refused");
  await phone.profiles.delete(gone);
  await phone.flushed();
  tv.resume();
  await eventually(tv, "the refusal", () => tv.rejected().length === 1);
  await tv.flushed();
  tv.pause();
  const kids = await tv.profiles.create("Kids");
  await tv.watchlist.add("mine");
  await tv.progress.set("mine", { positionSeconds: 60, durationSeconds: 600, state: "paused" });
  await tv.progress.set("seen", { positionSeconds: 600, durationSeconds: 600, state: "finished" });
  await tv.forProfile(kids).watchlist.add("cartoon");

  const before = Date.now();
  const exported = await tv.exportData();
  assert.deepEqual(JSON.parse(JSON.stringify(exported)), exported, "plain data and nothing else");
  const { profiles, devices, exportedMs, ...rest } = exported;
  assert.ok(exportedMs >= before && exportedMs <= Date.now());
  assert.deepEqual(rest, {
    ...{ version: 1, device: "tv", replica: tv.status().replica, household, pending: 5 },
    rejected: [
      { kind: "watchlist_add", profile: gone, subject: "refused", reason: "profile_deleted" },
    ],
    aside: [],
  });
  const lists = profiles.map(({ id, name, watchlist, progress }) => ({
    ...{ id, name },
    watchlist: watchlist.map(({ content }) => content).sort(),
    progress: progress.map(({ content, positionSeconds, durationSeconds, state }) =>
      [content, positionSeconds, durationSeconds, state].join(),
    ),
  }));
  assert.deepEqual(lists, [
    {
      ...{ id: "", name: lists[0]?.name },
      ...{
        watchlist: ["mine", "theirs"],
        progress: ["mine,60,600,paused", "seen,600,600,finished"],
      },
    },
    { id: kids, name: "Kids", watchlist: ["cartoon"], progress: [] },
  ]);
  assert.deepEqual(
    devices.map(({ device, name, deviceType }) => [device, name, deviceType]),
    [["phone", "Phone", "phone"]],
  );
});
