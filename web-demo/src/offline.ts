/**
 * A service worker that starts the demo while its server is away, as an app that is installed on the TV
 * starts. Files come from the server as long as it answers, so a new build shows at once.
 */

const CACHE = "omega-sync-demo";
/** Everything the two pages load. */
const FILES = [
  "./",
  "tv.html",
  "style.css",
  "main.js",
  "omega_sync_patterns_bg.wasm",
  "omega-sync-tables.bin",
];
const ADDRESSES = new Set(FILES.map((file) => new URL(file, location.href).href));

/** What the types of a page don't know. */
interface WaitingEvent extends Event {
  waitUntil(done: Promise<unknown>): void;
}
interface FetchEvent extends WaitingEvent {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}

addEventListener("install", (event) => {
  const kept = caches.open(CACHE).then((cache) => cache.addAll(FILES));
  (event as WaitingEvent).waitUntil(kept);
});

addEventListener("fetch", (event) => {
  const fetching = event as FetchEvent;
  const address = fetching.request.url.replace(/[?#].*/, "");
  if (ADDRESSES.has(address)) fetching.respondWith(answer(fetching, address));
});

async function answer(fetching: FetchEvent, address: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(fetching.request);
    // A device without room keeps what it had, and shows what the server says.
    const kept = response.status === 200 ? cache.put(address, response.clone()) : undefined;
    fetching.waitUntil(Promise.resolve(kept).catch(console.warn));
    return response;
  } catch (offline) {
    const kept = await cache.match(address);
    if (kept === undefined) throw offline;
    return kept;
  }
}
