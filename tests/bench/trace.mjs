// `npm run --silent bench -- trace FILE [--expect ORACLE] [--bytes-only]`: a month of a household,
// replayed through the npm package with both ends in this process. Progress goes to standard error,
// the figures are one JSON object. The traces are JSON lines: tests/bench/trace/file.mjs.
import { spawnSync } from "node:child_process";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../../scripts/paths.mjs";
import { Complaint, main } from "../../scripts/steps.mjs";
import { coldStarts } from "./trace/cold.mjs";
import { readOracle, readTrace } from "./trace/file.mjs";

const USAGE = "npm run --silent bench -- trace FILE [--expect ORACLE] [--bytes-only]";

main(async () => {
  const { file, expect, bytesOnly } = words();
  const trace = readTrace(file);
  const oracle = expect === undefined ? undefined : readOracle(expect);
  buildAll();
  // What these import is there only after the build.
  const { loadRoomEnd } = await import("./trace/network.mjs");
  const { HOUSEHOLD, Replay } = await import("./trace/replay.mjs");
  const { figures } = await import("./trace/figures.mjs");
  const { speeds } = await import("./trace/speed.mjs");
  const RoomEnd = await loadRoomEnd();
  const room = new RoomEnd(HOUSEHOLD);
  const replay = new Replay(trace, room);
  const start = performance.now();
  await replay.run((done) => console.error(`${done} of ${trace.events.length} events replayed`));
  const replay_s = Math.round(performance.now() - start) / 1_000;
  const bytes = { bench: "trace", ...figures(replay, trace, oracle), replay_s };
  if (bytesOnly) {
    console.log(JSON.stringify(bytes));
    return;
  }
  const cold = coldStarts();
  const speed = await speeds(trace, RoomEnd, replay, room);
  const load_average = loadavg()[0];
  console.log(JSON.stringify({ ...bytes, ...speed, ...cold, load_average }));
});

function words() {
  const { values, positionals } = parsed();
  const [file, ...rest] = positionals;
  if (file === undefined || rest.length > 0) throw new Complaint(USAGE);
  return { file, expect: values.expect, bytesOnly: values["bytes-only"] ?? false };
}

function parsed() {
  try {
    return parseArgs({
      options: { expect: { type: "string" }, "bytes-only": { type: "boolean" } },
      allowPositionals: true,
    });
  } catch (error) {
    throw new Complaint(`${/** @type {Error} */ (error).message}\n${USAGE}`);
  }
}

/** Its words go to standard error: standard output is for the figures. */
function buildAll() {
  const script = join(ROOT, "scripts", "room.mjs");
  const built = spawnSync(process.execPath, [script], { cwd: ROOT, stdio: ["ignore", 2, 2] });
  if (built.status !== 0) throw new Complaint("the build failed: its reason is above");
}
