// `npm start`: set up, build, and run the edge server with the demo until Ctrl-C.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { build } from "./build.mjs";
import { DATA, DEMO_DIST, ROOT } from "./paths.mjs";
import { runEdge } from "./server.mjs";
import { Complaint, main, say } from "./steps.mjs";

const LOOPBACK = new Set(["127.0.0.1", "localhost", "::1"]);
/** Longest wait for the first answer of the server, and the pause between two questions. */
const HEALTH_WAIT_MS = 30_000;
const HEALTH_PAUSE_MS = 50;

main(async () => {
  const { host, port } = address();
  // Asked before the build: nobody wants to wait minutes for this answer.
  checkFolder(DATA);
  await checkPort(host, port);
  await build();
  return serve(host, port);
});

function address() {
  const host = process.env.SYNC_HOST || "127.0.0.1";
  const port = Number(process.env.SYNC_PORT || 8083);
  if (!LOOPBACK.has(host)) {
    throw new Complaint(
      `npm start gives tokens to everybody, so it listens on this machine alone: unset SYNC_HOST (${host}), or run omega-edge serve without --dev`,
    );
  }
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Complaint(`SYNC_PORT is "${process.env.SYNC_PORT}": set it to a port, 1 to 65535`);
  }
  return { host, port };
}

/** @param {string} folder */
function checkFolder(folder) {
  const probe = join(folder, ".write-probe");
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(probe, "");
    rmSync(probe);
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    throw new Complaint(
      `cannot write to the data folder ${folder} (${code}): make it a folder that you own`,
    );
  }
}

/** @param {string} host @param {number} port */
function checkPort(host, port) {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (/** @type {NodeJS.ErrnoException} */ error) => {
      const way = "stop the program that has it, or choose another: SYNC_PORT=8090 npm start";
      const taken = error.code === "EADDRINUSE" ? "is taken" : `cannot be used (${error.code})`;
      reject(new Complaint(`port ${port} on ${host} ${taken}: ${way}`));
    });
    probe.listen(port, host, () => probe.close(resolve));
  });
}

/** @param {string} host @param {number} port @returns {Promise<number>} */
async function serve(host, port) {
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const { exit, stopping } = runEdge(
    [
      ...["serve", "--dev", "--listen", authority, "--data", DATA],
      ...["--static", DEMO_DIST, "--jwt-secret-file", join(DATA, "dev-secret")],
    ],
    { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] },
  );
  const ended = new AbortController();
  exit.finally(() => ended.abort()).catch(() => {});
  if (await healthy(`http://${authority}/health`, ended.signal)) {
    say(`ready: http://${authority}  (Ctrl-C stops it)`);
  }
  const code = await exit;
  if (stopping()) return code;
  throw new Complaint(`omega-edge ended by itself, with exit code ${code}: see its output above`);
}

/** @param {string} url @param {AbortSignal} ended the server has ended; so does the wait */
async function healthy(url, ended) {
  const deadline = performance.now() + HEALTH_WAIT_MS;
  while (performance.now() < deadline && !ended.aborted) {
    const answer = await fetch(url, { signal: ended }).catch(() => undefined);
    if (answer?.ok) return true;
    await new Promise((resolve) => setTimeout(resolve, HEALTH_PAUSE_MS));
  }
  if (ended.aborted) return false;
  const wait = `within ${HEALTH_WAIT_MS / 1000} s`;
  throw new Complaint(`omega-edge did not answer ${url} ${wait}: see its output above`);
}
