/**
 * A player without a film: the position advances, and every second of it is reported.
 *
 * One real second is half a minute of film, so that a viewer of the demo sees the bars move.
 */

import type { Command, CommandReply, PatternsClient, PlayState } from "omega-sync/patterns";
import { clockOf, paint, titleOf } from "./catalog.js";
import { element, type Screen, setText } from "./element.js";
import type { RemoteKey } from "./focus.js";

const TICK_MS = 1_000;
const FILM_SECONDS_PER_TICK = 30;
const SEEK_SECONDS = 300;

/** The player screen. */
export class Player implements Screen {
  readonly element: HTMLElement;
  private state: PlayState = "playing";
  private positionSeconds: number;
  private readonly durationSeconds: number;
  private readonly timer: number;
  private readonly bar = element("div", "bar-fill");
  private readonly stateText = element("span", "state", [], "player-state");
  private readonly positionText = element("span", "position", [], "player-position");

  constructor(
    private readonly client: PatternsClient,
    private readonly content: string,
    private readonly attempt: (write: Promise<void>) => void,
    private readonly back: () => void,
    positionSeconds = client.progress.resume(content),
  ) {
    const title = titleOf(content);
    this.durationSeconds = title.minutes * 60;
    this.positionSeconds = Math.min(positionSeconds, this.durationSeconds);
    this.element = element(
      "div",
      "player art",
      [
        element("div", "shade"),
        element("div", "controls", [
          element("h1", "title", [title.name]),
          element("div", "meter", [this.bar]),
          element("p", "line", [this.stateText, this.positionText]),
        ]),
      ],
      "player",
    );
    paint(this.element, title);
    this.element.addEventListener("click", () => this.press("enter"));
    this.timer = window.setInterval(() => this.tick(), TICK_MS);
    this.report();
  }

  /** While it stands still here, another TV's newer position is shown. */
  update(): void {
    const progress = this.client.progress.get(this.content);
    if (this.state === "paused" && progress !== undefined) {
      this.positionSeconds = progress.positionSeconds;
    }
    this.draw();
  }

  press(key: RemoteKey): void {
    if (key === "back") {
      this.back();
      return;
    }
    if (key === "enter") this.state = this.state === "playing" ? "paused" : "playing";
    if (key === "left") this.seek(-SEEK_SECONDS);
    if (key === "right") this.seek(SEEK_SECONDS);
    this.report();
  }

  /** What another TV wants of this one. */
  obey(command: Command): CommandReply {
    if (command.type === "stop") {
      this.back();
      return undefined;
    }
    if (command.type === "play") this.state = "playing";
    else if (command.type === "pause") this.state = "paused";
    else if (command.type === "seek") this.seek(command.positionSeconds - this.positionSeconds);
    else return "not_supported";
    this.report();
    return undefined;
  }

  leave(): void {
    window.clearInterval(this.timer);
    this.learn();
    if (this.state === "finished") return;
    this.state = "stopped";
    this.report();
  }

  /** A viewing has ended: that is what taste is learned from. */
  private learn(): void {
    const watched = this.positionSeconds / Math.max(1, this.durationSeconds);
    const finished = this.state === "finished";
    this.attempt(this.client.taste.record({ content: this.content, watched, finished }));
  }

  private tick(): void {
    if (this.state !== "playing") return;
    this.seek(FILM_SECONDS_PER_TICK);
    if (this.positionSeconds === this.durationSeconds) this.state = "finished";
    this.report();
    if (this.state === "finished") this.back();
  }

  private seek(seconds: number): void {
    const position = this.positionSeconds + seconds;
    this.positionSeconds = Math.max(0, Math.min(position, this.durationSeconds));
  }

  private report(): void {
    const { positionSeconds, durationSeconds, state } = this;
    const update = { positionSeconds, durationSeconds, state };
    this.attempt(this.client.progress.set(this.content, update));
    this.draw();
  }

  private draw(): void {
    const duration = Math.max(1, this.durationSeconds);
    this.bar.style.width = `${(100 * this.positionSeconds) / duration}%`;
    this.element.classList.toggle("paused", this.state === "paused");
    setText(this.stateText, this.state);
    const position = clockOf(this.positionSeconds);
    setText(this.positionText, `${position} of ${clockOf(this.durationSeconds)}`);
  }
}
