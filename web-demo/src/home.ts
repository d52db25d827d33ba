/** The home screen: three rows of titles, one of them focused. */

import type { Client, Progress } from "omega-sync";
import { factsOf, paint, TITLES, titleOf } from "./catalog.js";
import { element, type Screen, setChildren, setText } from "./element.js";
import { type Focus, focused, keepFocus, moveFocus, type RemoteKey, type Row } from "./focus.js";

/** Tiles that fit beside each other; the next one peeks in. */
const TILES_VISIBLE = 4;

const ROWS = [
  { id: "continue", name: "Continue watching", empty: "What you play shows up here, on every TV." },
  { id: "watchlist", name: "My list", empty: "Titles you add show up here, on every TV." },
  { id: "all", name: "All titles", empty: "" },
];

/** The rows, their focus, and what opens a title. */
export class Home implements Screen {
  readonly element: HTMLElement;
  private rows: Row[] = [];
  private focus: Focus = { row: "all", contents: {} };
  private readonly shelves: Shelf[];

  constructor(
    private readonly client: Client,
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
    const contents: Record<string, string[]> = {
      continue: progress.map((item) => item.content),
      watchlist: this.client.watchlist.items().map((item) => item.content),
      all: TITLES.map((title) => title.id),
    };
    const rows = ROWS.map(({ id }) => ({ id, contents: contents[id] ?? [] }));
    this.focus = keepFocus(this.rows, rows, this.focus);
    this.rows = rows;
    const byContent = new Map(progress.map((item) => [item.content, item]));
    this.draw(byContent);
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

  private draw(progress: ReadonlyMap<string, Progress>): void {
    this.shelves.forEach((shelf, at) => {
      shelf.draw(this.rows[at]?.contents ?? [], progress);
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

/** One row on the screen. Its tiles are kept, so that they move instead of flashing. */
class Shelf {
  readonly element: HTMLElement;
  private readonly track = element("div", "track");
  private readonly hint: HTMLElement;
  private readonly tiles = new Map<string, Tile>();

  constructor(
    row: { id: string; name: string; empty: string },
    private readonly choose: (content: string) => void,
  ) {
    this.hint = element("p", "hint", [row.empty]);
    const heading = element("h2", "heading", [row.name]);
    this.element = element(
      "section",
      "shelf",
      [heading, element("div", "window", [this.track, this.hint])],
      `row-${row.id}`,
    );
  }

  draw(contents: readonly string[], progress: ReadonlyMap<string, Progress>): void {
    for (const content of Array.from(this.tiles.keys())) {
      if (!contents.includes(content)) this.tiles.delete(content);
    }
    const elements = contents.map((content) => {
      const tile = this.tiles.get(content) ?? new Tile(content, this.choose);
      this.tiles.set(content, tile);
      tile.draw(progress.get(content));
      return tile.element;
    });
    setChildren(this.track, elements);
    this.hint.hidden = contents.length > 0;
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

  constructor(content: string, choose: (content: string) => void) {
    const title = titleOf(content);
    this.element = element(
      "div",
      "tile art",
      [
        this.badge,
        element("div", "name", [title.name]),
        element("div", "facts", [factsOf(title)]),
        this.meter,
      ],
      `tile-${content}`,
    );
    paint(this.element, title);
    this.element.addEventListener("click", () => choose(content));
  }

  draw(progress: Progress | undefined): void {
    this.meter.hidden = progress === undefined;
    this.badge.hidden = progress?.state !== "playing";
    setText(this.badge, "Playing");
    if (progress !== undefined) this.bar.style.width = `${progress.percent}%`;
  }
}
