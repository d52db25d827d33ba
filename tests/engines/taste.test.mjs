// Taste on old engines: the ES module over http, and the script for packaged apps from file://.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { freePort } from "../js/edge.mjs";
import { titles } from "../js/titles.mjs";
import { newHousehold } from "../js/tv.mjs";
import { Stage } from "./matrix.mjs";
import { runPage } from "./run.mjs";

/** Loaded machines are slow. */
const TIMEOUT_S = 90;
const DEVICE = "tv-taste";
/** As many as make a pattern that is good enough to leave. */
const WATCHED = 12;
const WANTED = 3;

/** @type {Stage} */
let stage;

before(async () => {
  stage = await Stage.open();
  const all = [...titles("Drama", 1, 0, WATCHED + WANTED), ...titles("Horror", 2, 0, WANTED)];
  for (const build of ["patterns", "patterns.iife"]) {
    const script = `window.TITLES = ${JSON.stringify(all)};`;
    writeFileSync(join(stage.folder, "site", build, "titles.js"), script);
  }
});
after(() => stage.close());

for (const [engine, build, way] of /** @type {const} */ ([
  ["m64", "patterns", "http"],
  ["m64", "patterns.iife", "file"],
  ["m119", "patterns.iife", "file"],
])) {
  test(`${engine}, ${build}, ${way}: a viewing is recorded, and what is like it recommended`, async () => {
    const { edge } = stage;
    const household = newHousehold();
    const settings = {
      ...{ url: edge.address, nowhere: `http://127.0.0.1:${await freePort()}` },
      ...{ device: DEVICE, token: edge.token(household, DEVICE) },
      ...{ watched: WATCHED, wanted: WANTED },
    };
    const target = stage.address(engine, way, settings, "taste.html", build);
    /** @type {string[]} */
    const lines = [];
    const log = (/** @type {string} */ line) => void lines.push(line);
    const { outcome, text } = await runPage({ engine, target, timeoutS: TIMEOUT_S, log });
    assert.equal(outcome, "pass", [text, ...lines].join("\n"));
    const recommended = text.slice("PASS ".length).split(",");
    const unseen = titles("Drama", 1, WATCHED, WATCHED + WANTED).map(({ content }) => content);
    assert.deepEqual(recommended.sort(), unseen.sort());
  });
}
