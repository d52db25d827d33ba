// A storage of the app's own that several tabs in one process share.
import { OmegaError } from "omega-sync";
import { newHousehold, openTv } from "./tv.mjs";
import { eventually } from "./until.mjs";

/** @typedef {import("omega-sync").Client} Client */
/** @typedef {import("omega-sync").StorageChange} StorageChange */

/** What the tabs share. */
export class Disk {
  /** @type {Uint8Array[]} */
  records = [];
  /** The last write of each tab that is stored. @type {Map<string, number>} */
  marks = new Map();
  generation = 0;
  /** How often it was erased. */
  erased = 0;
  name = newHousehold();
  /** @type {() => Promise<void>} what each commit waits for */
  gate = () => Promise.resolve();

  /** One tab's way to it. */
  open() {
    const disk = this;
    const life = disk.erased;
    let generation = -1;
    /** @type {Map<string, number>} */
    const marks = new Map();
    /** @param {StorageChange} change */
    const commit = async ({ replace, append, marks: written = [] }) => {
      await disk.gate();
      if (generation !== disk.generation) throw new OmegaError("superseded", "another tab");
      disk.records = (replace === undefined ? disk.records : [replace]).concat(append);
      for (const { tab, write } of written) disk.marks.set(tab, write);
    };
    return {
      ...{ kind: "ours", name: disk.name, marks, commit },
      get life() {
        return disk.generation === 0 ? undefined : disk.name;
      },
      load: async () => {
        disk.generation += 1;
        generation = disk.generation;
        for (const [tab, write] of disk.marks) marks.set(tab, write);
        return disk.records.slice();
      },
      peek: async () => ({
        records: disk.records.slice(),
        leads: generation === disk.generation,
      }),
      aside: async () => [],
      close: () => undefined,
      destroy: async () => {
        if (life !== disk.erased) throw new OmegaError("destroyed", "erased before");
        disk.erased += 1;
        disk.records = [];
        disk.marks.clear();
      },
    };
  }
}

/** Nobody is there. */
export const NOWHERE = /** @type {any} */ ({
  address: "http://127.0.0.1:1",
  token: () => "token",
});

/**
 * Two tabs, neither connected. On a loaded machine the first one may be silent for so long that the second
 * leads in its place: which of them does is waited for, not assumed.
 * @param {import("node:test").TestContext} context @param {Disk} disk
 */
export async function leaderAndFollower(context, disk) {
  const first = await openTv(context, NOWHERE, "", "tv", { storage: disk.open() });
  first.pause();
  await first.watchlist.add("before");
  const second = await openTv(context, NOWHERE, "", "tv", { storage: disk.open() });
  const leads = () => second.status().role === "leader";
  // What it knows of the connection it was told by who leads.
  const follows = (/** @type {Client} */ tv) =>
    tv.status().role === "follower" && tv.status().state === "offline";
  await eventually(second, "it follows or leads", () => follows(second) || leads());
  if (!leads()) return { leader: first, follower: second };
  second.pause();
  await eventually(first, "it follows", () => follows(first));
  return { leader: second, follower: first };
}
