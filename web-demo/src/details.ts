/** One title: what it is, how far it was watched, and what can be done with it. */

import type { Client, CommandStatus, Device } from "omega-sync";
import { clockOf, factsOf, paint, titleOf } from "./catalog.js";
import { element, type Screen, setText } from "./element.js";
import type { RemoteKey } from "./focus.js";

/** What leads away from this screen, and where failures are shown. */
export interface DetailsActions {
  /** This TV. */
  device: string;
  play(content: string): void;
  back(): void;
  attempt(write: Promise<void>): void;
}

interface Button {
  element: HTMLElement;
  /** What it says; nothing when there is nothing to do. */
  label(): string | undefined;
  run(): void;
}

/** The details screen. */
export class Details implements Screen {
  readonly element: HTMLElement;
  private readonly buttons: Button[];
  private at = 0;
  private readonly bar = element("div", "bar-fill");
  private readonly meter = element("div", "meter", [this.bar]);
  private readonly position = element("p", "position", [], "details-position");
  /** What became of what the other TV was told. */
  private readonly said = element("p", "facts", [], "other-said");

  constructor(
    private readonly client: Client,
    private readonly content: string,
    private readonly actions: DetailsActions,
  ) {
    const title = titleOf(content);
    this.buttons = [
      this.button("play", () => this.playLabel(), this.play),
      this.button("list-toggle", () => this.listLabel(), this.toggleList),
      this.button("forget", () => this.forgetLabel(), this.forget),
      this.button("hand-off", () => this.otherLabel("Play on"), this.handOff),
      this.button("pause-other", () => this.otherLabel("Pause"), this.pauseOther),
    ];
    this.element = element(
      "div",
      "details art",
      [
        element("div", "shade"),
        element("div", "panel", [
          element("h1", "title", [title.name], "details-title"),
          element("p", "facts", [factsOf(title)]),
          this.meter,
          this.position,
          element(
            "div",
            "buttons",
            this.buttons.map((button) => button.element),
          ),
          this.said,
        ]),
      ],
      "details",
    );
    paint(this.element, title);
    this.update();
  }

  update(): void {
    const progress = this.client.progress.get(this.content);
    this.meter.hidden = progress === undefined;
    this.position.hidden = progress === undefined;
    if (progress !== undefined) {
      this.bar.style.width = `${progress.percent}%`;
      const { positionSeconds, durationSeconds, state } = progress;
      setText(
        this.position,
        `${clockOf(positionSeconds)} of ${clockOf(durationSeconds)}  ·  ${state}`,
      );
    }
    const usable = this.usable();
    this.at = Math.min(this.at, usable.length - 1);
    for (const button of this.buttons) {
      button.element.hidden = !usable.includes(button);
      setText(button.element, button.label() ?? "");
      button.element.classList.toggle("focused", button === usable[this.at]);
    }
  }

  press(key: RemoteKey): void {
    if (key === "back") this.actions.back();
    else if (key === "enter") this.usable()[this.at]?.run();
    else this.move(key === "left" || key === "up" ? -1 : 1);
  }

  leave(): void {}

  private move(step: number): void {
    this.at = Math.max(0, Math.min(this.at + step, this.usable().length - 1));
    this.update();
  }

  private usable(): Button[] {
    return this.buttons.filter((button) => button.label() !== undefined);
  }

  private button(id: string, label: Button["label"], run: () => void): Button {
    const made = { element: element("div", "button", [], id), label, run: run.bind(this) };
    made.element.addEventListener("click", made.run);
    return made;
  }

  private play(): void {
    this.actions.play(this.content);
  }

  private toggleList(): void {
    const list = this.client.watchlist;
    const listed = list.has(this.content);
    this.actions.attempt(listed ? list.remove(this.content) : list.add(this.content));
  }

  private forget(): void {
    this.actions.attempt(this.client.progress.remove(this.content));
  }

  /** Another TV that is on. */
  private other(): Device | undefined {
    const others = this.client.devices.list();
    return others.find(({ device, isOnline }) => isOnline && device !== this.actions.device);
  }

  private otherLabel(verb: string): string | undefined {
    const other = this.other();
    return other === undefined ? undefined : `${verb} ${other.name}`;
  }

  private handOff(): void {
    const request = { contentId: this.content };
    this.tell((other) =>
      this.client.devices.handoff(other.device, request).then(({ status }) => status),
    );
  }

  private pauseOther(): void {
    this.tell((other) => this.client.devices.send(other.device, { type: "pause" }));
  }

  private tell(say: (other: Device) => Promise<CommandStatus>): void {
    const other = this.other();
    if (other === undefined) return;
    const told = say(other).then((status) => setText(this.said, `${other.name}: ${status}`));
    this.actions.attempt(told);
  }

  private forgetLabel(): string | undefined {
    return this.client.progress.get(this.content) === undefined ? undefined : "Forget position";
  }

  private playLabel(): string {
    const seconds = this.client.progress.resume(this.content);
    return seconds === 0 ? "Play" : `Resume at ${clockOf(seconds)}`;
  }

  private listLabel(): string {
    return this.client.watchlist.has(this.content) ? "Remove from My list" : "Add to My list";
  }
}
