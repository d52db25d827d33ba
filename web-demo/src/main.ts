/** Starts one TV: opens its copy of the household, shows it, and hands out the remote's keys. */

import {
  type CommandReply,
  type OmegaError,
  open,
  type PatternsClient,
  type ReceivedCommand,
} from "omega-sync/patterns";
import { TITLES } from "./catalog.js";
import { Details } from "./details.js";
import { element, type Screen, setChildren } from "./element.js";
import type { RemoteKey } from "./focus.js";
import { Home } from "./home.js";
import { inspect } from "./inspector.js";
import { placesOf } from "./places.js";
import { Player } from "./player.js";

/** Keyboards, and the Back keys of webOS (461) and Tizen (10009). */
const KEYS = new Map<string, RemoteKey>([
  ["ArrowUp", "up"],
  ["ArrowDown", "down"],
  ["ArrowLeft", "left"],
  ["ArrowRight", "right"],
  ["Enter", "enter"],
  ["Backspace", "back"],
  ["Escape", "back"],
]);
const BACK_KEY_CODES = new Set([461, 10009]);

const PLACES = new Map([
  ["tv-living", "Living room"],
  ["tv-bedroom", "Bedroom"],
]);

const query = new URLSearchParams(location.search);
const device = query.get("device") ?? "tv-living";
const household = query.get("household") ?? "demo";

start().catch((thrown: unknown) => {
  byId("screen").replaceChildren(element("p", "failure", [String(thrown)], "failure"));
});

async function start(): Promise<void> {
  const client = await open({
    url: location.origin,
    device,
    household,
    token: fetchToken,
    wasm: "omega_sync_patterns_bg.wasm",
    taste: { tables: "omega-sync-tables.bin" },
  });
  inspect(client, byId("inspector"));
  new Tv(client, byId("screen")).start();
  keepFiles();
}

/** So that a TV that is reloaded without the server starts too. */
function keepFiles(): void {
  // Missing where the page came over plain http from another machine.
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.register("offline.js").catch((refused: unknown) => {
    console.warn("this TV starts only while the server is there:", refused);
  });
}

/** Only a server in development gives tokens away like this; an app asks its own back end. */
async function fetchToken(): Promise<string> {
  const answer = await fetch(`/dev/token?${new URLSearchParams({ household, device })}`);
  if (!answer.ok) throw new Error(`no token: the server answered ${answer.status}`);
  const { token }: { token: string } = await answer.json();
  return token;
}

/** The screens and the way between them. */
class Tv {
  private readonly home: Home;
  private screen: Screen;
  private readonly notice = element("p", "notice", [], "notice");
  private readonly place = PLACES.get(device) ?? device;

  constructor(
    private readonly client: PatternsClient,
    private readonly root: HTMLElement,
  ) {
    document.title = `${this.place} TV`;
    this.home = new Home(client, this.place, (content) => this.openDetails(content));
    this.screen = this.home;
    this.notice.hidden = true;
  }

  start(): void {
    this.show(this.home);
    this.attempt(this.client.taste.learnTitles(placesOf(TITLES)));
    this.client.on("change", () => this.screen.update());
    this.client.taste.onChange(() => this.screen.update());
    this.client.on("error", (error) => this.report(error));
    this.client.devices.onCommand((received) => this.obey(received));
    const capabilities = { remoteControllable: true };
    this.attempt(
      this.client.devices.describe({ name: this.place, deviceType: "tv", capabilities }),
    );
    window.addEventListener("keydown", (event) => {
      const key = BACK_KEY_CODES.has(event.keyCode) ? "back" : KEYS.get(event.key);
      if (key === undefined) return;
      event.preventDefault();
      this.press(key);
    });
    for (const event of ["focus", "blur"]) {
      window.addEventListener(event, () => this.showWatched());
    }
    this.showWatched();
  }

  private press(key: RemoteKey): void {
    if (!this.notice.hidden && key === "enter") location.reload();
    else this.screen.press(key);
  }

  private show(screen: Screen): void {
    if (this.screen !== screen) this.screen.leave();
    this.screen = screen;
    screen.update();
    setChildren(this.root, [screen.element, this.notice]);
  }

  private openDetails(content: string): void {
    const details = new Details(this.client, content, {
      device,
      play: () => this.openPlayer(content),
      back: () => this.show(this.home),
      attempt: (write) => this.attempt(write),
    });
    this.show(details);
  }

  private openPlayer(content: string, positionSeconds?: number): void {
    const attempt = (write: Promise<void>) => this.attempt(write);
    const back = () => this.openDetails(content);
    this.show(new Player(this.client, content, attempt, back, positionSeconds));
  }

  /** What another TV wants of this one. */
  private obey({ command }: ReceivedCommand): CommandReply {
    if (command.type === "load_content") {
      if (!TITLES.some((title) => title.id === command.contentId)) return "invalid";
      this.openPlayer(command.contentId, command.startPosition);
      return undefined;
    }
    if (!(this.screen instanceof Player)) return "not_supported";
    return this.screen.obey(command);
  }

  private attempt(write: Promise<void>): void {
    write.catch((error: OmegaError) => this.report(error));
  }

  /** What the viewer has to know; the inspector shows the rest. */
  private report(error: OmegaError): void {
    if (error.code !== "superseded") return;
    this.notice.textContent = "This TV is open in another tab. Press Enter to use it here.";
    this.notice.hidden = false;
  }

  /** Keys go to one of the TVs: it is the one that looks switched on. */
  private showWatched(): void {
    document.body.classList.toggle("watched", document.hasFocus());
  }
}

function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}
