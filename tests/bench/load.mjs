// `npm run --silent bench -- load [SOCKETS]`: households of four TVs on real sockets against the built
// server, which keeps its database on disk in the system's folder for temporary files. Four parts, each
// on a server that was started anew: every TV writes once in ten seconds (`paced`); each household
// writes again when all its TVs have the last write (`saturated`), once more under strace, which counts
// the fsyncs (`traced`); and the same until the server is killed (`killed`), after which `omega-edge
// check` must find nothing, and TVs that were never there everything that was acknowledged. Needs
// `npm run build`. Its last line is one JSON object; it ends with 1 if something is lost.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as after } from "node:timers/promises";
import { CARGO_TARGET, EDGE_BINARY } from "../../scripts/paths.mjs";
import { run } from "../../scripts/steps.mjs";
import { nativeToolchain } from "../../scripts/toolchain.mjs";
import { Edge } from "../js/edge.mjs";
import { figure, residentBytes, token } from "./attacks/sockets.mjs";

const TVS = 4;
const SOCKETS = Number(process.argv[2] ?? 1_000);
const HOUSEHOLDS = Math.floor(SOCKETS / TVS);
/** Between two writes of a household when each of its TVs writes every ten seconds. */
const PACE_MS = 10_000 / TVS;
const PACED_S = 20;
const SATURATED_S = 15;
const TRACED_S = 10;
/** The server is killed so long after its clients began to write. */
const KILL_MS = 5_000;
/** No household here is above its rate. */
const LIMITS = ["--device-rate", "0", "--household-rate", "0"];

const SERVER = process.env.OMEGA_EDGE_BIN ?? EDGE_BINARY;
const LOAD = join(CARGO_TARGET, "release", "load");

const { cargo, env } = nativeToolchain();
const build = ["build", "--locked", "--release", "-p", "omega-sync-load"];
await run(cargo, build, { env, log: "load" });
const conditions = { cpus: cpus().length, cpu: cpus()[0]?.model, node: process.version };
/** @type {Record<string, unknown>} */
const figures = { bench: "load", sockets: HOUSEHOLDS * TVS, ...conditions };
figures.paced = await part(PACED_S, PACE_MS);
figures.saturated = await part(SATURATED_S, 0);
figures.traced = await part(TRACED_S, 0, { traced: true });
const killed = await part(60, 0, { killed: true });
figures.killed = killed;
figures.load_average = loadavg()[0];
console.log(JSON.stringify(figures));
process.exit(killed.lost?.length === 0 ? 0 : 1);

/**
 * @param {number} seconds @param {number} everyMs @param {{traced?: boolean, killed?: boolean}} [what]
 * @returns {Promise<Record<string, any>>}
 */
async function part(seconds, everyMs, { traced = false, killed = false } = {}) {
  const edge = await Edge.start(...LIMITS, { SYNC_LOG: "error" });
  try {
    const lines = Array.from({ length: HOUSEHOLDS * TVS }, (_, at) => {
      const home = `home-${Math.floor(at / TVS)}`;
      return `${home} ${token(edge, home, `tv-${at % TVS}`)}`;
    });
    const words = ["run", `127.0.0.1:${edge.port}`, TVS, seconds, everyMs].map(String);
    const client = spawn(LOAD, words, { stdio: ["pipe", "pipe", "pipe"] });
    client.stdin.end(lines.join("\n"));
    const said = text(client.stdout);
    // It says when all are connected.
    await once(client.stderr, "data");
    client.stderr.pipe(process.stderr);
    const [cpu, commits] = [processorSeconds(edge), await figure(edge, "omega_commits_total")];
    const strace = traced ? await attach(edge) : undefined;
    const taken = await figure(edge, "omega_operations_total");
    if (killed) {
      await after(KILL_MS);
      await edge.kill();
    }
    const { acked, ...seen } = JSON.parse(await said);
    const fsyncs = await strace?.end();
    if (killed) return { ...seen, ...(await afterwards(edge, acked)) };
    const operations = (await figure(edge, "omega_operations_total")) - taken;
    return {
      ...seen,
      commits: (await figure(edge, "omega_commits_total")) - commits,
      rss_bytes: residentBytes(edge),
      server_cpu_s_per_1000_acks: ((processorSeconds(edge) - cpu) * 1_000) / seen.acks,
      ...(fsyncs === undefined ? {} : { fsyncs, fsyncs_per_ack: fsyncs / operations }),
    };
  } finally {
    await edge.dispose();
  }
}

/** What a killed server's database has. @param {Edge} edge @param {Record<string, number>} acked */
async function afterwards(edge, acked) {
  const check = ["check", "--data", join(edge.folder, "data")];
  const checked = execFileSync(SERVER, check, { encoding: "utf8" }).trim();
  await edge.start();
  const lines = Object.entries(acked).map(
    ([home, count]) => `${home} ${token(edge, home, "fresh")} ${count}`,
  );
  const words = ["verify", `127.0.0.1:${edge.port}`];
  const verified = execFileSync(LOAD, words, { encoding: "utf8", input: lines.join("\n") });
  return { checked, ...JSON.parse(verified) };
}

/** What the process has used. @param {Edge} edge */
function processorSeconds(edge) {
  const fields = readFileSync(`/proc/${edge.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  // utime and stime of proc(5), in hundredths of a second.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Counts the fsyncs of a server, of all its threads. @param {Edge} edge */
async function attach(edge) {
  const calls = ["-f", "-c", "-e", "trace=fsync,fdatasync"];
  const strace = spawn("strace", [...calls, "-p", String(edge.pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  strace.stderr.setEncoding("utf8").on("data", (more) => {
    said += more;
  });
  const ended = once(strace, "exit");
  while (!said.includes("attached")) await after(10);
  return {
    async end() {
      strace.kill("SIGINT");
      await ended;
      // % time, seconds, usecs/call, calls, (errors), name
      const rows = said.split("\n").map((line) => line.trim().split(/\s+/));
      const counts = rows.filter((row) => /^f(data)?sync$/.test(row.at(-1) ?? ""));
      return counts.reduce((sum, row) => sum + Number(row[3]), 0);
    },
  };
}
