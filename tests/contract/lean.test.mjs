// What the build without public keys, the one that `npm run build` makes, says of settings that it can't
// do: at the start, in one line.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { EDGE_BINARY } from "../../scripts/paths.mjs";

const BINARY = process.env.OMEGA_EDGE_BIN ?? EDGE_BINARY;
/** A server that starts in spite of all would run for good. */
const START_MS_MAX = 30_000;
const COLLECTOR = "http://127.0.0.1:4318";
const OTEL = "OTEL_EXPORTER_OTLP_ENDPOINT needs a build with OpenTelemetry: --features otel";
const CRYPTO = "needs a build with public keys: --features crypto";

/** @type {Array<[name: string, flags: string[], variables: Record<string, string>, said: string]>} */
const WANTED = [
  ["a collector by its flag", ["--otel-exporter-otlp-endpoint", COLLECTOR], {}, OTEL],
  ["a collector by its variable", [], { OTEL_EXPORTER_OTLP_ENDPOINT: COLLECTOR }, OTEL],
  ["a certificate", ["--tls-cert", "cert.pem", "--tls-key", "key.pem"], {}, `--tls-cert ${CRYPTO}`],
  ["an identity provider", ["--jwks", "https://id.example.org/keys"], {}, `--jwks ${CRYPTO}`],
];

for (const [name, flags, variables, said] of WANTED) {
  test(`the lean build can't do ${name}, and says so`, (context) => {
    const folder = mkdtempSync(join(tmpdir(), "omega-lean-"));
    context.after(() => rmSync(folder, { recursive: true, force: true }));
    const secret = join(folder, "secret");
    writeFileSync(secret, "test-secret-test-secret-test-secret-", { mode: 0o600 });
    const usual = ["--listen", "127.0.0.1:0", "--data", join(folder, "data"), "--jwt-secret-file"];
    const started = spawnSync(BINARY, ["serve", ...usual, secret, ...flags], {
      encoding: "utf8",
      env: { ...process.env, ...variables },
      timeout: START_MS_MAX,
    });
    assert.deepEqual([started.status, started.stderr], [2, `omega-edge: ${said}\n`]);
  });
}
