/** The home screen: rows of titles, one of them focused. */

import type { PatternsClient, Progress } from "omega-sync/patterns";
import { factsOf, paint, TITLES, titleOf } from "./catalog.js";
import { element, type Screen, setChildren, setText } from "./element.js";
import { type Focus, focused, keepFocus, moveFocus, type RemoteKey, type Row } from "./focus.js";

/** Tiles that fit beside each other; the next one peeks in. */
const TILES_VISIBLE = 4;

/** Titles that are recommended at once. */
const FOR_YOU_MAX = 12;

const ROWS = [
  { id: "continue", name: "Continue watching", empty: "What you play shows up here, on every TV." },
  { id: "watchlist", name: "My list", empty: "Titles you add show up here, on every TV." },
  // Not there before anything is known of the viewer's taste.
  { id: "foryou", name: "For you", empty: undefined },
  { id: "all", name: "All titles", empty: "" },
];

/** The rows, their focus, and what opens a title. */
export class Home implements Screen {
  readonly element: HTMLElement;
  private rows: Row[] = [];
  private focus: Focus = { row: "all", contents: {} };
  private readonly shelves: Shelf[];

  constructor(
    private readonly client: PatternsClient,
    place: string,
    private readonly openTitle: (content: string) => void,
  ) {
    this.shelves = ROWS.map((row) => new Shelf(row, (content) => this.choose(row.id, content)));
    const bar = element("header", "bar", [
      element("span", "brand", ["Ω"]),
      element("span", "place", [place]),
    ]);
    this.element = element("div", "home", [bar, ...this.shelves.map((shelf) => shelf.element)]);
    this.update();
  }

  update(): void {
    const progress = this.client.progress.inProgress();
    const title = (content: string) => titleOf(content).name;
    const picks = this.client.taste.recommend(FOR_YOU_MAX, { title });
    const contents: Record<string, string[]> = {
      continue: progress.map((item) => item.content),
      watchlist: this.client.watchlist.items().map((item) => item.content),
      foryou: picks.map((pick) => pick.content),
      all: TITLES.map((title) => title.id),
    };
    const rows = ROWS.map(({ id }) => ({ id, contents: contents[id] ?? [] }));
    this.focus = keepFocus(this.rows, rows, this.focus);
    this.rows = rows;
    const byContent = new Map(progress.map((item) => [item.content, item]));
    const reasons = new Map(picks.map((pick) => [pick.content, pick.reason.text]));
    this.element.classList.toggle("four", picks.length > 0);
    this.draw(byContent, reasons);
  }

  press(key: RemoteKey): void {
    const content = focused(this.focus);
    if (key === "enter" && content !== undefined) {
      this.openTitle(content);
      return;
    }
    this.focus = moveFocus(this.rows, this.focus, key);
    this.drawFocus();
  }

  leave(): void {}

  private choose(row: string, content: string): void {
    this.focus = { row, contents: { ...this.focus.contents, [row]: content } };
    this.drawFocus();
    this.openTitle(content);
  }

  private draw(
    progress: ReadonlyMap<string, Progress>,
    reasons: ReadonlyMap<string, string>,
  ): void {
    this.shelves.forEach((shelf, at) => {
      const row = this.rows[at];
      shelf.draw(row?.contents ?? [], progress, row?.id === "foryou" ? reasons : NO_REASONS);
    });
    this.drawFocus();
  }

  private drawFocus(): void {
    this.shelves.forEach((shelf, at) => {
      const row = this.rows[at];
      if (row !== undefined) shelf.drawFocus(row, this.focus);
    });
  }
}

const NO_REASONS: ReadonlyMap<string, string> = new Map();

/** One row on the screen. Its tiles are kept, so that they move instead of flashing. */
class Shelf {
  readonly element: HTMLElement;
  private readonly track = element("div", "track");
  private readonly hint: HTMLElement;
  private readonly tiles = new Map<string, Tile>();

  constructor(
    private readonly row: { id: string; name: string; empty: string | undefined },
    private readonly choose: (content: string) => void,
  ) {
    this.hint = element("p", "hint", [row.empty ?? ""]);
    const heading = element("h2", "heading", [row.name]);
    this.element = element(
      "section",
      "shelf",
      [heading, element("div", "window", [this.track, this.hint])],
      `row-${row.id}`,
    );
  }

  draw(
    contents: readonly string[],
    progress: ReadonlyMap<string, Progress>,
    reasons: ReadonlyMap<string, string>,
  ): void {
    for (const content of Array.from(this.tiles.keys())) {
      if (!contents.includes(content)) this.tiles.delete(content);
    }
    const elements = contents.map((content) => {
      const tile = this.tiles.get(content) ?? new Tile(content, this.choose);
      this.tiles.set(content, tile);
      tile.draw(progress.get(content), reasons.get(content));
      return tile.element;
    });
    setChildren(this.track, elements);
    this.hint.hidden = contents.length > 0;
    this.element.hidden = contents.length === 0 && this.row.empty === undefined;
  }

  drawFocus(row: Row, focus: Focus): void {
    const content = focus.contents[row.id];
    const at = content === undefined ? 0 : row.contents.indexOf(content);
    const last = Math.max(0, row.contents.length - TILES_VISIBLE);
    this.track.style.setProperty("--shift", String(Math.max(0, Math.min(at - 1, last))));
    for (const [id, tile] of Array.from(this.tiles)) {
      tile.element.classList.toggle("focused", row.id === focus.row && id === content);
    }
  }
}

class Tile {
  readonly element: HTMLElement;
  private readonly bar = element("div", "bar-fill");
  private readonly meter = element("div", "meter", [this.bar]);
  private readonly badge = element("span", "badge");
  private readonly facts: HTMLElement;
  private readonly ownFacts: string;

  constructor(content: string, choose: (content: string) => void) {
    const title = titleOf(content);
    this.ownFacts = factsOf(title);
    this.facts = element("div", "facts", [this.ownFacts]);
    this.element = element(
      "div",
      "tile art",
      [this.badge, element("div", "name", [title.name]), this.facts, this.meter],
      `tile-${content}`,
    );
    paint(this.element, title);
    this.element.addEventListener("click", () => choose(content));
  }

  /** Shows how far the title was watched, and why it is here if there is a reason. */
  draw(progress: Progress | undefined, reason: string | undefined): void {
    setText(this.facts, reason ?? this.ownFacts);
    this.meter.hidden = progress === undefined;
    this.badge.hidden = progress?.state !== "playing";
    setText(this.badge, "Playing");
    if (progress !== undefined) this.bar.style.width = `${progress.percent}%`;
  }
}
