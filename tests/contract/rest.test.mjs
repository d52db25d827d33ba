// schemathesis against the running server: whether every route does what GET /openapi.json says.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { SCHEMATHESIS } from "../../scripts/python.mjs";
import { Edge } from "../js/edge.mjs";
import { openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { runTool } from "./tool.mjs";

const HOUSEHOLD = "home";
const DEVICE = "tv-living";
/** Takes no commands. */
const PHONE = "phone";
/** Test cases of an operation in the phase that makes them up. */
const EXAMPLES_MAX = 20;
/** Of everything, on a busy machine; a run that takes longer hangs. */
const RUN_MS_MAX = 1_800_000;
const HOOKS = fileURLToPath(new URL("hooks.py", import.meta.url));

/** @type {Edge} */
let edge;
/** @type {string} */
let folder;
before(async () => {
  // Every request says that it comes from somewhere else, as a proxy would.
  const rates = ["--device-rate", "0", "--household-rate", "0", "--address-rate", "0"];
  const pairing = ["--pair-url", "https://sync.example.org", "--trusted-proxies", "127.0.0.1"];
  edge = await Edge.start(...rates, ...pairing);
  folder = mkdtempSync(join(tmpdir(), "omega-contract-"));
});
after(async () => {
  await edge.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** A session in one request: the hello of `tests/vectors`, and nothing acknowledged. */
function sessionBytes() {
  const file = new URL("../vectors/frames.json", import.meta.url);
  const { vectors } = JSON.parse(readFileSync(file, "utf8"));
  const named = (/** @type {{name: string}} */ { name }) => name === "hello of a new replica";
  const { bytes } = vectors.find(named);
  const length = bytes.length / 2;
  assert.ok(length < 128, "its length is one byte");
  return `${length.toString(16).padStart(2, "0")}${bytes}00`;
}

/** Asked by this file and not by the fuzzer: the WebSocket, and the description that it reads itself. */
const OWN = /** @type {const} */ ([
  ["GET /ws", 101],
  ["GET /openapi.json", 200],
]);

/**
 * The statuses of each operation's own method: the fuzzer asks for others too, which is no test of it.
 * @param {string} report of schemathesis, ndjson
 */
function answered(report) {
  /** @type {Map<string, number[]>} */
  const answers = new Map(OWN.map(([name, status]) => [name, [status]]));
  for (const line of report.split("\n").filter((line) => line.includes('"ScenarioFinished"'))) {
    const { label, interactions } = JSON.parse(line).ScenarioFinished.recorder;
    const own = Object.values(interactions ?? {}).filter(
      ({ request, response }) => response && label.startsWith(`${request.method} `),
    );
    const statuses = own.map(({ response }) => response.status_code);
    answers.set(label, [...(answers.get(label) ?? []), ...statuses]);
  }
  return answers;
}

test("every route does what the description says", async (context) => {
  const all = ["--scope", "read write control admin", "--expires-in", "1h"];
  const token = edge.token(HOUSEHOLD, DEVICE, ...all);
  const tv = await openTv(context, edge, HOUSEHOLD, DEVICE);
  const capabilities = { remoteControllable: true, canCast: true };
  await tv.devices.describe({ name: "Living room", deviceType: "tv", capabilities });
  tv.devices.onCommand(() => {});
  await tv.flushed();
  await eventually(tv, "live", () => tv.status().state === "live");
  const live = new WebSocket(`${edge.address.replace("http", "ws")}/ws`, {
    headers: { authorization: `Bearer ${edge.token(HOUSEHOLD, PHONE, ...all)}` },
  });
  // The answer 101, without which there is no such event.
  await once(live, "open");

  const report = join(folder, "report.ndjson");
  const words = [
    ...["run", `${edge.address}/openapi.json`, "--phases", "examples,coverage,fuzzing"],
    // A real upgrade would leave a WebSocket among the fuzzer's HTTP connections.
    ...["--exclude-path", "/ws", "-n", `${EXAMPLES_MAX}`, "--seed", "1"],
    ...["--continue-on-failure", "--no-color", "--request-timeout", "30"],
    ...["--report", "ndjson", "--report-ndjson-path", report, "--generation-database", "none"],
  ];
  const run = await runTool(SCHEMATHESIS, words, {
    cwd: folder,
    timeout: RUN_MS_MAX,
    env: {
      ...process.env,
      SCHEMATHESIS_HOOKS: HOOKS,
      CONTRACT_DEVICE: DEVICE,
      CONTRACT_PHONE: PHONE,
      CONTRACT_SESSION: sessionBytes(),
      CONTRACT_SERVER: edge.address,
      CONTRACT_TOKEN: token,
      CONTRACT_OTHER_TOKEN: edge.token("another-home", DEVICE, ...all),
      CONTRACT_OTHER_HOUSEHOLD: "revoked-home",
      CONTRACT_KEY_HOUSEHOLD: "key-home",
      CONTRACT_TABLES: fileURLToPath(new URL("../../core/tables/default.bin", import.meta.url)),
    },
  });
  live.close();

  const answers = answered(readFileSync(report, "utf8"));
  const described = await fetch(`${edge.address}/openapi.json`);
  assert.equal(described.status, 200);
  const untested = [];
  for (const name of operations(await described.json())) {
    const statuses = answers.get(name) ?? [];
    const good = statuses.filter((status) => status < 300 || status === 304).length;
    const percent = Math.round((100 * good) / Math.max(statuses.length, 1));
    const kinds = [...new Set(statuses)].sort().join(" ");
    console.log(`${name}: ${statuses.length} answers, ${percent} % of them good (${kinds})`);
    if (good === 0) untested.push(`${name} was never answered well: ${kinds || "never asked"}`);
  }
  assert.equal(run.code, 0, run.said);
  assert.deepEqual(untested, []);
});

/** All operations, by name. @param {{paths: Record<string, Record<string, unknown>>}} description */
function operations(description) {
  return Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
}
