// The README's way to keep a paired TV's refresh token, on an old engine from file:// and against the real
// server: asked for two at once, after a power cut, and with one that the server does not know.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { transform } from "esbuild";
import { PKG } from "../../scripts/paths.mjs";
import { newHousehold } from "../js/tv.mjs";
import { Stage } from "./matrix.mjs";
import { oldEngine, problemOf } from "./old.mjs";
import { runPage } from "./run.mjs";

const TIMEOUT_S = 60;
const DEVICE = "tv-paired";
const DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code";
const CLIENT = "tv-app";

/** What the page does with `kept` and `token` of the README. */
const VISITS = `
  const visits = {
    first: () =>
      kept(settings.refresh)
        .then(() => Promise.all([token(), token()]))
        .then(() => {
          if (new Set(sent).size !== 2) throw new Error("two renewals with the same token");
          console.log("both are kept");
          return new Promise(() => undefined);
        }),
    second: () =>
      OmegaSync.open({ url, device: settings.device, token })
        .then((client) =>
          client.watchlist
            .add("tmdb:603")
            .then(() => client.flushed())
            .then(() => client.close())
        )
        .then(() => kept("A".repeat(64)))
        .then(() => token().then(() => "a token", (error) => error.message))
        .then((refused) => kept().then((left) => refused + " " + left.length)),
  };
  visits[settings.visit]().then(
    (said) => { window.__result = "PASS " + said; },
    (error) => { window.__result = "FAIL " + error.message; }
  );
`;

/** @type {Stage} */
let stage;

before(async () => {
  stage = await Stage.open("--pair-url", "http://127.0.0.1");
  const readme = readFileSync(join(PKG, "README.md"), "utf8");
  const examples = Array.from(
    readme.matchAll(/^```ts\n(.*?)^```$/gms),
    ([, example = ""]) => example,
  );
  const recipe = examples.find((example) => example.includes("/oauth/token"));
  assert.ok(recipe, "the README has no such example");
  // An app is built for its TVs; this is what the package itself is built for.
  const { code } = await transform(recipe, { loader: "ts", target: ["es2016", "chrome53"] });
  const script = `(() => {
    const settings = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    const url = settings.url;
    const sent = [];
    const fetch = (address, what) => {
      sent.push(what.body);
      return window.fetch(address, what);
    };
    ${code}
    ${VISITS}
  })();`;
  for (const build of ["iife", "nowasm"]) {
    const site = join(stage.folder, "site", build);
    writeFileSync(join(site, "token.js"), script);
    const scripts = ["errors.js", "omega-sync.js", "token.js"];
    const tags = scripts.map((name) => `<script src="${name}"></script>`).join("");
    writeFileSync(join(site, "token.html"), `<!doctype html><meta charset="utf-8">${tags}`);
  }
});
after(() => stage.close());

/** @param {string} path @param {Record<string, string>} fields @returns {Promise<any>} */
async function form(path, fields) {
  const body = new URLSearchParams(fields);
  const answer = await fetch(stage.edge.address + path, { method: "POST", body });
  assert.equal(answer.status, 200, `${path} ${answer.status}`);
  return answer.json();
}

/** A TV asks, a phone of the household says yes. @param {string} household */
async function refreshToken(household) {
  const device = { client_id: CLIENT, device_id: DEVICE };
  const { user_code, device_code } = await form("/oauth/device_authorization", device);
  const answer = await fetch(`${stage.edge.address}/api/v1/pairing`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${stage.edge.token(household, "phone")}`,
      "Content-Type": "application/json",
    },
    body: JSON.stringify({ user_code, decision: "allow" }),
  });
  assert.equal(answer.status, 200);
  const code = { grant_type: DEVICE_CODE, device_code, client_id: CLIENT };
  return (await form("/oauth/token", code)).refresh_token;
}

for (const engine of ["m53", "m64", "m119"]) {
  const old = oldEngine(engine);
  const skip = (old && problemOf(old)) ?? false;
  test(`${engine}: a paired TV keeps its refresh token`, { skip }, async () => {
    const refresh = await refreshToken(newHousehold());
    const profile = mkdtempSync(join(stage.folder, "profile-"));
    /** @param {string} visit @param {(line: string) => boolean} [killAt] */
    const visit = (visit, killAt) => {
      const settings = { url: stage.edge.address, device: DEVICE, refresh, visit };
      const target = stage.address(engine, "file", settings, "token.html");
      return runPage({ engine, target, profile, timeoutS: TIMEOUT_S, ...(killAt && { killAt }) });
    };
    const cut = await visit("first", (line) => line.endsWith("both are kept"));
    assert.equal(cut.outcome, "killed", cut.text);
    const { text } = await visit("second");
    assert.equal(text, "PASS invalid_grant 64");
  });
}
