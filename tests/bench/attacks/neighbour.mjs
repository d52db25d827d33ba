// Households that have nothing to do with an attack: in each a device writes and waits for its acks, and
// another one hears of it. On a thread of its own: an attack in this process must not make them look slow.
import { once } from "node:events";
import { setTimeout as after } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import WebSocket from "ws";
import { token } from "./sockets.mjs";

const HOUSEHOLDS = 3;
/** Between an ack and the next write: below a device's rate. */
const PAUSE_MS = 80;

/** @typedef {{acks: number[], fanOuts: number[]}} Times milliseconds of each write */

export class Neighbours {
  /** @param {Worker} worker */
  constructor(worker) {
    this.worker = worker;
  }

  /** Some that are live. @param {import("../../js/edge.mjs").Edge} edge */
  static async of(edge) {
    const pairs = Array.from({ length: HOUSEHOLDS }, (_, at) =>
      ["writer", "reader"].map((device) => token(edge, `neighbour-${at}`, device)),
    );
    const url = `${edge.address.replace("http", "ws")}/ws`;
    const worker = new Worker(new URL(import.meta.url), { workerData: { url, pairs } });
    await once(worker, "message");
    return new Neighbours(worker);
  }

  /** Sockets that they have open. */
  static get sockets() {
    return 2 * HOUSEHOLDS;
  }

  /** What was measured since the last call. @returns {Promise<Times>} */
  async take() {
    this.worker.postMessage("take");
    const [times] = await once(this.worker, "message");
    return times;
  }

  async end() {
    await this.worker.terminate();
  }
}

if (!isMainThread && workerData?.pairs) await live();

async function live() {
  /** @type {Times} */
  let times = { acks: [], fanOuts: [] };
  const pairs = workerData.pairs.map((/** @type {string[]} */ pair) => Promise.all(pair.map(open)));
  const open_ = await Promise.all(pairs);
  parentPort?.on("message", () => {
    parentPort?.postMessage(times);
    times = { acks: [], fanOuts: [] };
  });
  parentPort?.postMessage("live");
  await Promise.all(open_.map(([writer, reader]) => keepWriting(writer, reader, () => times)));
}

/** @param {string} bearer */
async function open(bearer) {
  const socket = new WebSocket(workerData.url, { headers: { authorization: `Bearer ${bearer}` } });
  await once(socket, "open");
  return socket;
}

/** @param {WebSocket} writer @param {WebSocket} reader @param {() => Times} times */
async function keepWriting(writer, reader, times) {
  for (let write = 0; ; write += 1) {
    const position = write % 8_000;
    const message = {
      ...{ type: "progress_update", id: write, content_id: "tmdb:603" },
      ...{ position_seconds: position, duration_seconds: 8_160, state: "playing" },
    };
    const acked = heard(writer, ({ type, id }) => type === "ack" && id === write);
    const told = heard(reader, (news) => news.position_seconds === position);
    const began = performance.now();
    writer.send(JSON.stringify(message));
    const [ack, fanOut] = await Promise.all([acked, told]);
    times().acks.push(ack - began);
    times().fanOuts.push(fanOut - began);
    await after(PAUSE_MS);
  }
}

/**
 * When a socket hears a message.
 * @param {WebSocket} socket @param {(message: any) => boolean} wanted
 * @returns {Promise<number>}
 */
function heard(socket, wanted) {
  return new Promise((resolve) => {
    const hear = (/** @type {import("ws").RawData} */ data) => {
      if (!wanted(JSON.parse(String(data)))) return;
      socket.off("message", hear);
      resolve(performance.now());
    };
    socket.on("message", hear);
  });
}
