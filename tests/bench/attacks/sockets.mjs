// Bare TCP connections to the server, WebSocket frames as bytes (RFC 6455, section 5.2), and what Linux
// and the server say of the server.
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createConnection } from "node:net";

/** Masked with zeros. */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const TOKEN_LIFE_S = 3_600;

/** @typedef {import("../../js/edge.mjs").Edge} Edge */
/** @typedef {import("node:net").Socket & {answer?: string, said: string}} Socket */

/** All that are open. @type {Set<Socket>} */
const OPEN = new Set();

/** Ends all: one that is not read would not notice that the server is gone. */
export function endAll() {
  for (const socket of OPEN) socket.destroy();
}

/** An open connection; what goes wrong with it later is part of the attack. @param {number} port */
export async function connect(port) {
  const socket = /** @type {Socket} */ (createConnection({ port, host: "127.0.0.1" }));
  await once(socket, "connect");
  OPEN.add(socket);
  socket.on("error", () => {});
  socket.once("close", () => OPEN.delete(socket));
  return socket;
}

/**
 * A WebSocket that speaks JSON, open and authorised.
 * @param {number} port @param {string} token @param {string[]} [headers]
 */
export async function upgraded(port, token, headers = []) {
  const socket = await connect(port);
  const lines = [
    ...["GET /ws HTTP/1.1", "host: localhost", "connection: upgrade", "upgrade: websocket"],
    ...["sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="],
    ...[`authorization: Bearer ${token}`, ...headers],
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  const [answer] = await once(socket, "data");
  socket.answer = String(answer);
  if (!socket.answer.startsWith("HTTP/1.1 101")) throw new Error(`no upgrade: ${answer}`);
  // An empty ping is all that an idle socket hears; an empty pong answers it.
  socket.on("data", (data) => {
    if (data.length === 2 && data[0] === 0x89) socket.write(PONG);
  });
  return socket;
}

/** A device's token, as `omega-edge token` makes it. @param {Edge} edge @param {string} household */
export function token(edge, household, device = "tv") {
  const now = Math.floor(Date.now() / 1_000);
  const text = (/** @type {object} */ part) =>
    Buffer.from(JSON.stringify(part)).toString("base64url");
  const claims = {
    ...{ iss: "omega-sync", aud: "omega-edge", sub: household, did: device },
    ...{ scope: "read write control", iat: now, exp: now + TOKEN_LIFE_S },
  };
  const signed = `${text({ alg: "HS256", typ: "JWT" })}.${text(claims)}`;
  const secret = readFileSync(edge.secretFile);
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** Whether a connection ends in time. @param {Socket} socket @param {number} withinMs */
export function closed(socket, withinMs) {
  if (socket.destroyed) return Promise.resolve(true);
  return new Promise((resolve) => {
    socket.resume();
    const timer = setTimeout(() => resolve(false), withinMs);
    socket.once("close", () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** Until more can be written, or never again. @param {Socket} socket */
export async function drained(socket) {
  if (socket.destroyed || !socket.writableNeedDrain) return;
  await new Promise((resolve) => {
    socket.once("drain", resolve);
    socket.once("close", resolve);
  });
}

/** A text frame of a client, masked with zeros. @param {string} text */
export function frame(text) {
  const body = Buffer.from(text);
  const long = body.length > 125;
  const size = long ? [0xfe, body.length >> 8, body.length & 0xff] : [0x80 | body.length];
  return Buffer.concat([Buffer.from([0x81, ...size, 0, 0, 0, 0]), body]);
}

/**
 * What the server answers until it closes the connection, from now on.
 * @param {Socket} socket @param {number} withinMs
 */
export async function said(socket, withinMs) {
  let text = "";
  socket.on("data", (data) => {
    text = (text + data).slice(0, 2_000);
  });
  const ended = await closed(socket, withinMs);
  return { ended, status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0) };
}

/** One of the server's own figures. @param {Edge} edge @param {string} name */
export async function figure(edge, name) {
  const text = await (await fetch(`${edge.address}/metrics`)).text();
  const line = text.split("\n").find((found) => found.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

/** The memory that the server has. @param {Edge} edge */
export function residentBytes(edge) {
  const status = readFileSync(`/proc/${edge.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Files and connections that it has open. @param {Edge} edge */
export function openFiles(edge) {
  return readdirSync(`/proc/${edge.pid}/fd`).length;
}

/** How many files this process, and so the server too, may have open. */
export function openFilesMax() {
  const limits = readFileSync("/proc/self/limits", "utf8");
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1_024);
}
