// The living room of the README: two TVs, one household, the real server, a real browser.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DEMO_DIST, ROOT } from "../../scripts/paths.mjs";
import { Edge } from "../js/edge.mjs";
import { filesKept, openBrowser, uncaught } from "./browser.mjs";

/** @typedef {import("./browser.mjs").Page} Page */
/** @typedef {import("./browser.mjs").Tv} Tv */

const DARK_KNIGHT = "the-dark-knight";
const FIGHT_CLUB = "fight-club";
const MATRIX = "the-matrix";
const GLADIATOR = "gladiator";

/** Where the picture of the demo goes: into the docs only when asked to. */
const PICTURES = process.env.UPDATE_SCREENSHOT
  ? join(ROOT, "docs")
  : mkdtempSync(join(tmpdir(), "omega-pictures-"));

/** Resolves when nothing moves, so that the picture is sharp. */
const MOTIONS_END = "Promise.all(document.getAnimations().map((motion) => motion.finished))";

/** One of the TVs on the page: its rows, its inspector and its remote. */
class TvSet {
  /** @param {Page} page @param {string} name of the frame */
  constructor(page, name) {
    this.page = page;
    this.name = name;
    this.tv = page.frameLocator(`[data-testid=${name}]`);
  }

  /** @param {string} row @param {string} content */
  tile(row, content) {
    return this.tv.getByTestId(`row-${row}`).getByTestId(`tile-${content}`);
  }

  /** @param {string} row @returns {Promise<string[]>} titles from left to right */
  async row(row) {
    const tiles = await this.tv.getByTestId(`row-${row}`).locator(".tile").all();
    const ids = await Promise.all(tiles.map((tile) => tile.getAttribute("data-testid")));
    return ids.map(contentOf);
  }

  /** @param {string} field */
  async field(field) {
    return (await this.tv.getByTestId(field).textContent()) ?? "";
  }

  /** @param {string} field @param {string} text waits until the inspector says so */
  async says(field, text) {
    await this.tv.getByTestId(field).getByText(text, { exact: true }).waitFor();
  }

  /** Presses keys of this TV's remote. @param {string[]} keys */
  async press(...keys) {
    // A click beside the screen gives it the keys, as for a person.
    await this.tv.getByRole("heading", { name: "Events" }).click();
    await this.tv.locator("body.watched").waitFor();
    for (const key of keys) await this.page.keyboard.press(key);
  }

  /** Walks to a title in the row of all titles and opens it. @param {string} content */
  async open(content) {
    await this.press("ArrowDown", "ArrowDown", "ArrowDown");
    const tiles = await this.row("all");
    const focused = this.tv.getByTestId("row-all").locator(".tile.focused");
    const from = tiles.indexOf(contentOf(await focused.getAttribute("data-testid")));
    const steps = tiles.indexOf(content) - from;
    const key = steps < 0 ? "ArrowLeft" : "ArrowRight";
    await this.press(...Array.from({ length: Math.abs(steps) }, () => key), "Enter");
    await this.tv.getByTestId("details").waitFor();
  }

  /** @param {string} content */
  async toggleList(content) {
    await this.open(content);
    await this.press("ArrowRight", "Enter", "Backspace");
    await this.tv.getByTestId("row-all").waitFor();
  }

  /** Plays for a moment, and leaves. @param {string} content @returns {Promise<string>} the position */
  async playAndStop(content) {
    await this.open(content);
    await this.press("Enter");
    await this.tv.getByTestId("player").waitFor();
    await this.press("ArrowRight", "ArrowRight", "Enter");
    await this.tv.getByTestId("player-state").getByText("paused").waitFor();
    const position = await this.field("player-position");
    await this.press("Backspace", "Backspace");
    return position;
  }

  plug() {
    return this.tv.getByTestId("offline-switch").click();
  }

  /** The browser's own event after a network outage; the back-off would come a little later. */
  async networkReturns() {
    const frame = await this.page.locator(`[data-testid=${this.name}]`).elementHandle();
    const content = await frame?.contentFrame();
    await content?.evaluate("window.dispatchEvent(new Event('online'))");
  }
}

/** The content id of a tile. @param {string | null} testId */
function contentOf(testId) {
  return (testId ?? "").replace("tile-", "");
}

/** @param {import("node:test").TestContext} context */
async function livingRoom(context) {
  const edge = await Edge.start("--dev", "--static", DEMO_DIST);
  context.after(() => edge.dispose());
  const browser = await openBrowser(context);
  const page = browser.pages()[0] ?? (await browser.newPage());
  const errors = uncaught(page);
  // A page behind another one never gets the keys.
  await page.bringToFront();
  await page.goto(edge.address);
  const living = new TvSet(page, "tv-living");
  const bedroom = new TvSet(page, "tv-bedroom");
  for (const tv of [living, bedroom]) await tv.says("state", "live");
  return { edge, page, errors, living, bedroom };
}

test("two TVs: add, play, unplug and converge", async (context) => {
  const { page, errors, living, bedroom } = await livingRoom(context);
  assert.notEqual(await living.field("replica"), await bedroom.field("replica"));
  for (const tv of [living, bedroom]) assert.equal(await tv.field("storage"), "indexeddb");

  await context.test("a title added with the remote appears on the other TV", async () => {
    await living.press("Enter");
    await living.tv.getByTestId("details-title").getByText("The Dark Knight").waitFor();
    await living.press("ArrowRight", "Enter", "Backspace");
    for (const tv of [living, bedroom]) await tv.tile("watchlist", DARK_KNIGHT).waitFor();
  });

  await context.test("playing it shows on the other TV, where it can be resumed", async () => {
    await living.open(DARK_KNIGHT);
    await living.press("Enter");
    await living.tv.getByTestId("player").waitFor();
    const tile = bedroom.tile("continue", DARK_KNIGHT);
    await tile.getByText("Playing", { exact: true }).waitFor();
    await living.press("ArrowRight", "ArrowRight", "Enter");
    await tile.getByText("Playing", { exact: true }).waitFor({ state: "hidden" });
    const [position = ""] = (await living.field("player-position")).split(" of ");
    await bedroom.open(DARK_KNIGHT);
    await bedroom.tv.getByTestId("play").getByText(`Resume at ${position}`).waitFor();
    await bedroom.press("Backspace");
    await living.press("Backspace", "Backspace");
  });

  await context.test("unplugged, both go their own way; plugged in, they agree", async () => {
    await bedroom.toggleList(MATRIX);
    await living.tile("watchlist", MATRIX).waitFor();
    await bedroom.plug();
    await bedroom.says("state", "offline");
    await bedroom.toggleList(FIGHT_CLUB);
    await bedroom.toggleList(DARK_KNIGHT);
    await living.toggleList(GLADIATOR);
    await living.says("pending", "0");
    await bedroom.says("pending", "2");
    assert.deepEqual(await living.row("watchlist"), [GLADIATOR, MATRIX, DARK_KNIGHT]);
    assert.deepEqual(await bedroom.row("watchlist"), [FIGHT_CLUB, MATRIX]);

    await bedroom.plug();
    await bedroom.says("pending", "0");
    await living.tile("watchlist", FIGHT_CLUB).waitFor();
    await bedroom.tile("watchlist", GLADIATOR).waitFor();
    const wanted = [GLADIATOR, FIGHT_CLUB, MATRIX];
    for (const tv of [living, bedroom]) assert.deepEqual(await tv.row("watchlist"), wanted);
  });

  await bedroom.playAndStop(GLADIATOR);
  await living.tile("continue", GLADIATOR).waitFor();
  mkdirSync(PICTURES, { recursive: true });
  await living.press("ArrowRight", "ArrowRight");
  for (const frame of page.frames()) await frame.evaluate(MOTIONS_END);
  await page.screenshot({ path: join(PICTURES, "demo.png") });
  context.diagnostic(`picture: ${join(PICTURES, "demo.png")}`);
  assert.deepEqual(errors, []);
});

test("two TVs: the server dies, stays away and returns", async (context) => {
  const { edge, page, errors, living, bedroom } = await livingRoom(context);
  await living.toggleList(DARK_KNIGHT);
  await bedroom.tile("watchlist", DARK_KNIGHT).waitFor();
  const replicas = [await living.field("replica"), await bedroom.field("replica")];

  await context.test("killed and started again: nothing is lost", async () => {
    await edge.kill();
    for (const tv of [living, bedroom]) await tv.says("state", "connecting");
    await edge.start();
    for (const tv of [living, bedroom]) await tv.networkReturns();
    for (const tv of [living, bedroom]) await tv.says("state", "live");
    await living.toggleList(MATRIX);
    await bedroom.tile("watchlist", MATRIX).waitFor();
    for (const tv of [living, bedroom]) {
      assert.deepEqual(await tv.row("watchlist"), [MATRIX, DARK_KNIGHT]);
    }
  });

  for (const frame of page.frames().slice(1)) await filesKept(frame);
  await edge.stop();
  await context.test("with the server stopped nothing crosses, and each TV goes on", async () => {
    await living.toggleList(FIGHT_CLUB);
    await bedroom.toggleList(MATRIX);
    await living.says("pending", "1");
    await bedroom.says("pending", "1");
    assert.deepEqual(await living.row("watchlist"), [FIGHT_CLUB, MATRIX, DARK_KNIGHT]);
    assert.deepEqual(await bedroom.row("watchlist"), [DARK_KNIGHT]);
  });

  await context.test("reloaded without a server, each TV starts from its own storage", async () => {
    await page.reload();
    await living.tile("watchlist", FIGHT_CLUB).waitFor();
    await bedroom.tile("watchlist", DARK_KNIGHT).waitFor();
    assert.deepEqual(await living.row("watchlist"), [FIGHT_CLUB, MATRIX, DARK_KNIGHT]);
    assert.deepEqual(await bedroom.row("watchlist"), [DARK_KNIGHT]);
    assert.deepEqual([await living.field("replica"), await bedroom.field("replica")], replicas);
    for (const tv of [living, bedroom]) await tv.says("state", "connecting");
  });

  await context.test("the server returns and they agree again", async () => {
    await edge.start();
    for (const tv of [living, bedroom]) await tv.networkReturns();
    await bedroom.tile("watchlist", FIGHT_CLUB).waitFor();
    await living.tile("watchlist", MATRIX).waitFor({ state: "detached" });
    for (const tv of [living, bedroom]) {
      await tv.says("pending", "0");
      assert.deepEqual(await tv.row("watchlist"), [FIGHT_CLUB, DARK_KNIGHT]);
    }
  });
  assert.deepEqual(errors, []);
});

test("two TVs: one tells the other what to do", async (context) => {
  const { page, errors, living, bedroom } = await livingRoom(context);
  await living.open(MATRIX);
  const handOff = living.tv.getByTestId("hand-off");
  await handOff.getByText("Play on Bedroom").waitFor();
  await handOff.click();
  await bedroom.tv.getByTestId("player").getByText("The Matrix").waitFor();
  await living.tv.getByTestId("other-said").getByText("Bedroom: delivered").waitFor();
  await living.tv.getByTestId("pause-other").click();
  await bedroom.tv.getByTestId("player-state").getByText("paused").waitFor();
  mkdirSync(PICTURES, { recursive: true });
  for (const frame of page.frames()) await frame.evaluate(MOTIONS_END);
  await page.screenshot({ path: join(PICTURES, "remote.png") });
  context.diagnostic(`picture: ${join(PICTURES, "remote.png")}`);
  // A TV that is unplugged is not offered.
  await bedroom.plug();
  await handOff.waitFor({ state: "hidden" });
  assert.deepEqual(errors, []);
});
