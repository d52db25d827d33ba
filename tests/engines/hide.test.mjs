// What was written last leaves with the page, on engines whose only way is a beacon.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { newHousehold, openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { Stage, WAYS } from "./matrix.mjs";
import { oldEngine, problemOf } from "./old.mjs";
import { runPage } from "./run.mjs";

/** Loaded machines are slow. */
const TIMEOUT_S = 60;
const SIDE_BY_SIDE = 2;
const DEVICE = "tv-old";
/** One without WebAssembly, and the oldest that has it. */
const ENGINES = ["m53", "m64"];

/** @type {Stage} */
let stage;

before(async () => {
  stage = await Stage.open();
});
after(() => stage.close());

describe("a page that goes away", { concurrency: SIDE_BY_SIDE }, () => {
  for (const engine of ENGINES) {
    const old = oldEngine(engine);
    const skip = process.env.CI !== "true" && old !== undefined && problemOf(old);
    for (const way of WAYS.filter((name) => name !== "file with access")) {
      it(`${engine}, ${way}`, { skip: skip || false }, async (context) => {
        const given = /** @type {import("node:test").TestContext} */ (context);
        const household = newHousehold();
        const phone = await openTv(given, stage.edge, household, "phone");
        const settings = {
          url: stage.edge.address,
          device: DEVICE,
          token: stage.edge.token(household, DEVICE),
        };
        /** @type {string[]} */
        const lines = [];
        const { outcome, text } = await runPage({
          ...{ engine, timeoutS: TIMEOUT_S, log: (line) => void lines.push(line) },
          target: stage.address(engine, way, settings, "hide.html"),
          passed: () => eventually(phone, "its last write", () => phone.watchlist.has("tmdb:last")),
        });
        assert.equal(outcome, "pass", [text, ...lines].join("\n"));
      });
    }
  }
});
