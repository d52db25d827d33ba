// What bad clients do, in small, to one server with its default limits: each loses its connection or is
// refused, the memory stays below its bound, and other households go on. At full size: npm run bench -- attacks.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as attacks from "../bench/attacks/attacks.mjs";
import { CONNECTION_BYTES, REST_BYTES } from "../bench/attacks/bound.mjs";
import { Neighbours } from "../bench/attacks/neighbour.mjs";
import {
  connect,
  endAll,
  figure,
  openFiles,
  residentBytes,
  said,
} from "../bench/attacks/sockets.mjs";
import { Edge } from "../js/edge.mjs";
import { until } from "../js/until.mjs";

const LOOK_EVERY_MS = 50;
const DEADLINE_MS = 30_000;
const IDLE = 1_980;
const SLOW = 50;
const DEAF = 20;
/** The default quota of a device: `DEVICE_OPERATIONS`. */
const QUOTA = { burst: 12_000, perSecond: 50 };

/** @type {Edge} */
let edge;
/** @type {Neighbours} */
let neighbours;
/** @type {NodeJS.Timeout} */
let look;
const peak = { bytes: 0, files: 0 };

before(async () => {
  edge = await Edge.start({ SYNC_LOG: "error" });
  neighbours = await Neighbours.of(edge);
  look = setInterval(() => {
    peak.bytes = Math.max(peak.bytes, residentBytes(edge));
    peak.files = Math.max(peak.files, openFiles(edge));
  }, LOOK_EVERY_MS);
});

after(async () => {
  clearInterval(look);
  endAll();
  await neighbours?.end();
  await edge?.dispose();
});

test("attacks end with their client's connection", { concurrency: true }, async (context) => {
  await Promise.all([
    context.test("headers that never end are not waited for", async () => {
      const { closed, statuses } = await attacks.slowloris(edge, SLOW);
      assert.equal(closed, SLOW);
      assert.deepEqual(statuses, [0], "there was nothing to answer");
    }),
    context.test("who never reads is closed, sockets and requests", async () => {
      const { connections, closed, sockets_closed_slow } = await attacks.neverReads(edge, DEAF);
      assert.equal(closed, connections);
      assert.equal(sockets_closed_slow, DEAF);
    }),
    context.test("the short ones, one after the other", async (short) => {
      await short.test("sockets that do nothing stay", async () => {
        const { sockets_open, closed } = await attacks.idle(edge, IDLE);
        assert.equal(closed, 0);
        assert.ok(sockets_open >= IDLE, `${sockets_open}`);
      });
      await short.test("endless headers are refused", async () => {
        const { statuses, most_bytes_sent } = await attacks.headerFlood(edge, 20);
        // A reset may overtake the answer.
        assert.ok(
          statuses.every((status) => status === 431 || status === 0),
          `${statuses}`,
        );
        assert.ok(Number(most_bytes_sent) < 1024 * 1024, `${most_bytes_sent}`);
      });
      await short.test("a body that says that it is too long is refused unread", async () => {
        const socket = await connect(edge.port);
        const answer = said(socket, DEADLINE_MS);
        socket.write("POST /api/v1/sync HTTP/1.1\r\nhost: localhost\r\n");
        socket.write(`content-length: ${1024 ** 3}\r\n\r\n`);
        assert.deepEqual(await answer, { ended: true, status: 413 });
      });
      await short.test("a body of 1 GiB is not taken", async () => {
        const { connections: _, ...bodies } = await attacks.largeBody(edge);
        for (const [name, { status, sent_bytes }] of Object.entries(bodies)) {
          assert.ok(status === 413 || status === 0, `${name}: ${status}`);
          assert.ok(sent_bytes < 16 * 1024 * 1024, `${name}: ${sent_bytes}`);
        }
      });
      await short.test("a compressed body is refused by name", async () => {
        const { answers, deflate_taken } = await attacks.compressed(edge);
        for (const [name, { status }] of Object.entries(answers)) assert.equal(status, 415, name);
        assert.equal(deflate_taken, false);
      });
      await short.test("small frames are read up to the quota", async () => {
        await neighbours.take();
        const began = performance.now();
        const { received_of_all, closes } = await attacks.smallFrames(edge, 100_000);
        const { acks } = await neighbours.take();
        const seconds = (performance.now() - began) / 1_000;
        // The neighbours' own frames count too, and one that each socket is closed for.
        const most = QUOTA.burst + seconds * QUOTA.perSecond + acks.length + 100;
        assert.ok(received_of_all <= most, `${received_of_all} of ${most}`);
        assert.ok(received_of_all >= QUOTA.burst, `${received_of_all}`);
        assert.ok(closes > 0);
      });
    }),
  ]);
});

test("others went on, and all memory is given back", async () => {
  const connections = IDLE + SLOW + 1.5 * DEAF + 100;
  const bound = REST_BYTES + connections * CONNECTION_BYTES;
  assert.ok(peak.files > IDLE, `${peak.files} open files`);
  assert.ok(peak.bytes < bound, `${peak.bytes} of ${bound} bytes`);
  await neighbours.take();
  await until("a write is acknowledged", async () => (await neighbours.take()).acks.length > 0);
  const sockets = () => figure(edge, "omega_sockets");
  await until("they are gone", async () => (await sockets()) === Neighbours.sockets);
  await until("nothing waits", async () => (await figure(edge, "omega_outbox_bytes")) === 0);
});
