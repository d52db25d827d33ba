// One cold start, run by ../cold.mjs in a process of its own: says how many milliseconds passed
// from the first import to the end of the first operation, and ends.
const [kind, emptyModule] = process.argv.slice(2);

/** A network that never answers. */
class Nowhere {
  binaryType = "";
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  send() {}
  close() {}
}

/** As an app does it: the first write is durable in this device's storage. */
async function startPackage() {
  const { MemoryStorage, open } = await import("omega-sync");
  const client = await open({
    url: "https://sync.example",
    device: "tv-living",
    token: async () => "",
    storage: new MemoryStorage(),
    WebSocket: Nowhere,
  });
  await client.watchlist.add("tmdb:603");
}

/** The replica class alone. */
async function startEngine() {
  const engine = await import("omega-sync/engine");
  const { readFile } = await import("node:fs/promises");
  await engine.startEngine(() => readFile(new URL(import.meta.resolve("omega-sync/wasm"))));
  const { replica } = engine.loadReplica([], "");
  const add = ["", "tmdb:603"];
  const now = /** @type {const} */ ([Date.now(), performance.now()]);
  engine.readOutputs(engine.callWrite(replica, "watchlistAdd", add, ...now));
}

/** The same steps where there is nothing to do: what Node and its WebAssembly need. */
async function startEmpty() {
  const { instantiateFile } = await import("./empty.mjs");
  await instantiateFile(emptyModule);
}

const starts = { package: startPackage, engine: startEngine, empty: startEmpty };
const start = starts[/** @type {keyof typeof starts} */ (kind)];
const begin = performance.now();
await start();
const took_ms = performance.now() - begin;
process.stdout.write(String(took_ms), () => process.exit(0));
