// What a client counts, and its report of how a reconnect went, on the real server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @typedef {import("omega-sync").Client} Client */
/** @typedef {import("omega-sync").ReplayReport} ReplayReport */

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** Everything that a client reports from now on. @param {Client} tv @returns {ReplayReport[]} */
function reportsOf(tv) {
  /** @type {ReplayReport[]} */
  const reports = [];
  tv.on("replay", (report) => reports.push(report));
  return reports;
}

/** @param {Client} tv @param {ReplayReport[]} reports @param {number} count */
function reported(tv, reports, count) {
  return eventually(tv, `${count} reports`, () => reports.length >= count);
}

const NOTHING = { waited: 0, sent: 0, accepted: 0, coalesced: 0, rejected: 0, remaining: 0 };

test("offline: ten positions of a film, a write to a deleted profile; back: the report says all", async (context) => {
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv-living");
  const phone = await openTv(context, edge, household, "phone");
  const reports = reportsOf(tv);
  const kids = await phone.profiles.create("Kids");
  await phone.flushed();
  await eventually(tv, "the profile", () => tv.profiles.list().length === 2);
  await reported(tv, reports, 1);
  assert.deepEqual(reports, [{ ...NOTHING, reasons: {} }], "nothing waited");

  tv.pause();
  for (let minute = 1; minute <= 10; minute += 1) {
    await tv.progress.set("tmdb:1", { positionSeconds: 60 * minute, durationSeconds: 8_160 });
  }
  await tv.watchlist.add("tmdb:2");
  await tv.watchlist.add("tmdb:3");
  await tv.watchlist.remove("tmdb:3");
  await tv.forProfile(kids).watchlist.add("tmdb:4");
  assert.equal(tv.pending, 3);
  await phone.profiles.delete(kids);
  await phone.flushed();

  tv.resume();
  await tv.flushed();
  await reported(tv, reports, 2);
  const report = {
    ...{ waited: 14, sent: 3, accepted: 2, coalesced: 11, rejected: 1, remaining: 0 },
    reasons: { profile_deleted: 1 },
  };
  assert.deepEqual(reports[1], report);
  const metrics = tv.metrics();
  assert.deepEqual(metrics.replay, report);
  assert.deepEqual(
    (await tv.takeRejected()).map(({ reason, subject }) => [reason, subject]),
    [["profile_deleted", "tmdb:4"]],
  );
  const { operations, coalesced, sent, retried, acknowledged, rejected } = metrics;
  assert.deepEqual(
    { operations, coalesced, sent, retried, acknowledged, rejected },
    { operations: 14, coalesced: 11, sent: 3, retried: 0, acknowledged: 3, rejected: 1 },
  );
  await eventually(phone, "the last position", () => phone.progress.resume("tmdb:1") === 600);
});

test("bytes: plain records before, frames after; nothing is claimed for compression", async (context) => {
  const tv = await openTv(context, edge, newHousehold(), "tv-living");
  assert.equal(tv.metrics().savedPercent, 0, "nothing was sent");
  await eventually(tv, "live", () => tv.status().state === "live");
  await tv.progress.set("tmdb:1", { positionSeconds: 0, durationSeconds: 8_160 });
  await tv.flushed();
  const first = tv.metrics();
  // Kind 1, time 8, profile 8, title 1 + 6, state 1, position 4, duration 4.
  assert.equal(first.bytesBefore, 33);
  for (let at = 1; at <= 20; at += 1) {
    await tv.progress.set("tmdb:1", { positionSeconds: 10 * at, durationSeconds: 8_160 });
    await tv.flushed();
  }
  const { bytesBefore, bytesAfterDelta, bytesAfterCompression, savedPercent } = tv.metrics();
  assert.equal(bytesBefore, 21 * 33);
  assert.equal(bytesAfterCompression, bytesAfterDelta);
  assert.equal(savedPercent, Math.trunc((100 * (bytesBefore - bytesAfterDelta)) / bytesBefore));
  // These positions come faster than a title plays, which costs more than the usual update.
  assert.ok(savedPercent > 50, `${savedPercent} %`);
});

test("a connection that ends before the answers reports what remains; the next one the rest", async (context) => {
  const server = await Edge.start();
  context.after(() => server.dispose());
  const household = newHousehold();
  const tv = await openTv(context, server, household, "tv-living");
  const reports = reportsOf(tv);
  await reported(tv, reports, 1);
  tv.pause();
  for (let at = 0; at < 5; at += 1) await tv.watchlist.add(`tmdb:${at}`);
  tv.resume();
  // The welcome arrives and five operations leave; then the cable is pulled.
  const syncing = new Promise((resolve) => {
    const stop = tv.on("status", () => {
      if (tv.metrics().sent < 5) return;
      stop();
      resolve(tv.pause());
    });
  });
  await syncing;
  await reported(tv, reports, 2);
  assert.equal(reports[1]?.waited, 5);
  assert.equal(reports[1]?.sent, 5);
  assert.equal(reports[1]?.remaining, 5);
  assert.equal(reports[1]?.accepted, 0);
  tv.resume();
  await tv.flushed();
  await reported(tv, reports, 3);
  const { waited, accepted, remaining } = reports[2] ?? NOTHING;
  assert.deepEqual({ waited, accepted, remaining }, { waited: 5, accepted: 5, remaining: 0 });
  const { sent, retried, acknowledged } = tv.metrics();
  assert.equal(acknowledged, 5);
  assert.equal(retried, sent - 5);
  assert.deepEqual(titles(tv).length, 5);
});

test("a restart forgets the counts, not what waits", async (context) => {
  const { MemoryStorage } = await import("omega-sync");
  const storage = new MemoryStorage();
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv-living", { storage });
  tv.pause();
  await tv.watchlist.add("tmdb:1");
  await tv.close();
  assert.equal(tv.metrics().operations, 1);
  const again = await openTv(context, edge, household, "tv-living", { storage });
  const reports = reportsOf(again);
  assert.equal(again.metrics().operations, 0);
  assert.equal(again.metrics().replay, undefined);
  await reported(again, reports, 1);
  const report = { ...NOTHING, waited: 1, sent: 1, accepted: 1, reasons: {} };
  assert.deepEqual(reports, [report]);
});
