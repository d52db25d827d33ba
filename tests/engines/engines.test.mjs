// The package on old TV engines, as a packaged app (file://) and over http, against the real server:
// everything that pages/household.js does, a power cut in the middle of it, and the table of docs/tv.md.
import assert from "node:assert/strict";
import { after, before, describe, it, test } from "node:test";
import { FEATURES, ROWS, Stage, table, visitTwice, WAYS, written } from "./matrix.mjs";
import { oldEngine, problemOf } from "./old.mjs";

/** As many engines at once as there are cores on the smallest machine this runs on. */
const SIDE_BY_SIDE = 2;

/** Where nobody reads why an engine was left out. */
const MUST_BE_THERE = process.env.CI === "true";

/** @type {Stage} */
let stage;
/** @type {import("./matrix.mjs").Result[]} */
const results = [];

before(async () => {
  stage = await Stage.open();
});
after(() => stage.close());

/** Why an engine can't run on this machine, if so. @param {string} name */
function absent(name) {
  const old = oldEngine(name);
  return old === undefined ? undefined : problemOf(old);
}

describe("engines", { concurrency: SIDE_BY_SIDE }, () => {
  for (const { name } of ROWS) {
    for (const way of WAYS) {
      const problem = absent(name);
      it(`${name}, ${way}`, {
        skip: MUST_BE_THERE ? false : (problem ?? false),
      }, async (context) => {
        assert.equal(problem, undefined);
        const result = await visitTwice(
          /** @type {import("node:test").TestContext} */ (context),
          stage,
          name,
          way,
        );
        results.push(result);
        assert.deepEqual(result.works, FEATURES, result.trouble);
        assert.equal(result.trouble, "");
      });
    }
  }
});

/** The engines that Worker mode runs on here: the oldest, one whose Workers have no storage, the newest. */
const WITH_WORKER = ["m64", "m79", "m119"];

describe("engines in a Worker", { concurrency: SIDE_BY_SIDE }, () => {
  for (const name of WITH_WORKER) {
    for (const way of WAYS) {
      it(`${name}, ${way}`, async (context) => {
        const given = /** @type {import("node:test").TestContext} */ (context);
        const result = await visitTwice(given, stage, name, way, "worker");
        assert.deepEqual(result.works, FEATURES, result.trouble);
        assert.equal(result.trouble, "");
      });
    }
  }
});

/** The ES modules, which engines can only load over http: the oldest and the newest. */
describe("ES modules on engines", { concurrency: SIDE_BY_SIDE }, () => {
  for (const name of ["m64", "m119"]) {
    for (const build of /** @type {const} */ (["index", "inline"])) {
      it(`${name}, ${build}.js`, async (context) => {
        const given = /** @type {import("node:test").TestContext} */ (context);
        const result = await visitTwice(given, stage, name, "http", build);
        assert.deepEqual(result.works, FEATURES, result.trouble);
        assert.equal(result.trouble, "");
      });
    }
  }
});

test("the table in docs/tv.md says what was seen just now", () => {
  const present = table(results);
  const absentNames = ROWS.map(({ name }) => name).filter((name) => absent(name) !== undefined);
  const compared = written().filter(
    (line) => !absentNames.some((name) => line.startsWith(`| ${name} |`)),
  );
  assert.deepEqual(compared, present, "npm run bench -- engines --write writes it anew");
});
