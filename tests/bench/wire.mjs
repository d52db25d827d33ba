// Bytes of one progress update on the wire: what the player's own socket sends, the server's
// answer, and what another TV of the household receives. Payloads of WebSocket messages; a frame
// adds 2 bytes down and 6 up. Needs `npm run build`.
import { MemoryStorage, open } from "omega-sync";
import WebSocket from "ws";
import { Edge } from "../js/edge.mjs";
import { eventually } from "../js/until.mjs";

const UPDATES = 20;
/** What players do: an update every ten seconds. The clocks below are moved, nobody waits. */
const INTERVAL_S = 10;
const HOUSEHOLD = "home";
const CONTENT = "tmdb:603";

let ahead_ms = 0;
const wall = Date.now.bind(Date);
const steady = performance.now.bind(performance);
Date.now = () => wall() + ahead_ms;
performance.now = () => steady() + ahead_ms;

/** Counts the bytes of one TV's messages. */
class Meter {
  up = 0;
  down = 0;

  /** The WebSocket class to give to `open`. */
  socket() {
    const meter = this;
    return class extends WebSocket {
      /** @param {string} url @param {string[]} protocols */
      constructor(url, protocols) {
        super(url, protocols);
        this.on("message", (data) => {
          meter.down += /** @type {ArrayBuffer} */ (data).byteLength;
        });
      }

      /** @override @param {Uint8Array} data */
      send(data) {
        meter.up += data.byteLength;
        super.send(data);
      }
    };
  }

  take() {
    const { up, down } = this;
    this.up = 0;
    this.down = 0;
    return { up, down };
  }
}

const edge = await Edge.start();
/** @type {Array<import("omega-sync").Client>} */
const clients = [];
try {
  const player = await tv("tv-living");
  const other = await tv("tv-bedroom");
  /** @type {{sent: number[], answered: number[], received: number[]}} */
  const bytes = { sent: [], answered: [], received: [] };
  for (let update = 0; update <= UPDATES; update += 1) {
    ahead_ms += INTERVAL_S * 1000;
    const positionSeconds = 600 + update * INTERVAL_S;
    await player.client.progress.set(CONTENT, { positionSeconds, durationSeconds: 8_160 });
    await player.client.flushed();
    await eventually(
      other.client,
      "the update",
      () => other.client.progress.resume(CONTENT) === positionSeconds,
    );
    const { up, down } = player.meter.take();
    const received = other.meter.take().down;
    // The first update of a title names it; the usual one does not.
    if (update === 0) {
      console.log(`first update: ${up} B up, ${down} B answer, ${received} B to another TV`);
      continue;
    }
    bytes.sent.push(up);
    bytes.answered.push(down);
    bytes.received.push(received);
  }
  for (const [name, values] of Object.entries(bytes)) console.log(`${name}: ${values.join(" ")}`);
  const summary = Object.entries(bytes).map(([name, values]) => [`${name}_bytes`, median(values)]);
  console.log(JSON.stringify({ bench: "wire", updates: UPDATES, ...Object.fromEntries(summary) }));
} finally {
  await Promise.all(clients.map((client) => client.close()));
  await edge.dispose();
}

/** @param {string} device */
async function tv(device) {
  const meter = new Meter();
  const client = await open({
    url: edge.address,
    device,
    token: async () => edge.token(HOUSEHOLD, device),
    storage: new MemoryStorage(),
    WebSocket: /** @type {import("omega-sync").WebSocketConstructor} */ (
      /** @type {unknown} */ (meter.socket())
    ),
  });
  clients.push(client);
  await eventually(client, "live", () => client.status().state === "live");
  meter.take();
  return { client, meter };
}

/** @param {number[]} values */
function median(values) {
  return values.slice().sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
