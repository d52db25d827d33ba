// Tokens that are no good: the status says why, the device keeps its data, a good one heals it.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Edge } from "./edge.mjs";
import { newHousehold, openTv, titles } from "./tv.mjs";
import { eventually, until } from "./until.mjs";

/** @type {Edge} */
let edge;
before(async () => {
  edge = await Edge.start();
});
after(() => edge.dispose());

/** @param {object} header @param {object} claims */
function sign(header, claims) {
  const part = (/** @type {object} */ value) =>
    Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${part(header)}.${part(claims)}`;
  const secret = readFileSync(edge.secretFile, "utf8").trim();
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

/** Claims that are right for one household. @param {string} household */
function claims(household) {
  const now = Math.floor(Date.now() / 1000);
  return {
    iss: "omega-sync",
    aud: "omega-edge",
    sub: household,
    did: "tv-living",
    scope: "read write control",
    iat: now,
    nbf: now,
    exp: now + 300,
  };
}

const HS256 = { alg: "HS256", typ: "JWT" };

test("the token made here is accepted, so that the refusals below mean something", async (context) => {
  const household = newHousehold();
  const token = sign(HS256, claims(household));
  const tv = await openTv(context, edge, household, "tv-living", { token: async () => token });
  await eventually(tv, "live", () => tv.status().state === "live");
});

/** @type {Array<{name: string, token: (household: string) => string}>} */
const BAD = [
  { name: "missing", token: () => "" },
  { name: "garbage", token: () => "not.a.token" },
  { name: "expired", token: (home) => sign(HS256, { ...claims(home), exp: 1_000_000_000 }) },
  { name: "not valid yet", token: (home) => sign(HS256, { ...claims(home), nbf: 4_000_000_000 }) },
  { name: "alg none", token: (home) => sign({ alg: "none" }, claims(home)).replace(/[^.]*$/, "") },
  { name: "of another issuer", token: (home) => sign(HS256, { ...claims(home), iss: "other" }) },
  { name: "for another service", token: (home) => sign(HS256, { ...claims(home), aud: "other" }) },
];

for (const bad of BAD) {
  test(`a token that is ${bad.name}: unauthorized, and the data stays`, async (context) => {
    const household = newHousehold();
    let token = bad.token(household);
    const options = { token: async () => token };
    const tv = await openTv(context, edge, household, "tv-living", options);
    await tv.watchlist.add("tmdb:1");
    await eventually(tv, "refused", () => tv.status().closeReason === "unauthorized");
    assert.equal(tv.pending, 1);
    assert.deepEqual(titles(tv), ["tmdb:1"]);

    token = edge.token(household, "tv-living");
    tv.pause();
    tv.resume();
    await tv.flushed();
    assert.equal(tv.status().state, "live");
  });
}

/** For how long the server still takes a token that is over, in seconds: `LEEWAY` of `auth.rs`. */
const LEEWAY_S = 10;

/** A token that ends a session that it opens within seconds. @param {string} household */
function shortToken(household) {
  const now = Math.floor(Date.now() / 1000);
  const over = { iat: now - 60, nbf: now - 60, exp: now + 2 - LEEWAY_S };
  return sign(HS256, { ...claims(household), ...over });
}

/** What a TV says of errors from now on. @param {import("omega-sync").Client} tv */
function errorsOf(tv) {
  /** @type {Array<[string, string]>} */
  const errors = [];
  tv.on("error", ({ code, cause }) => errors.push([code, String(cause)]));
  return errors;
}

for (const [way, options, settled] of /** @type {const} */ ([
  ["a socket", {}, "live"],
  ["requests", { poll: { everySeconds: 1 } }, "polling"],
])) {
  test(`a token that runs out is followed by the next one, by ${way}`, async (context) => {
    const household = newHousehold();
    let next = () => shortToken(household);
    const tv = await openTv(context, edge, household, "tv-living", {
      ...options,
      token: async () => next(),
    });
    const errors = errorsOf(tv);
    await eventually(tv, "at work", () => tv.status().state === settled);
    const kept = shortToken(household);
    let asked = 0;
    // An app that keeps its token until it is refused.
    next = () => {
      asked += 1;
      const isRefused = tv.status().closeReason === "unauthorized";
      return isRefused ? edge.token(household, "tv-living") : kept;
    };
    await eventually(tv, "it is over", () => tv.status().closeReason === "unauthorized");
    await tv.watchlist.add("tmdb:1");
    await eventually(tv, "sent", () => tv.pending === 0);
    await eventually(tv, "at work again", () => tv.status().state === settled);
    assert.ok(asked > 0);
    assert.deepEqual(errors, []);
  });
}

test("a session ends with its token while no other is to be had: writes wait", async (context) => {
  const household = newHousehold();
  let next = async () => shortToken(household);
  const tv = await openTv(context, edge, household, "tv-living", {
    testing: { tokenTimeoutMs: 50 },
    token: () => next(),
  });
  const errors = errorsOf(tv);
  await eventually(tv, "live", () => tv.status().state === "live");
  const answers = [
    () => Promise.reject(new Error("the app's back end is away")),
    () => new Promise(() => undefined),
  ];
  next = async () => answers.shift()?.() ?? edge.token(household, "tv-living");
  await eventually(tv, "it is over", () => tv.status().closeReason === "unauthorized");
  await tv.watchlist.add("tmdb:1");
  await eventually(tv, "sent", () => tv.pending === 0);
  await eventually(tv, "live again", () => tv.status().state === "live");
  assert.deepEqual(errors, [
    ["token_failed", "Error: the app's back end is away"],
    ["token_failed", "Error: no token within 50 ms"],
  ]);
});

test("a token runs out while its TV is offline: what was written then arrives", async (context) => {
  const household = newHousehold();
  let next = () => shortToken(household);
  const tv = await openTv(context, edge, household, "tv-living", { token: async () => next() });
  const errors = errorsOf(tv);
  await eventually(tv, "live", () => tv.status().state === "live");
  tv.pause();
  const kept = shortToken(household);
  next = () => kept;
  await tv.watchlist.add("tmdb:1");
  await tv.progress.set("tmdb:1", { positionSeconds: 60, durationSeconds: 600 });
  await until("the token is over", async () => {
    const headers = { authorization: `Bearer ${kept}` };
    return (await fetch(`${edge.address}/api/v1/devices`, { headers })).status === 401;
  });
  tv.resume();
  await eventually(tv, "refused", () => tv.status().closeReason === "unauthorized");
  assert.equal(tv.pending, 2);
  next = () => edge.token(household, "tv-living");
  const flushed = tv.flushed();
  await eventually(tv, "sent", () => tv.pending === 0);
  await flushed;
  assert.deepEqual(errors, []);
  const other = await openTv(context, edge, household, "tv-bedroom");
  await eventually(other, "both", () => other.progress.resume("tmdb:1") === 60);
  assert.deepEqual(titles(other), ["tmdb:1"]);
});

test("a token of another household stops the client, which keeps its data", async (context) => {
  const tv = await openTv(context, edge, newHousehold(), "tv-living", { household: "somewhere" });
  await tv.watchlist.add("tmdb:1");
  await eventually(tv, "stopped", () => tv.status().state === "stopped");
  assert.equal(tv.status().closeReason, "household_mismatch");
  assert.deepEqual(titles(tv), ["tmdb:1"]);
});

test("a token without the write scope: the write is rejected, told and taken", async (context) => {
  const household = newHousehold();
  const tv = await openTv(context, edge, household, "tv-living", {
    token: async () => edge.token(household, "tv-living", "--scope", "read"),
  });
  await tv.watchlist.add("tmdb:1");
  await eventually(tv, "rejected", () => tv.rejected().length === 1);
  assert.deepEqual(titles(tv), []);
  const wanted = [{ kind: "watchlist_add", profile: "", subject: "tmdb:1", reason: "forbidden" }];
  assert.deepEqual(await tv.takeRejected(), wanted);
  assert.equal(tv.status().rejected, 0);
});

test("a token function that fails is reported and asked again", async (context) => {
  const household = newHousehold();
  let asked = 0;
  const tv = await openTv(context, edge, household, "tv-living", {
    token: async () => {
      asked += 1;
      if (asked === 1) throw new Error("the app's back end is away");
      return edge.token(household, "tv-living");
    },
  });
  /** @type {string[]} */
  const codes = [];
  tv.on("error", (error) => codes.push(error.code));
  await eventually(tv, "live", () => tv.status().state === "live");
  assert.deepEqual(codes, ["token_failed"]);
});

for (const poll of [undefined, { everySeconds: 1 }]) {
  const way = poll === undefined ? "a socket" : "requests";
  test(`a token function that never answers is reported and asked again, by ${way}`, async (context) => {
    const household = newHousehold();
    /** @type {Array<(token: string) => void>} */
    const asked = [];
    const tv = await openTv(context, edge, household, "tv-living", {
      ...(poll === undefined ? {} : { poll }),
      testing: { tokenTimeoutMs: 50 },
      token: () =>
        asked.length < 2
          ? new Promise((resolve) => asked.push(resolve))
          : Promise.resolve(edge.token(household, "tv-living")),
    });
    /** @type {Array<[string, string]>} */
    const errors = [];
    tv.on("error", (error) => errors.push([error.code, String(error.cause)]));
    await tv.watchlist.add("tmdb:1");
    await tv.flushed();
    // Answers that come after their time are of no use to anybody.
    for (const answer of asked) answer("late");
    const late = ["token_failed", "Error: no token within 50 ms"];
    assert.deepEqual(errors, [late, late]);
    assert.equal(tv.status().rejected, 0);
    await tv.watchlist.add("tmdb:2");
    await tv.flushed();
    const other = await openTv(context, edge, household, "tv-bedroom");
    await eventually(other, "both", () => titles(other).join() === "tmdb:1,tmdb:2");
  });
}

test("a clock a day ahead is corrected by the handshake", async (context) => {
  const household = newHousehold();
  const day = 86_400_000;
  const real = Date.now;
  context.after(() => {
    Date.now = real;
  });
  Date.now = () => real() + day;
  const wrong = await openTv(context, edge, household, "tv-wrong");
  await wrong.watchlist.add("tmdb:1");
  await wrong.flushed();
  assert.ok(Math.abs(wrong.status().offsetMs + day) < 5_000, `${wrong.status().offsetMs}`);
  Date.now = real;
  const right = await openTv(context, edge, household, "tv-right");
  await eventually(right, "title", () => right.watchlist.has("tmdb:1"));
  const [item] = right.watchlist.items();
  assert.ok(Math.abs((item?.addedMs ?? 0) - real()) < 60_000);
});

for (const [way, options] of /** @type {const} */ ([
  ["socket", {}],
  ["request", { poll: { everySeconds: 600 } }],
])) {
  test(`by ${way}: a token of another device is not used, and says so`, async (context) => {
    const household = newHousehold();
    const device = "tv \u00fc\u4e2d?>~";
    let token = edge.token(household, "tv-other");
    const tv = await openTv(context, edge, household, device, {
      token: async () => token,
      ...options,
    });
    /** @type {import("omega-sync").OmegaError[]} */
    const errors = [];
    tv.on("error", (error) => errors.push(error));
    await until("an error", () => errors.length > 0);
    assert.equal(errors[0]?.code, "token_failed");
    assert.match(String(errors[0]), /"tv-other", not of "tv \u00fc\u4e2d\?>~"/);
    await tv.watchlist.add("tmdb:1");
    assert.equal(tv.pending, 1);
    token = edge.token(household, device);
    tv.pause();
    tv.resume();
    await tv.flushed();
  });
}
