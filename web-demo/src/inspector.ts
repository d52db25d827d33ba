/** The panel under the TV: its plug, and what the sync engine is doing. */

import type { Client, Status } from "omega-sync";
import { element, setChildren, setText } from "./element.js";

const EVENTS_MAX = 12;

const FIELDS: readonly { id: string; name: string; read: (status: Status) => string }[] = [
  { id: "state", name: "State", read: (status) => status.state },
  { id: "pending", name: "Pending", read: (status) => String(status.pending) },
  { id: "rejected", name: "Rejected", read: (status) => String(status.rejected) },
  { id: "offset", name: "Clock offset", read: (status) => `${status.offsetMs} ms` },
  { id: "storage", name: "Storage", read: (status) => status.storage },
  { id: "household", name: "Household", read: (status) => status.household || "not known yet" },
  { id: "replica", name: "Replica", read: (status) => status.replica },
  { id: "closed", name: "Last closed", read: (status) => status.closeReason || "never" },
];

/** Fills `panel` and keeps it up to date. */
export function inspect(client: Client, panel: HTMLElement): void {
  const plug = element("button", "plug", [], "offline-switch");
  const cells = FIELDS.map(({ id }) => element("dd", "", [], id));
  const list = element("dl", "fields");
  FIELDS.forEach(({ name }, at) => {
    const cell = cells[at];
    if (cell !== undefined) list.append(element("div", "field", [element("dt", "", [name]), cell]));
  });
  const events = new EventList();
  setChildren(panel, [
    element("div", "engine", [plug, list]),
    element("div", "log", [element("h3", "", ["Events"]), events.element]),
  ]);

  let plugged = true;
  const draw = (status: Status) => {
    panel.dataset.state = status.state;
    FIELDS.forEach(({ read }, at) => {
      const cell = cells[at];
      if (cell !== undefined) setText(cell, read(status));
    });
    plug.setAttribute("aria-pressed", String(!plugged));
    setText(plug, plugged ? "Unplug from the network" : "Plug in again");
  };
  plug.addEventListener("click", () => {
    plugged = !plugged;
    if (plugged) client.resume();
    else client.pause();
    // The remote's keys go on to the TV, not to this button.
    plug.blur();
    draw(client.status());
  });

  let state = "";
  client.on("status", (status) => {
    draw(status);
    if (status.state !== state) events.add(status.state);
    state = status.state;
  });
  client.on("change", ({ what }) => events.add(`${what} changed`));
  client.on("rejected", (rejected) => events.add(`${rejected.length} writes refused`));
  client.on("error", (error) => events.add(error.code));
  draw(client.status());
}

/** The last few events, newest first; the same one again counts up instead of scrolling. */
class EventList {
  readonly element = element("ol", "events");
  private readonly entries: { text: string; count: number; at: Date }[] = [];

  add(text: string): void {
    const [newest] = this.entries;
    if (newest?.text === text) {
      newest.count += 1;
      newest.at = new Date();
    } else {
      this.entries.unshift({ text, count: 1, at: new Date() });
      this.entries.splice(EVENTS_MAX);
    }
    setChildren(
      this.element,
      this.entries.map(({ text, count, at }) =>
        element("li", "", [
          element("time", "", [at.toTimeString().slice(0, 8)]),
          count > 1 ? `${text} ×${count}` : text,
        ]),
      ),
    );
  }
}
