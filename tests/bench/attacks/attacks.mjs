// The attacks. Each ends by itself, closes what it opened, and says what became of it.
import { setTimeout as after } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import {
  closed,
  connect,
  drained,
  figure,
  frame,
  openFiles,
  openFilesMax,
  said,
  token,
  upgraded,
} from "./sockets.mjs";

/** @typedef {import("./sockets.mjs").Edge} Edge */
/** @typedef {import("./sockets.mjs").Socket} Socket */
/**
 * `connections`: at a time, for the bound of memory. `extra`: bytes on top of what they may cost.
 * @typedef {{connections: number, extra?: number, [outcome: string]: unknown}} Outcome
 * @typedef {{what: string, attack: (edge: Edge) => Promise<Outcome>}} Attack
 */

/** An attack that the server has not ended by then has got through. */
const ATTACK_MS_MAX = 75_000;
/** What the server may have open of one device, and of one household: its defaults. */
const OF_A_DEVICE = 15;
const DEVICES = 4;
/** Descriptors of the server, or of this process, that are no attack's. */
const OTHER_FILES = 200;
const SMALL_FRAMES = 1_000_000;
const SMALL_FRAMES_MS_MAX = 20_000;
/** For a socket that is above its quota to be closed. */
const CLOSE_MS_MAX = 5_000;
const AT_QUOTA_MS = 6_000;
/** For how long many sockets do nothing. */
const IDLE_MS = 5_000;
const GIB = 1024 ** 3;

/** @type {Record<string, Attack>} */
export const ATTACKS = {
  at_quota: { what: "a household that sends all it may, and more", attack: atQuota },
  slowloris: { what: "1,000 requests whose headers never end", attack: slowloris },
  header_flood: { what: "100 connections of endless headers", attack: headerFlood },
  large_body: { what: "bodies of 1 GiB", attack: largeBody },
  compressed: { what: "bodies that would be large unpacked", attack: compressed },
  small_frames: { what: "a million small frames of one device", attack: smallFrames },
  crowd_frames: { what: "a million small frames of a hundred households", attack: crowdFrames },
  never_reads: { what: "150 readers that ask and never read", attack: neverReads },
  half_open: { what: "480 sockets whose other ends say nothing any more", attack: halfOpen },
  idle: { what: "9,900 sockets that do nothing", attack: idle },
};

/** @param {Edge} edge @returns {Promise<Outcome>} */
async function atQuota(edge) {
  const sockets = await Promise.all(
    Array.from({ length: DEVICES }, (_, at) =>
      upgraded(edge.port, token(edge, "at-quota", `tv-${at}`)),
    ),
  );
  const before = await figure(edge, "omega_frames_received_total");
  const end = performance.now() + AT_QUOTA_MS;
  await Promise.all(
    sockets.map(async (socket) => {
      let heard = 0;
      socket.on("data", (data) => {
        heard += data.length;
      });
      for (let write = 0; performance.now() < end && !socket.destroyed; write += 1) {
        socket.write(frame(progress("tmdb:603", write)));
        const known = heard;
        while (heard === known && !socket.destroyed && performance.now() < end) await after(1);
      }
    }),
  );
  const messages = (await figure(edge, "omega_frames_received_total")) - before;
  for (const socket of sockets) socket.destroy();
  return { connections: sockets.length, messages_of_all: messages };
}

/** @param {Edge} edge */
export async function slowloris(edge, many = 1_000) {
  const sockets = await all(many, () => connect(edge.port));
  for (const socket of sockets)
    socket.write("GET /api/v1/watchlist HTTP/1.1\r\nhost: localhost\r\n");
  const drip = setInterval(() => {
    for (const socket of sockets) if (socket.writable) socket.write("x: y\r\n");
  }, 1_000);
  const began = performance.now();
  const ends = await Promise.all(sockets.map((socket) => said(socket, ATTACK_MS_MAX)));
  clearInterval(drip);
  const statuses = [...new Set(ends.map(({ status }) => status))];
  const ended = ends.filter(({ ended }) => ended).length;
  return { connections: sockets.length, closed: ended, statuses, seconds: since(began) };
}

/** @param {Edge} edge */
export async function headerFlood(edge, many = 100) {
  const line = Buffer.from(`x: ${"y".repeat(1_020)}\r\n`);
  const floods = await all(many, async () => {
    const socket = await connect(edge.port);
    const answer = said(socket, ATTACK_MS_MAX);
    socket.write("GET /api/v1/watchlist HTTP/1.1\r\nhost: localhost\r\n");
    let bytes = 0;
    for (; !socket.destroyed && socket.writable; bytes += line.length) {
      socket.write(line);
      await drained(socket);
      await after(0);
    }
    return { ...(await answer), bytes };
  });
  const statuses = [...new Set(floods.map(({ status }) => status))];
  const bytes = Math.max(...floods.map((flood) => flood.bytes));
  return { connections: floods.length, statuses, most_bytes_sent: bytes };
}

/** One says its length, one does not, one is a session, one has no token. @param {Edge} edge */
export async function largeBody(edge) {
  const known = `authorization: Bearer ${token(edge, "bodies")}`;
  const said_ = `content-length: ${GIB}`;
  const chunked = "transfer-encoding: chunked";
  const json = "content-type: application/json";
  const binary = "content-type: application/octet-stream";
  const [watchlist, sync] = ["/api/v1/sync/watchlist", "/api/v1/sync"];
  const outcomes = {
    json_said: await body(edge, watchlist, [known, json, said_]),
    json_chunked: await body(edge, watchlist, [known, json, chunked]),
    session_said: await body(edge, sync, [known, binary, said_]),
    session_chunked: await body(edge, sync, [known, binary, chunked]),
    no_token_chunked: await body(edge, sync, [binary, chunked]),
  };
  return { connections: 1, ...outcomes };
}

/** Sends as much of 1 GiB as is taken. @param {Edge} edge @param {string} path @param {string[]} headers */
async function body(edge, path, headers) {
  const socket = await connect(edge.port);
  const answer = said(socket, ATTACK_MS_MAX);
  socket.write(head(path, headers));
  const bytes = Buffer.alloc(64 * 1024, 0x20);
  const chunk = headers.includes("transfer-encoding: chunked")
    ? Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")])
    : bytes;
  let sent = 0;
  for (; sent < GIB && !socket.destroyed && socket.writable; sent += bytes.length) {
    socket.write(chunk);
    await drained(socket);
    await after(0);
  }
  return { status: (await answer).status, sent_bytes: sent };
}

/** @param {Edge} edge */
export async function compressed(edge) {
  const known = token(edge, "bombs");
  const large = Buffer.alloc(64 * 1024 * 1024, 0x20);
  const bomb = gzipSync(large);
  /** @type {Record<string, {status: number, bytes: number}>} */
  const answers = {};
  // The server refuses by name, so what is behind the name need not be so.
  for (const coding of ["gzip", "zstd", "br", "deflate"]) {
    const socket = await connect(edge.port);
    const answer = said(socket, ATTACK_MS_MAX);
    const json = ["content-type: application/json", `content-encoding: ${coding}`];
    const bearer = `authorization: Bearer ${known}`;
    socket.write(
      head("/api/v1/sync/watchlist", [bearer, ...json, `content-length: ${bomb.length}`]),
    );
    socket.write(bomb);
    answers[coding] = { status: (await answer).status, bytes: bomb.length };
  }
  // The extension that would compress a WebSocket's frames.
  const asked = ["sec-websocket-extensions: permessage-deflate; client_max_window_bits"];
  const socket = await upgraded(edge.port, known, asked);
  const deflate = /sec-websocket-extensions/i.test(socket.answer ?? "");
  socket.destroy();
  return { connections: 1, unpacked_bytes: large.length, answers, deflate_taken: deflate };
}

/** One device with all the sockets it may have, which comes back whenever it is closed. @param {Edge} edge */
export async function smallFrames(edge, many = SMALL_FRAMES) {
  const bearer = token(edge, "frames");
  const batch = Buffer.concat(Array.from({ length: 1_000 }, () => frame('{"type":"ping"}')));
  const before = await figure(edge, "omega_frames_received_total");
  const closesBefore = await figure(edge, 'omega_closes_total{code="rate_limited"}');
  const end = performance.now() + SMALL_FRAMES_MS_MAX;
  const began = performance.now();
  let sent = 0;
  await all(OF_A_DEVICE, async () => {
    while (sent < many && performance.now() < end) {
      const socket = await upgraded(edge.port, bearer);
      socket.resume();
      while (sent < many && performance.now() < end && !socket.destroyed) {
        socket.write(batch);
        sent += 1_000;
        await drained(socket);
        await after(0);
      }
      // For the server to read what it wants to.
      await closed(socket, CLOSE_MS_MAX);
      socket.destroy();
    }
  });
  const seconds = since(began);
  const received = (await figure(edge, "omega_frames_received_total")) - before;
  const closes = (await figure(edge, 'omega_closes_total{code="rate_limited"}')) - closesBefore;
  return { connections: OF_A_DEVICE, frames: sent, received_of_all: received, closes, seconds };
}

/** Each below its quota of frames, so that all are read and answered. @param {Edge} edge */
async function crowdFrames(edge) {
  const batch = Buffer.concat(Array.from({ length: 500 }, () => frame('{"type":"ping"}')));
  const sockets = await Promise.all(
    Array.from({ length: 100 }, (_, at) => upgraded(edge.port, token(edge, `frames-${at}`))),
  );
  const before = await figure(edge, "omega_frames_received_total");
  const began = performance.now();
  const end = began + SMALL_FRAMES_MS_MAX;
  await Promise.all(
    sockets.map(async (socket) => {
      socket.resume();
      const own = SMALL_FRAMES / sockets.length;
      for (let sent = 0; sent < own && performance.now() < end; sent += 500) {
        socket.write(batch);
        await drained(socket);
        await after(0);
      }
    }),
  );
  const received = async () => (await figure(edge, "omega_frames_received_total")) - before;
  while ((await received()) < SMALL_FRAMES && performance.now() < end) await after(100);
  const seconds = since(began);
  const frames = await received();
  for (const socket of sockets) socket.destroy();
  return { connections: sockets.length, received_of_all: frames, seconds };
}

/** Sockets, and requests one after the other on a connection. @param {Edge} edge */
export async function neverReads(edge, many = 100) {
  const slowBefore = await figure(edge, 'omega_closes_total{code="slow"}');
  const ping = frame(JSON.stringify({ type: "ping", id: "x".repeat(60) }));
  const request = Buffer.from("GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n");
  const sockets = await Promise.all(
    Array.from({ length: many }, (_, at) => upgraded(edge.port, token(edge, `deaf-${at}`))),
  );
  const requests = await all(many / 2, () => connect(edge.port));
  const began = performance.now();
  const ends = await Promise.all([
    ...sockets.map((socket) => deafUntilClosed(socket, ping, 8_000)),
    ...requests.map((socket) => deafUntilClosed(socket, request, 200)),
  ]);
  const slow = (await figure(edge, 'omega_closes_total{code="slow"}')) - slowBefore;
  const closed = ends.filter(Boolean).length;
  return { connections: ends.length, closed, sockets_closed_slow: slow, seconds: since(began) };
}

/**
 * Asks and asks and reads nothing. Whether the server ends it, which only a write notices then.
 * @param {Socket} socket @param {Buffer} question @param {number} times at once, at first
 */
async function deafUntilClosed(socket, question, times) {
  socket.pause();
  socket.write(Buffer.concat(Array.from({ length: times }, () => question)));
  const poke = setInterval(() => socket.write(question), 250);
  const closing = new Promise((resolve) => socket.once("close", () => resolve(true)));
  const ended = await Promise.race([closing, after(ATTACK_MS_MAX, false, { ref: false })]);
  clearInterval(poke);
  socket.destroy();
  return ended;
}

/** @param {Edge} edge @returns {Promise<Outcome>} */
async function halfOpen(edge) {
  const idleBefore = await figure(edge, 'omega_closes_total{code="idle"}');
  const sockets = await crowd(edge, 8);
  // Nothing is read or written any more, not even a pong: as after a pulled plug.
  for (const socket of sockets) socket.pause();
  const began = performance.now();
  const dropped = async () => (await figure(edge, 'omega_closes_total{code="idle"}')) - idleBefore;
  while ((await dropped()) < sockets.length && performance.now() - began < ATTACK_MS_MAX) {
    await after(500);
  }
  const seconds = since(began);
  const closes = await dropped();
  for (const socket of sockets) socket.destroy();
  return { connections: sockets.length, closed_idle: closes, seconds };
}

/** @param {Edge} edge */
export async function idle(edge, many = 9_900) {
  const most = Math.min(many, openFilesMax() - OTHER_FILES);
  const sockets = await crowd(edge, Math.floor(most / (OF_A_DEVICE * DEVICES)));
  await after(IDLE_MS);
  const open = await figure(edge, "omega_sockets");
  const files = openFiles(edge);
  const ended = sockets.filter((socket) => socket.destroyed).length;
  for (const socket of sockets) socket.destroy();
  return { connections: sockets.length, sockets_open: open, open_files: files, closed: ended };
}

/** JSON sockets, as many as a household may have, of so many households. @param {Edge} edge @param {number} households */
export async function crowd(edge, households) {
  /** @type {Socket[]} */
  const sockets = [];
  for (let household = 0; household < households; household += 1) {
    const bearers = Array.from({ length: DEVICES }, (_, at) =>
      token(edge, `crowd-${household}`, `tv-${at}`),
    );
    const each = bearers.flatMap((bearer) =>
      Array.from({ length: OF_A_DEVICE }, () => upgraded(edge.port, bearer)),
    );
    sockets.push(...(await Promise.all(each)));
  }
  return sockets;
}

/** @param {string} path @param {string[]} headers */
function head(path, headers) {
  const usual = [`POST ${path} HTTP/1.1`, "host: localhost", "connection: close"];
  return `${[...usual, ...headers].join("\r\n")}\r\n\r\n`;
}

/** @param {string} title @param {number} position */
function progress(title, position) {
  return JSON.stringify({
    ...{ type: "progress_update", content_id: title, position_seconds: position % 8_000 },
    ...{ duration_seconds: 8_160, state: "playing" },
  });
}

/** @template T @param {number} many @param {() => Promise<T>} one */
function all(many, one) {
  return Promise.all(Array.from({ length: many }, one));
}

/** @param {number} began */
function since(began) {
  return Number(((performance.now() - began) / 1_000).toFixed(1));
}
