// Makes src/catalog.json from the film list of the npm package vega-datasets. Run by hand:
//   npm pack vega-datasets@3.2.1 && tar xzf vega-datasets-3.2.1.tgz
//   node make-catalog.mjs package/data/movies.json
// The result is committed, so that a build needs neither the package nor this program.
import { readFileSync, writeFileSync } from "node:fs";

const TITLES = 60;
/** The list is known for planted mistakes; this film is dated ten years too early in it. */
const WRONG = new Set(["good-will-hunting"]);

const [source] = process.argv.slice(2);
if (source === undefined) {
  console.error("usage: node make-catalog.mjs MOVIES_JSON");
  process.exit(2);
}

/** @type {Array<Record<string, string | number | null>>} */
const films = JSON.parse(readFileSync(source, "utf8"));
const titles = films
  .filter(isComplete)
  .sort((a, b) => Number(b["IMDB Votes"]) - Number(a["IMDB Votes"]))
  .map(titleOf)
  .filter((title) => !WRONG.has(title.id))
  .slice(0, TITLES);
const lines = titles.map((title) => `  ${JSON.stringify(title)}`);
writeFileSync(new URL("src/catalog.json", import.meta.url), `[\n${lines.join(",\n")}\n]\n`);
console.log(`${titles.length} titles`);

/** @param {Record<string, string | number | null>} film */
function isComplete(film) {
  const wanted = ["Title", "Release Date", "Major Genre", "Running Time min", "MPAA Rating"];
  // Titles with accents are garbled in the list.
  const isPlain = /^[\x20-\x7e]+$/.test(String(film.Title));
  return isPlain && wanted.every((field) => film[field] !== null) && film["IMDB Votes"] !== null;
}

/** @param {Record<string, string | number | null>} film */
function titleOf(film) {
  const name = String(film.Title);
  return {
    id: name
      .toLowerCase()
      .replace(/['.]/g, "")
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-|-$/g, ""),
    name,
    year: Number(String(film["Release Date"]).slice(-4)),
    genre: String(film["Major Genre"]).split("/")[0],
    minutes: Number(film["Running Time min"]),
    rating: String(film["MPAA Rating"]),
  };
}
