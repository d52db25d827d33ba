// The example app as it is packaged, on an old engine from file://: the remote control's keys reach it, and
// what it puts on the watchlist reaches another TV.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { oldEngine, problemOf } from "./old.mjs";
import { runPage } from "./run.mjs";

const EXAMPLE = join(PKG, "examples", "tv");
const TIMEOUT_S = 60;

/** The builds that the example chooses from. */
const BUILDS = ["omega-sync.iife.js", "omega-sync.nowasm.js"];

/** Presses keys once the app shows its list, and waits until it says that all is sent. */
const VIEWER = `
  const press = (keyCode) => {
    const event = new Event("keydown", { bubbles: true, cancelable: true });
    event.keyCode = keyCode;
    document.dispatchEvent(event);
    return event.defaultPrevented;
  };
  let pressed = false;
  setInterval(() => {
    const items = Array.from(document.querySelectorAll("li"), (item) => item.textContent);
    if (items.length > 0 && !pressed) {
      pressed = true;
      // Down, Enter; and a colour key, which nobody may swallow.
      window.swallowed = [press(40), press(13), press(403)].join();
    }
    const state = document.getElementById("state");
    if (!pressed || !state || state.textContent !== "live") return;
    window.__result = "PASS " + items.join() + " " + window.swallowed;
  }, 50);
`;

const folder = mkdtempSync(join(tmpdir(), "omega-example-"));
/** @type {Edge} */
let edge;

before(async () => {
  cpSync(EXAMPLE, folder, { recursive: true });
  for (const name of BUILDS) copyFileSync(join(PKG, "dist", name), join(folder, name));
  writeFileSync(join(folder, "viewer.js"), VIEWER);
  const page = join(folder, "index.html");
  const text = readFileSync(page, "utf8");
  assert.ok(text.includes("<ul"));
  writeFileSync(page, text.replace("<ul", '<script src="viewer.js"></script><ul'));
  edge = await Edge.start();
});
after(async () => {
  await edge?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** The page's address as a shell makes it of the README's line. @param {string} server @param {string} token */
function addressAsWritten(server, token) {
  const readme = readFileSync(join(EXAMPLE, "README.md"), "utf8");
  const [, written = ""] = /^ {4}chromium (".*")$/m.exec(readme) ?? [];
  const { stdout } = spawnSync("sh", ["-c", `printf %s ${written}`], {
    ...{ cwd: folder, encoding: "utf8" },
  });
  const address = stdout.replace("http://127.0.0.1:8083", server).replace("…", token);
  assert.ok(address.includes(server) && address.includes(token), `${written} is ${address}`);
  return address;
}

/** Why an engine can't run here, if so. @param {string} name */
function skipOf(name) {
  const old = oldEngine(name);
  return old === undefined ? undefined : problemOf(old);
}

// The first has no WebAssembly.
for (const engine of ["m53", "m64", "m119"]) {
  const skip = skipOf(engine) ?? false;
  test(`${engine}: the example app puts a title on the watchlist`, { skip }, async (context) => {
    const household = newHousehold();
    const other = await openTv(context, edge, household, "tv-other");
    const token = edge.token(household, "tv-example");
    const target = addressAsWritten(edge.address, token);
    // A browser takes a path without `file:` for a host's name.
    assert.equal(new URL(target).pathname, pathToFileURL(join(folder, "index.html")).pathname);
    /** @type {string[]} */
    const lines = [];
    const { outcome, text } = await runPage({
      ...{ engine, target, timeoutS: TIMEOUT_S, log: (line) => void lines.push(line) },
    });
    assert.equal(outcome, "pass", [text, ...lines].join("\n"));
    assert.equal(text, "PASS + The Matrix,✓ Blade Runner,+ 2001: A Space Odyssey true,true,false");
    await eventually(other, "the title", () => other.watchlist.has("tmdb:78"));
  });
}

/** A PNG's width and height in pixels. @param {string} name */
function sizeOf(name) {
  const bytes = readFileSync(join(EXAMPLE, name));
  assert.equal(bytes.toString("latin1", 1, 4), "PNG", name);
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

test("the manifests name files that are there, and the right to use the network", () => {
  const webos = JSON.parse(readFileSync(join(EXAMPLE, "appinfo.json"), "utf8"));
  assert.equal(webos.main, "index.html");
  assert.equal(webos.type, "web");
  // As LG's page on the assets of an app asks for.
  assert.deepEqual(sizeOf(webos.icon), [80, 80]);
  assert.deepEqual(sizeOf(webos.largeIcon), [130, 130]);
  const tizen = readFileSync(join(EXAMPLE, "config.xml"), "utf8");
  for (const words of ['<content src="index.html"/>', "tizen.org/privilege/internet", "<access "])
    assert.ok(tizen.includes(words), words);
  const page = readFileSync(join(EXAMPLE, "index.html"), "utf8");
  const named = [...tizen.matchAll(/ src="(.*?)"/g), ...page.matchAll(/ (?:src|href)="(.*?)"/g)];
  for (const [, file = ""] of named) assert.ok(existsSync(join(EXAMPLE, file)), `no ${file}`);
  assert.equal(named.length, 4);
});
