// What taste costs on a device: learning titles, recording viewings, recommending from as many titles as
// a device knows. Through the built package in Node, with storage in memory; titles are made up, of eight
// genres with four themes each. Needs `npm run build`. The last line is one JSON object.
import { MemoryStorage, open } from "omega-sync/patterns";
import WebSocket from "ws";
import { titles } from "../js/titles.mjs";

const GENRES = ["action", "comedy", "crime", "drama", "horror", "romance", "thriller", "western"];
const THEMES = 4;
const TITLES = 5_000;
const VIEWINGS = 400;
const RUNS = 200;
const LISTED = 10;
/** Of all runs, this many are slower. */
const SLOW_PARTS = 20;

const client = await open({
  url: "http://127.0.0.1:1",
  device: "tv",
  token: () => Promise.reject(new Error("no network")),
  storage: "memory",
  WebSocket,
  taste: { storages: [new MemoryStorage(), new MemoryStorage()] },
});
client.pause();
const groups = GENRES.length * THEMES;
const catalogue = Array.from({ length: groups }, (_, group) => {
  const each = Math.ceil(TITLES / groups);
  const genre = GENRES[group % GENRES.length] ?? "";
  return titles(genre, group, group * each, (group + 1) * each);
})
  .flat()
  .slice(0, TITLES);

const learned = await timed(() => client.taste.learnTitles(catalogue));
const recorded = await timed(async () => {
  for (let at = 0; at < VIEWINGS; at += 1) {
    // The prime walks through all groups.
    const { content } = catalogue[(at * 613) % TITLES] ?? { content: "" };
    await client.taste.record({ content, watched: at % 5 === 0 ? 0.3 : 1 });
  }
});
const first = await timed(() => client.taste.recommend(LISTED));
/** @type {number[]} */
const walls = [];
const before = process.cpuUsage();
for (let run = 0; run < RUNS; run += 1) {
  walls.push((await timed(() => client.taste.recommend(LISTED))).ms);
}
const cpu = process.cpuUsage(before);
walls.sort((a, b) => a - b);
const result = {
  bench: "taste",
  titles: client.taste.status().titles,
  patterns: client.taste.patterns().length,
  learn_titles_ms: learned.ms,
  record_ms: recorded.ms / VIEWINGS,
  recommend_first_ms: first.ms,
  recommend_ms_median: walls[RUNS / 2],
  recommend_ms_p95: walls[RUNS - RUNS / SLOW_PARTS],
  // What it takes on a machine that does nothing else.
  recommend_cpu_ms: (cpu.user + cpu.system) / RUNS / 1_000,
};
await client.close();
console.log(JSON.stringify(result));

/** @param {() => unknown} work */
async function timed(work) {
  const start = performance.now();
  await work();
  return { ms: performance.now() - start };
}
