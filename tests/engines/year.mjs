// A year of a household, and visits to it on an old engine that say what the page's main thread did.
import { MainThread } from "./main-thread.mjs";
import { runPage } from "./run.mjs";

const TIMEOUT_S = 120;

/** Two titles a day with progress, a list that grew by three a week, two profiles. */
export const YEAR = { progress: 730, watchlist: 156 };
/** The title that is written last. */
export const YEAR_LAST = "year:last";

/** Writes a year, and waits until the server has it. @param {import("omega-sync").Client} client */
export async function fillYear(client) {
  const writes = [];
  for (let at = 0; at < YEAR.progress; at += 1) {
    const finished = at % 3 !== 0;
    const update = {
      positionSeconds: finished ? 3590 : 60 + ((at * 37) % 3000),
      durationSeconds: 3600,
    };
    writes.push(client.progress.set(`tmdb:${1000 + at * 7}`, update));
  }
  for (let at = 0; at < YEAR.watchlist; at += 1)
    writes.push(client.watchlist.add(`tmdb:${at * 11}`));
  await client.profiles.create("Kinder");
  await Promise.all(writes);
  await client.watchlist.add(YEAR_LAST);
  await client.flushed();
}

/**
 * One visit of `pages/speed.js`: what it says, and `thread`, its main thread.
 * @param {string} engine @param {string} target @param {string} profile
 * @param {number} [rate] by which the main thread is slowed down
 */
export async function visit(engine, target, profile, rate = 1) {
  /** @type {string[]} */
  const lines = [];
  const thread = new MainThread();
  const verdict = await runPage({
    ...{ engine, target, profile, timeoutS: TIMEOUT_S, says: "[log] done" },
    log: (line) => void lines.push(line),
    prepare: async (devtools) => {
      await devtools.call("Emulation.setCPUThrottlingRate", { rate });
      await thread.prepare(devtools);
    },
    event: thread.event,
    finish: thread.finish,
  });
  if (verdict.outcome !== "pass") throw new Error([verdict.text, ...lines].join("\n"));
  return { ...JSON.parse(verdict.text.slice("PASS ".length)), thread };
}
