// Autobahn's fuzzing client against a WebSocket of the server: RFC 6455, sections 1 to 7 and 10 of its
// cases. It runs under Python 2.7 only; where there is none the test says so and is skipped.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { AUTOBAHN, python2 } from "../../scripts/python.mjs";
import { Edge } from "../js/edge.mjs";
import { runTool } from "./tool.mjs";

const AGENT = "omega-edge";
const SECTIONS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];
/** Of the cases in these sections; a run with fewer has left some out. */
const CASES_MIN = 240;
const RUN_MS_MAX = 1_800_000;
/** Behaviour that is as the RFC says, or as it allows; and what has no right or wrong. */
const GOOD = new Set(["OK", "NON-STRICT", "INFORMATIONAL"]);

const python = python2();
const skip = python ? false : "autobahntestsuite needs a Python 2.7, and there is none here";

test("every Autobahn case is OK or non-strict", { skip }, async (context) => {
  const edge = await Edge.start("--dev");
  const folder = mkdtempSync(join(tmpdir(), "omega-autobahn-"));
  context.after(async () => {
    await edge.dispose();
    rmSync(folder, { recursive: true, force: true });
  });
  const spec = {
    outdir: folder,
    servers: [{ agent: AGENT, url: `${edge.address.replace("http", "ws")}/dev/echo` }],
    cases: SECTIONS,
    "exclude-cases": [],
    "exclude-agent-cases": {},
  };
  const file = join(folder, "spec.json");
  writeFileSync(file, JSON.stringify(spec));
  // Some of its packages are in parts that only a site folder puts together.
  const program = `import site; site.addsitedir(${JSON.stringify(AUTOBAHN)})
from autobahntestsuite.wstest import run; run()`;
  const run = await runTool(python ?? "", ["-c", program, "-m", "fuzzingclient", "-s", file], {
    cwd: folder,
    timeout: RUN_MS_MAX,
    env: process.env,
  });
  assert.equal(run.code, 0, run.said);
  const cases = JSON.parse(readFileSync(join(folder, "index.json"), "utf8"))[AGENT];
  /** @type {Map<string, number>} */
  const counts = new Map();
  const bad = [];
  for (const [name, { behavior, behaviorClose }] of Object.entries(cases)) {
    counts.set(behavior, (counts.get(behavior) ?? 0) + 1);
    if (!GOOD.has(behavior) || !GOOD.has(behaviorClose)) {
      bad.push(`${name}: ${behavior}, close ${behaviorClose}`);
    }
  }
  console.log(`Autobahn: ${JSON.stringify(Object.fromEntries(counts))}`);
  assert.ok(Object.keys(cases).length >= CASES_MIN, `${Object.keys(cases).length} cases`);
  assert.deepEqual(bad, []);
});
