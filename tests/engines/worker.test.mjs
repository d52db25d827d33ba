// Worker mode where something is missing or in the way; the whole of it is in engines.test.mjs.
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { freePort } from "../js/edge.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { Stage } from "./matrix.mjs";
import { runPage } from "./run.mjs";

/** Loaded machines are slow. */
const TIMEOUT_S = 60;
const SIDE_BY_SIDE = 2;
const DEVICE = "tv-worker";
const IIFE = /** @type {const} */ ("iife");

/** @type {Stage} */
let stage;

before(async () => {
  stage = await Stage.open();
});
after(() => stage.close());

/**
 * @param {string} engine @param {object} settings
 * @param {{profile?: string, build?: import("./matrix.mjs").Build, passed?: () => Promise<void>}} [more]
 */
async function visit(engine, settings, { profile, build = "worker", passed } = {}) {
  /** @type {string[]} */
  const lines = [];
  const { outcome, text } = await runPage({
    ...{ engine, timeoutS: TIMEOUT_S, log: (line) => void lines.push(line) },
    target: stage.address(engine, "file", { device: DEVICE, ...settings }, "worker.html", build),
    ...(profile === undefined ? {} : { profile }),
    ...(passed === undefined ? {} : { passed }),
  });
  assert.equal(outcome, "pass", [text, ...lines].join("\n"));
}

/** @param {string} household */
function online(household) {
  return { url: stage.edge.address, token: stage.edge.token(household, DEVICE) };
}

/** What a page with that task does. @param {import("node:test").TestContext} context @param {string} engine */
async function sends(
  context,
  engine,
  /** @type {string} */ task,
  /** @type {string} */ title,
  more = {},
) {
  const household = newHousehold();
  const other = await openTv(context, stage.edge, household, "tv-other");
  await visit(engine, { ...online(household), task, ...more });
  await eventually(other, title, () => other.watchlist.has(title));
}

describe("Worker mode", { concurrency: SIDE_BY_SIDE }, () => {
  for (const engine of ["m64", "m119"]) {
    it(`${engine}: where no Worker starts the engine runs in the page`, async (context) => {
      await sends(asTest(context), engine, "fallback", "tmdb:603");
    });

    for (const storage of ["indexeddb", "memory"]) {
      it(`${engine}: a Worker that died is replaced: ${storage}`, async (context) => {
        await sends(asTest(context), engine, "died", "tmdb:3", { storage });
      });
    }

    it(`${engine}: a page that hides sends what waits`, async (context) => {
      const household = newHousehold();
      const other = await openTv(asTest(context), stage.edge, household, "tv-other");
      const passed = () => eventually(other, "the title", () => other.watchlist.has("tmdb:hidden"));
      await visit(engine, { ...online(household), task: "hide" }, { passed });
    });

    it(`${engine}: what is paused at once does not connect`, async (context) => {
      const household = newHousehold();
      const other = await openTv(asTest(context), stage.edge, household, "tv-other");
      // The second time there is a storage that another tab could have.
      const page = { profile: mkdtempSync(join(stage.folder, "profile-")), build: IIFE };
      for (const task of ["store", "paused"])
        await visit(engine, { ...online(household), task }, page);
      await eventually(other, "its title", () => other.watchlist.has("tmdb:2"));
    });

    it(`${engine}: what was stored shows before there is an engine, and only then`, async () => {
      const url = `http://127.0.0.1:${await freePort()}`;
      const profile = mkdtempSync(join(stage.folder, "profile-"));
      for (const task of ["store", "other", "shown"])
        await visit(engine, { url, token: "", task }, { profile });
    });
  }
});

/** @param {unknown} context */
function asTest(context) {
  return /** @type {import("node:test").TestContext} */ (context);
}
