// Every feature on every engine, over http and from file://, against the real server; and the table
// that says so in docs/tv.md.
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { PKG, ROOT } from "../../scripts/paths.mjs";
import { Edge, freePort } from "../js/edge.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { ENGINES } from "./engines.mjs";
import { OLD_ENGINES, oldEngine } from "./old.mjs";
import { runPage } from "./run.mjs";

/** In the order of the table; each name is said by `pages/household.js` when it works. */
export const FEATURES = [
  "open",
  "write",
  "sync",
  "conflict",
  "command",
  "grow",
  "reopen",
  "replay",
];
export const WAYS = /** @type {const} */ (["http", "file", "file with access"]);
/** Titles that make the engine's memory grow, from two pages to more than twice of it. */
const MANY = 1_000;
/** The power is cut when this many writes of the loop have resolved. */
const RESOLVED_BEFORE_CUT = 25;
/** Loaded machines are slow, and the oldest engines slower. */
const TIMEOUT_S = 90;

const PAGES = fileURLToPath(new URL("pages/", import.meta.url));
const DOCUMENT = join(ROOT, "docs", "tv.md");
const BEGIN = "<!-- matrix: written by npm run bench -- engines --write -->";
const END = "<!-- end of matrix -->";

/** @typedef {import("./engines.mjs").Engine} Engine @typedef {typeof WAYS[number]} Way */
/** @typedef {{engine: string, way: Way, works: string[], trouble: string}} Result */

/** The rows of the table. @type {Engine[]} */
export const ROWS = [...OLD_ENGINES, ...ENGINES];

/** The builds: a script or a module of the package, and what it fetches from beside itself. */
const BUILDS = {
  iife: ["omega-sync.iife.js"],
  nowasm: ["omega-sync.nowasm.js"],
  worker: ["omega-sync.worker.js", "omega-sync.iife.js"],
  "patterns.iife": ["omega-sync.patterns.iife.js"],
  index: ["index.js", "wasm-url.js", "omega_sync_wasm_bg.wasm"],
  inline: ["inline.js"],
  patterns: ["patterns.js", "patterns-wasm-url.js", "omega_sync_patterns_bg.wasm"],
};
/** @typedef {keyof typeof BUILDS} Build */
/** Those of them that are modules. */
const MODULES = new Set(["index", "inline", "patterns"]);

/** The server, and the page beside each of the builds. */
export class Stage {
  /** @param {string} folder @param {Edge} edge */
  constructor(folder, edge) {
    this.folder = folder;
    this.edge = edge;
  }

  /** @param {string[]} flags further flags of the server */
  static async open(...flags) {
    const folder = mkdtempSync(join(tmpdir(), "omega-engines-"));
    for (const [build, [script = "", ...beside]] of Object.entries(BUILDS)) {
      const site = join(folder, "site", build);
      mkdirSync(site, { recursive: true });
      for (const name of readdirSync(PAGES)) {
        const page = readFileSync(PAGES + name, "utf8");
        writeFileSync(join(site, name), MODULES.has(build) ? withModule(page) : page);
      }
      copyFileSync(join(PKG, "dist", script), join(site, "omega-sync.js"));
      for (const name of beside) copyFileSync(join(PKG, "dist", name), join(site, name));
    }
    return new Stage(folder, await Edge.start("--static", join(folder, "site"), ...flags));
  }

  async close() {
    await this.edge.dispose();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /**
   * @param {string} engine @param {Way} way @param {object} settings
   * @param {string} [file] @param {Build} [build]
   */
  address(engine, way, settings, file = "household.html", build = buildFor(engine)) {
    const page = `${build}/${file}`;
    const site =
      way === "http"
        ? `${this.edge.address}/`
        : `${pathToFileURL(join(this.folder, "site")).href}/`;
    return `${site}${page}#${encodeURIComponent(JSON.stringify(settings))}`;
  }
}

/** A page that takes the package from a module; its own scripts run after that. @param {string} page */
function withModule(page) {
  const module = 'import * as all from "./omega-sync.js"; window.OmegaSync = all;';
  return page
    .replace('<script src="omega-sync.js">', `<script type="module">${module}`)
    .replace(/<body>[\s\S]*/, (body) => body.replaceAll("<script src", "<script defer src"));
}

/**
 * One engine, one way: two visits with a power cut between them.
 * @param {import("node:test").TestContext} context
 * @param {Stage} stage @param {string} engine @param {Way} way @param {Build} [build]
 * @returns {Promise<Result>}
 */
export async function visitTwice(context, stage, engine, way, build = buildFor(engine)) {
  const household = newHousehold();
  const { edge } = stage;
  const devices = ["tv-old", "tv-second"];
  const tokens = Object.fromEntries(devices.map((name) => [name, edge.token(household, name)]));
  const nowhere = `http://127.0.0.1:${await freePort()}`;
  const profile = mkdtempSync(join(stage.folder, "profile-"));
  /** @type {string[]} */
  const lines = [];
  const page = {
    ...{ engine, profile, timeoutS: TIMEOUT_S, fileAccess: way === "file with access" },
    log: (/** @type {string} */ line) => void lines.push(line),
  };
  const worker = build === "worker";
  const shared = { url: edge.address, nowhere, household, tokens, many: MANY, worker };
  const addressOf = (/** @type {object} */ settings) =>
    stage.address(engine, way, settings, "household.html", build);

  const other = await openTv(context, edge, household, "tv-new");
  // The engine is still to be started.
  const begun = () => other.watchlist.has("tmdb:603");
  const answered = eventually(other, "the old TV's title", begun, TIMEOUT_S * 1000)
    .then(() => eventually(other, "its progress", () => other.progress.resume("tmdb:603") === 754))
    .then(() => other.watchlist.add("tmdb:answer"));
  // A page that fails early never shows its title: its own words are the better report.
  answered.catch(() => {});
  const first = await runPage({
    ...page,
    target: addressOf({ ...shared, visit: 1 }),
    killAt: (line) => resolvedIn(line) >= RESOLVED_BEFORE_CUT,
  });
  const resolved = Math.max(0, ...lines.map(resolvedIn));
  let verdict = first;
  if (first.outcome === "killed") {
    const replica = lines.map((line) => /replica (\w+)$/.exec(line)?.[1]).find(Boolean);
    const settings = { ...shared, visit: 2, resolved, replica };
    verdict = await runPage({ ...page, target: addressOf(settings) });
  }
  if (verdict.outcome === "pass") {
    const position = Number(verdict.text.slice("PASS ".length));
    await eventually(other, "the last position", () => at(other, "tmdb:last") === position);
  }
  const said = lines.map((line) => /feature (\w+)$/.exec(line)?.[1]);
  const works = FEATURES.filter((feature) => said.includes(feature));
  const trouble = verdict.outcome === "pass" ? "" : [verdict.text, ...lines.slice(-20)].join("\n");
  return { engine, way, works, trouble };
}

/** @param {import("omega-sync").Client} client @param {string} content */
function at(client, content) {
  return client.progress.resume(content);
}

/** @param {string} line */
function resolvedIn(line) {
  return Number(/resolved (\d+)$/.exec(line)?.[1] ?? 0);
}

const TITLES = ["engine", "Chromium", "build", ...FEATURES, "stands for"];

/** The lines of a table: one for each engine. @param {Result[]} results */
export function table(results) {
  const rows = ROWS.map((engine) => row(engine, results)).filter((cells) => cells.length > 0);
  return [TITLES, TITLES.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
}

/** @param {Engine} engine @param {Result[]} results */
function row(engine, results) {
  const own = results.filter((result) => result.engine === engine.name);
  if (own.length === 0) return [];
  const cells = FEATURES.map((feature) => {
    const ways = own.filter(({ works }) => works.includes(feature)).map(({ way }) => way);
    return ways.length === WAYS.length ? "yes" : ways.join(", ") || "no";
  });
  return [engine.name, engine.chromium, buildFor(engine.name), ...cells, engine.standsFor];
}

/** @param {string} engine */
function buildFor(engine) {
  return oldEngine(engine) ? "nowasm" : "iife";
}

/** The lines that docs/tv.md has. */
export function written() {
  const text = readFileSync(DOCUMENT, "utf8");
  const [, after = ""] = text.split(`${BEGIN}\n`);
  return (after.split(`\n${END}`)[0] ?? "").trim().split("\n");
}

/** The text of docs/tv.md with another table. @param {string[]} lines */
export function rewritten(lines) {
  const text = readFileSync(DOCUMENT, "utf8");
  const [before, after] = [text.indexOf(BEGIN) + BEGIN.length, text.indexOf(END)];
  if (after < before) throw new Error(`${DOCUMENT} has no place for the table`);
  return `${text.slice(0, before)}\n\n${lines.join("\n")}\n\n${text.slice(after)}`;
}

export { DOCUMENT };
