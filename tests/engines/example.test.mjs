// The example app as it is packaged, on an old engine from file://: the remote control's keys reach it, and
// what it puts on the watchlist reaches another TV.
import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { PKG } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { newHousehold, openTv } from "../js/tv.mjs";
import { eventually } from "../js/until.mjs";
import { runPage } from "./run.mjs";

const EXAMPLE = join(PKG, "examples", "tv");
const TIMEOUT_S = 60;

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
  copyFileSync(join(PKG, "dist", "omega-sync.iife.js"), join(folder, "omega-sync.iife.js"));
  edge = await Edge.start();
});
after(async () => {
  await edge?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

for (const engine of ["m64", "m119"]) {
  test(`${engine}: the example app puts a title on the watchlist`, async (context) => {
    const household = newHousehold();
    const other = await openTv(context, edge, household, "tv-other");
    const token = edge.token(household, "tv-example");
    const words = { url: edge.address, device: "tv-example", token };
    const hash = Object.entries(words).map(
      ([name, value]) => `${name}=${encodeURIComponent(value)}`,
    );
    const target = `${pathToFileURL(join(folder, "index.html"))}#${hash.join("&")}`;
    /** @type {string[]} */
    const lines = [];
    const { outcome, text } = await runPage({
      ...{ engine, target, timeoutS: TIMEOUT_S, log: (line) => void lines.push(line) },
      prepare: async (devtools) => {
        await devtools.call("Page.addScriptToEvaluateOnNewDocument", { source: VIEWER });
      },
    });
    assert.equal(outcome, "pass", [text, ...lines].join("\n"));
    assert.equal(text, "PASS + The Matrix,✓ Blade Runner,+ 2001: A Space Odyssey true,true,false");
    await eventually(other, "the title", () => other.watchlist.has("tmdb:78"));
  });
}

test("the manifests name the page that is there, and the right to use the network", () => {
  const webos = JSON.parse(readFileSync(join(EXAMPLE, "appinfo.json"), "utf8"));
  assert.equal(webos.main, "index.html");
  assert.equal(webos.type, "web");
  const tizen = readFileSync(join(EXAMPLE, "config.xml"), "utf8");
  for (const words of ['<content src="index.html"/>', "tizen.org/privilege/internet", "<access "])
    assert.ok(tizen.includes(words), words);
});
