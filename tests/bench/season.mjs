// `npm run --silent bench -- season [--titles P.npy --titles-meta P.jsonl] [--households N]
// [--poisoners N] [--aim crowd] [--epochs N] [--seed N] [--plot FILE.svg]`: a simulated season of private aggregation
// at the shipped defaults, with the server's own code (tests/season). Without files the catalogue is
// made up. `--plot` draws quality against privacy from the figures.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CARGO_TARGET } from "../../scripts/paths.mjs";
import { Complaint, main, run } from "../../scripts/steps.mjs";
import { nativeToolchain } from "../../scripts/toolchain.mjs";
import { plot } from "./season/plot.mjs";

main(async () => {
  const args = process.argv.slice(2);
  const at = args.indexOf("--plot");
  const [, file] = at < 0 ? [] : args.splice(at, 2);
  if (at >= 0 && !file) throw new Complaint("--plot needs a file");
  const { cargo, env } = nativeToolchain();
  const build = ["build", "--locked", "--release", "-p", "omega-sync-season"];
  await run(cargo, build, { env, log: "season" });
  const figures = await season(args);
  if (file) writeFileSync(file, plot(figures));
  console.log(JSON.stringify(figures));
});

/** @param {string[]} args @returns {Promise<import("./season/plot.mjs").Figures>} */
async function season(args) {
  const program = join(CARGO_TARGET, "release", "season");
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(child, "close");
  let text = "";
  for await (const chunk of child.stdout.setEncoding("utf8")) text += chunk;
  const [code] = await closed;
  if (code !== 0) throw new Complaint("the season failed: its reason is above");
  return JSON.parse(text);
}
