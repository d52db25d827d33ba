// What docs/deploy gives to operators: a unit that systemd takes, a Dockerfile without findings.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { HADOLINT } from "../../scripts/python.mjs";

const FOLDER = fileURLToPath(new URL("../../docs/deploy", import.meta.url));
const analyze = spawnSync("systemd-analyze", ["--version"]).status === 0;
const skip = analyze ? false : "systemd-analyze is not on this machine";

test("systemd takes the unit", { skip }, (context) => {
  const folder = mkdtempSync(join(tmpdir(), "omega-unit-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const unit = readFileSync(join(FOLDER, "omega-edge.service"), "utf8");
  // The program is not installed here, and systemd looks whether it is.
  const file = join(folder, "omega-edge-example.service");
  writeFileSync(file, unit.replace("/usr/local/bin/omega-edge", process.execPath));
  const verified = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
  assert.deepEqual([verified.status, verified.stderr], [0, ""]);
});

test("hadolint finds nothing in the Dockerfile", () => {
  const linted = spawnSync(HADOLINT, [join(FOLDER, "Dockerfile")], { encoding: "utf8" });
  assert.deepEqual([linted.status, linted.stdout], [0, ""], linted.stderr);
});
