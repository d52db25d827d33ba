// Loads one page in an old TV engine and waits for its verdict.
//
// The page decides: `document.title` or `window.__result` starting with PASS or FAIL. Only the
// project's own pages belong here: the engine's sandbox is off. Engines from before WebAssembly are
// run by run-old.mjs, with the same contract.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve as resolvePath } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { endGroup } from "../../scripts/steps.mjs";
import { connect, pageAddress } from "./devtools.mjs";
import { ENGINES, engine, programOf } from "./engines.mjs";
import { OLD_ENGINES, oldEngine } from "./old.mjs";
import { runOldPage } from "./run-old.mjs";

const USAGE = `usage: node tests/engines/run.mjs ENGINE URL|FILE [--timeout S] [--profile DIR]
       [--file-access] [--arg FLAG]... [--quiet]
exit code: 0 PASS, 1 FAIL, 2 no verdict
engines: ${[...OLD_ENGINES, ...ENGINES].map((one) => one.name).join(" ")}`;

const TIMEOUT_S = 30;
const POLL_MS = 50;
/** An engine asked to close writes its profile out; one that takes longer than this is killed. */
const CLOSE_WAIT_MS = 30_000;
/** Bytes of an engine's own messages kept for the report of a crash. */
const STDERR_BYTES = 4_000;

const VERDICT = "String(window.__result === undefined ? document.title : window.__result)";

/**
 * @typedef {object} Page
 * @property {string} engine name in engines.mjs; must be installed
 * @property {string} target URL, or path of a file, which is then opened as file://
 * @property {number} [timeoutS]
 * @property {string} [profile] folder kept afterwards, so that storage lasts to the next run
 * @property {boolean} [fileAccess] file pages may read their siblings; their Origin is `file://`
 * @property {string[]} [args] further flags of Chromium
 * @property {(line: string) => void} [log] hears the page's console
 * @property {(line: string) => boolean} [killAt] hears it too: true is a power cut, here and now
 * @property {string} [says] a line of the console: before it the page is not asked for its verdict,
 *   because answering is work of the thread that is measured
 * @property {(devtools: import("./devtools.mjs").Connection) => Promise<void>} [prepare] before the
 *   page loads; this and the next two not for engines from before WebAssembly
 * @property {(method: string, params: any) => void} [event] hears every event of the engine
 * @property {(devtools: import("./devtools.mjs").Connection) => Promise<void>} [finish] after PASS
 * @property {() => Promise<void>} [passed] after PASS too, in every engine, and before it is ended:
 *   what a page asked its engine to send is on its way only while there is an engine
 *
 * @typedef {{outcome: "pass" | "fail" | "none" | "killed", text: string}} Verdict
 */

/** @param {Page} page @returns {Promise<Verdict>} */
export async function runPage(page) {
  const url = /^[a-z]+:/i.test(page.target)
    ? page.target
    : pathToFileURL(resolvePath(page.target)).href;
  const timeoutS = page.timeoutS ?? TIMEOUT_S;
  const old = oldEngine(page.engine);
  if (old) return runOldPage(page, old, url, timeoutS);
  const program = programOf(engine(page.engine));
  if (!existsSync(program)) {
    return none(`${page.engine} is not installed: node tests/engines/install.mjs ${page.engine}`);
  }
  const profile = page.profile ?? mkdtempSync(join(tmpdir(), "omega-engine-"));
  mkdirSync(profile, { recursive: true });
  const chrome = launch(program, profile, page);
  const kill = () => endGroup(chrome.process, "SIGKILL");
  process.once("exit", kill);
  const timer = new AbortController();
  try {
    const timeout = after(timeoutS * 1000, none(`TIMEOUT after ${timeoutS} s`), timer);
    const verdict = await Promise.race([timeout, drive(chrome, page, url)]);
    if (verdict.outcome === "pass") await page.passed?.();
    if (page.profile && verdict.outcome !== "killed") await closeCleanly(chrome);
    return verdict;
  } catch (error) {
    return none(`ERROR ${/** @type {Error} */ (error).message}`);
  } finally {
    kill();
    await chrome.gone;
    timer.abort();
    process.removeListener("exit", kill);
    if (!page.profile) rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** @param {string} text @returns {Verdict} */
function none(text) {
  return { outcome: "none", text };
}

/** @typedef {ReturnType<typeof launch>} Chrome */

/** @param {string} program @param {string} profile @param {Page} page */
function launch(program, profile, page) {
  const child = spawn(
    program,
    [
      ...["--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--mute-audio"],
      ...["--disable-dev-shm-usage", "--disable-background-networking"],
      ...["--window-size=1920,1080", "--remote-debugging-port=0", `--user-data-dir=${profile}`],
      ...(page.fileAccess ? ["--allow-file-access-from-files"] : []),
      ...(page.args ?? []),
      "about:blank",
    ],
    { detached: true, stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  /** @type {Promise<void>} */
  const gone = new Promise((resolve) => {
    child.once("close", () => resolve());
  });
  /** The browser's own DevTools address. @type {Promise<string>} */
  const address = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.stderr.setEncoding("utf8").on("data", (text) => {
      said = (said + text).slice(-STDERR_BYTES);
      const found = /DevTools listening on (ws:\/\/\S+)/.exec(said)?.[1];
      if (found) resolve(found);
    });
    gone.then(() => reject(new Error(`the engine ended before it was ready\n${said}`)));
  });
  address.catch(() => {});
  return { process: child, gone, address };
}

/** @param {Chrome} chrome @param {Page} page @param {string} url @returns {Promise<Verdict>} */
async function drive(chrome, page, url) {
  const { port } = new URL(await chrome.address);
  let address = await pageAddress(port);
  while (!address) {
    await after(POLL_MS);
    address = await pageAddress(port);
  }
  /** Decided by an event, not by the page's own word. @type {Verdict | undefined} */
  let decided;
  let saysNothing = page.says !== undefined;
  const devtools = await connect(address, (method, params) => {
    page.event?.(method, params);
    if (method === "Inspector.targetCrashed") decided ??= none("CRASH: the page's process died");
    const line = consoleLine(method, params);
    if (line === undefined) return;
    page.log?.(line);
    if (line === page.says) saysNothing = false;
    if (decided !== undefined || !page.killAt?.(line)) return;
    endGroup(chrome.process, "SIGKILL");
    decided = { outcome: "killed", text: line };
  });
  for (const domain of ["Runtime", "Page", "Log", "Inspector"])
    await devtools.call(`${domain}.enable`);
  await page.prepare?.(devtools);
  const navigation = await devtools.call("Page.navigate", { url });
  if (navigation.errorText) return none(`LOAD ERROR ${navigation.errorText}: ${url}`);
  for (;;) {
    while (saysNothing && decided === undefined) await after(POLL_MS);
    const answer = await devtools
      .call("Runtime.evaluate", { expression: VERDICT, returnByValue: true })
      .catch((error) => {
        if (decided === undefined) throw error;
      });
    if (decided !== undefined) return decided;
    const text = answer.result.value ?? "";
    if (text.startsWith("PASS")) {
      await page.finish?.(devtools);
      return { outcome: "pass", text };
    }
    if (text.startsWith("FAIL")) return { outcome: "fail", text };
    await after(POLL_MS);
  }
}

/** @param {Chrome} chrome */
async function closeCleanly(chrome) {
  const browser = await connect(await chrome.address, () => {});
  browser.call("Browser.close").catch(() => {});
  await Promise.race([chrome.gone, after(CLOSE_WAIT_MS, undefined, { ref: false })]);
}

/** What a console event says, as one line. @param {string} method @param {any} params */
function consoleLine(method, params) {
  if (method === "Runtime.consoleAPICalled") {
    return `[${params.type}] ${params.args.map(argumentText).join(" ")}`;
  }
  if (method === "Runtime.exceptionThrown") {
    const { exception, text, url, lineNumber } = params.exceptionDetails;
    return `[exception] ${exception?.description ?? text} (${url ?? "inline"}:${lineNumber + 1})`;
  }
  if (method === "Log.entryAdded") {
    return `[${params.entry.level}] ${params.entry.text} ${params.entry.url ?? ""}`;
  }
  return undefined;
}

/** @param {any} argument */
function argumentText(argument) {
  if (typeof argument.value === "string") return argument.value;
  if ("value" in argument) return JSON.stringify(argument.value);
  return argument.unserializableValue ?? argument.description ?? argument.type;
}

async function command() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      timeout: { type: "string", default: String(TIMEOUT_S) },
      profile: { type: "string" },
      "file-access": { type: "boolean", default: false },
      arg: { type: "string", multiple: true, default: [] },
      quiet: { type: "boolean", default: false },
    },
  });
  const [name, target, ...rest] = positionals;
  const timeoutS = Number(values.timeout);
  if (!name || !target || rest.length > 0 || !(timeoutS > 0)) throw new Error("wrong arguments");
  return runPage({
    engine: name,
    target,
    timeoutS,
    profile: values.profile && resolvePath(values.profile),
    fileAccess: values["file-access"],
    args: values.arg,
    log: values.quiet ? undefined : console.log,
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(2));
  try {
    const { outcome, text } = await command();
    console.log(text);
    process.exitCode = { pass: 0, fail: 1, none: 2, killed: 2 }[outcome];
  } catch (error) {
    console.error(`${/** @type {Error} */ (error).message}\n${USAGE}`);
    process.exitCode = 2;
  }
}
