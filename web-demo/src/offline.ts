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
interface InstallEvent extends Event {
  waitUntil(done: Promise<unknown>): void;
}
interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}

addEventListener("install", (event) => {
  const kept = caches.open(CACHE).then((cache) => cache.addAll(FILES));
  (event as InstallEvent).waitUntil(kept);
});

addEventListener("fetch", (event) => {
  const fetching = event as FetchEvent;
  const address = fetching.request.url.replace(/[?#].*/, "");
  if (ADDRESSES.has(address)) fetching.respondWith(answer(fetching.request, address));
});

async function answer(request: Request, address: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.status === 200) await cache.put(address, response.clone());
    return response;
  } catch (offline) {
    const kept = await cache.match(address);
    if (kept === undefined) throw offline;
    return kept;
  }
}
