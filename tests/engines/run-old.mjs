// A page in an engine from before WebAssembly: an X server without a screen, and webengine.py.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as after } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { endGroup } from "../../scripts/steps.mjs";
import { homeOf, PYTHON, problemOf } from "./old.mjs";

const PROGRAM = fileURLToPath(new URL("webengine.py", import.meta.url));
/** An engine asked to close writes its profile out; one that takes longer than this is killed. */
const CLOSE_WAIT_MS = 30_000;
/** Longest wait for the X server. */
const DISPLAY_WAIT_MS = 30_000;
/** Bytes of an engine's own messages kept for the report of a crash. */
const STDERR_BYTES = 4_000;
/** Variables of a desktop, of Python and of a proxy that would reach into the engine. */
const FOREIGN = /^(QT|QML|XDG_|PYTHON|LD_|.*_proxy$|WAYLAND|XAUTHORITY|DBUS_)/i;
/** What its exit codes mean. @type {Array<"pass" | "fail" | "none">} */
const OUTCOMES = ["pass", "fail", "none"];

/** @typedef {import("./run.mjs").Page} Page @typedef {import("./run.mjs").Verdict} Verdict */

/**
 * @param {Page} page @param {import("./engines.mjs").Engine} engine
 * @param {string} url @param {number} timeoutS
 * @returns {Promise<Verdict>}
 */
export async function runOldPage(page, engine, url, timeoutS) {
  const problem = problemOf(engine);
  if (problem !== undefined) return { outcome: "none", text: `${engine.name}: ${problem}` };
  const scratch = mkdtempSync(join(tmpdir(), "omega-engine-"));
  /** @type {import("node:child_process").ChildProcess[]} */
  const started = [];
  const killAll = () => {
    for (const child of started) endGroup(child, "SIGKILL");
  };
  process.once("exit", killAll);
  const timer = new AbortController();
  try {
    const name = await display(started);
    const { child, verdict } = launch(page, engine, url, { scratch, display: name });
    started.push(child);
    const late = /** @type {Verdict} */ ({ outcome: "none", text: `TIMEOUT after ${timeoutS} s` });
    const timeout = after(timeoutS * 1000, late, timer);
    const given = await Promise.race([timeout, verdict]);
    if (given.outcome === "pass") await page.passed?.();
    if (page.profile && given.outcome !== "killed") await closeCleanly(child);
    return given;
  } catch (error) {
    return { outcome: "none", text: `ERROR ${/** @type {Error} */ (error).message}` };
  } finally {
    timer.abort();
    const gone = started.map(ended);
    killAll();
    await Promise.all(gone);
    process.removeListener("exit", killAll);
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A screenless X server; it says its number when it is ready. @param {import("node:child_process").ChildProcess[]} started */
async function display(started) {
  const screen = ["-screen", "0", "1920x1080x24", "-nolisten", "tcp", "-noreset"];
  const server = spawn("Xvfb", ["-displayfd", "3", ...screen], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  started.push(server);
  const pipe = /** @type {import("node:stream").Readable} */ (server.stdio[3]);
  const signal = AbortSignal.timeout(DISPLAY_WAIT_MS);
  const [number] = await once(createInterface(pipe), "line", { signal });
  return `:${String(number).trim()}`;
}

/**
 * @param {Page} page @param {import("./engines.mjs").Engine} engine @param {string} url
 * @param {{scratch: string, display: string}} place
 */
function launch(page, engine, url, place) {
  const profile = page.profile ?? join(place.scratch, "profile");
  for (const folder of [profile, join(place.scratch, "home")])
    mkdirSync(folder, { recursive: true });
  mkdirSync(join(place.scratch, "run"), { mode: 0o700 });
  const own = Object.entries(process.env).filter(([name]) => !FOREIGN.test(name));
  const env = {
    ...Object.fromEntries(own),
    DISPLAY: place.display,
    HOME: join(place.scratch, "home"),
    XDG_RUNTIME_DIR: join(place.scratch, "run"),
    TMPDIR: place.scratch,
    QT_QPA_PLATFORM: "xcb",
    QT_XCB_GL_INTEGRATION: "xcb_glx",
    QTWEBENGINE_DISABLE_SANDBOX: "1",
    LIBGL_ALWAYS_SOFTWARE: "1",
    PYTHONDONTWRITEBYTECODE: "1",
  };
  const words = [homeOf(engine), url, profile, page.fileAccess ? "1" : "0", ...(page.args ?? [])];
  const child = spawn(PYTHON, ["-u", PROGRAM, ...words], { detached: true, env });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said = (said + text).slice(-STDERR_BYTES);
  });
  /** @type {Promise<Verdict>} */
  const verdict = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve({ outcome: "none", text: `CRASH: it ended\n${said}` }));
    createInterface(child.stdout).on("line", (line) => {
      const [, code, text = ""] = /^VERDICT (\d) (.*)/.exec(line) ?? [];
      if (code !== undefined) {
        resolve({ outcome: OUTCOMES[Number(code)] ?? "none", text });
        return;
      }
      page.log?.(line);
      if (!page.killAt?.(line)) return;
      endGroup(child, "SIGKILL");
      resolve({ outcome: "killed", text: line });
    });
  });
  return { child, verdict };
}

/** @param {import("node:child_process").ChildProcess} child */
async function closeCleanly(child) {
  child.stdin?.end("\n");
  await Promise.race([ended(child), after(CLOSE_WAIT_MS, undefined, { ref: false })]);
}

/** @param {import("node:child_process").ChildProcess} child @returns {Promise<void>} */
function ended(child) {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once("close", () => resolve()));
}
