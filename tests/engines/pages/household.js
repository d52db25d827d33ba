// Runs in an old TV engine, from file:// and over http, in the syntax of Chromium 53. What to do comes in
// the address, as JSON after the `#`. A line `feature NAME` on the console says that NAME works.
//
// First visit: all that a household does; then it writes offline until somebody pulls the plug. Second
// visit, to the same profile but with no server to talk to: everything that resolved is there. Then
// the server is back, and gets it.
(() => {
  const { OmegaSync } = window;
  const settings = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  const FEATURES = { 1: firstVisit, 2: secondVisit };

  function check(condition, what) {
    if (!condition) throw new Error(what);
  }

  /** What an async function would do. */
  function run(steps) {
    return new Promise((resolve, reject) => {
      const step = (how, value) => {
        let next;
        try {
          next = steps[how](value);
        } catch (error) {
          reject(error);
          return;
        }
        if (next.done) resolve(next.value);
        else
          Promise.resolve(next.value).then(
            (result) => step("next", result),
            (error) => step("throw", error)
          );
      };
      step("next");
    });
  }

  function works(feature) {
    console.log(`feature ${feature}`);
  }

  function open(url, device) {
    return OmegaSync.open({
      url,
      device,
      token: () => Promise.resolve(settings.tokens[device]),
    }).then((client) => {
      client.on("error", (error) =>
        console.log(`error event ${device} ${error.code} ${error.message}`)
      );
      return client;
    });
  }

  function once(client, condition) {
    return new Promise((resolve) => {
      const look = () => {
        if (condition()) resolve();
      };
      client.on("status", look);
      client.on("change", look);
      look();
    });
  }

  function* firstVisit() {
    const globals = Object.keys(window).filter((name) => /omega/i.test(name));
    check(globals.join() === "OmegaSync", `globals: ${globals}`);
    const client = yield open(settings.url, "tv-old");
    check(client.status().storage === "indexeddb", `storage ${client.status().storage}`);
    check(!document.querySelector("head script[src*='iife']"), "the engine is not in the page");
    works("open");
    yield* write(client);
    works("write");
    yield once(client, () => client.status().state === "live");
    yield client.flushed();
    // Another TV of the household, in Node, answers what it sees here.
    yield once(client, () => client.watchlist.has("tmdb:answer"));
    check(client.status().household === settings.household, "household");
    works("sync");
    const second = yield open(settings.url, "tv-second");
    yield* conflict(client, second);
    works("conflict");
    yield* command(client, second);
    works("command");
    yield second.close();
    client.pause();
    yield* grow(client);
    works("grow");
    console.log(`replica ${client.status().replica}`);
    for (let position = 1; ; position += 1) {
      yield client.progress.set("tmdb:last", { positionSeconds: position, durationSeconds: 1e6 });
      console.log(`resolved ${position}`);
    }
  }

  function* write(client) {
    yield client.watchlist.add("tmdb:603");
    yield client.watchlist.add("tmdb:604");
    yield client.watchlist.remove("tmdb:604");
    yield client.progress.set("tmdb:603", { positionSeconds: 754.5, durationSeconds: 8160 });
    const id = yield client.profiles.create("Kinder und Käse");
    yield client.forProfile(id).watchlist.add("tmdb:12");
    yield client.devices.describe({ name: "Wohnzimmer", deviceType: "tv", platform: "old" });
    check(client.watchlist.has("tmdb:603"), "a title was added");
    check(!client.watchlist.has("tmdb:604"), "a title was removed");
    check(client.progress.resume("tmdb:603") === 754, "progress was set");
  }

  /** Two TVs write while they are apart: the add stays, and the last viewer's position. */
  function* conflict(first, second) {
    yield first.watchlist.add("tmdb:both");
    yield once(second, () => second.watchlist.has("tmdb:both"));
    first.pause();
    second.pause();
    yield first.watchlist.remove("tmdb:both");
    yield second.watchlist.add("tmdb:both");
    yield first.progress.set("tmdb:both", { positionSeconds: 111, durationSeconds: 8160 });
    // The next millisecond, so that there is a last one.
    const now = Date.now();
    while (Date.now() <= now);
    yield second.progress.set("tmdb:both", { positionSeconds: 222, durationSeconds: 8160 });
    check(!first.watchlist.has("tmdb:both"), "removed on the first, which is offline");
    first.resume();
    yield first.flushed();
    second.resume();
    yield second.flushed();
    for (const client of [first, second]) {
      yield once(client, () => client.watchlist.has("tmdb:both"));
      yield once(client, () => client.progress.resume("tmdb:both") === 222);
    }
  }

  /** One TV tells the other what to do. It has five seconds, which a busy machine may need: so thrice. */
  function* command(first, second) {
    const capabilities = { remoteControllable: true };
    yield second.devices.describe({
      name: "Küche",
      deviceType: "tv",
      platform: "old",
      capabilities,
    });
    yield second.flushed();
    const taken = [];
    second.devices.onCommand((received) => {
      taken.push(`${received.from} ${received.command.type} ${received.command.positionSeconds}`);
    });
    const isThere = ({ device, isOnline }) => device === "tv-second" && isOnline;
    yield once(first, () => first.devices.list().some(isThere));
    let status = "";
    for (let tries = 0; tries < 3 && status !== "delivered"; tries += 1) {
      status = yield first.devices.send("tv-second", { type: "seek", positionSeconds: 90 });
    }
    check(status === "delivered", `a command: ${status}`);
    check(taken[taken.length - 1] === "tv-old seek 90", `a command came as ${taken}`);
  }

  /** So much that the engine's memory grows, more than once, while everything is in use. */
  function* grow(client) {
    const titles = Array.from({ length: settings.many }, (_, at) => `many:${at}`);
    const writes = titles.map((title, at) => {
      const write = client.progress.set(title, { positionSeconds: at, durationSeconds: 1e6 });
      // From a Worker it comes back with the promise.
      if (!settings.worker) check(client.progress.resume(title) === at, `${title} is read back`);
      return write;
    });
    yield Promise.all(writes);
    titles.forEach((title, at) => {
      check(client.progress.resume(title) === at, `${title} is still there`);
    });
  }

  function* secondVisit() {
    const client = yield open(settings.nowhere, "tv-old");
    check(client.watchlist.has("tmdb:603"), "watchlist after the power cut");
    check(client.watchlist.has("tmdb:answer"), "the other TV's title after the power cut");
    check(!client.watchlist.has("tmdb:604"), "removed title after the power cut");
    check(client.progress.resume("tmdb:603") === 754, "progress after the power cut");
    const kids = client.profiles.list()[1];
    check(kids.name === "Kinder und Käse", "profile after the power cut");
    check(client.forProfile(kids.id).watchlist.has("tmdb:12"), "its list after the power cut");
    const last = client.progress.resume("tmdb:last");
    check(last >= settings.resolved, `position ${last} of ${settings.resolved} that resolved`);
    check(client.status().replica === settings.replica, "the same replica");
    for (let title = 0; title < settings.many; title += 1) {
      check(client.progress.resume(`many:${title}`) === title, `title ${title} of many`);
    }
    check(client.pending > 0, "it waits for the server");
    works("reopen");
    yield client.close();
    const again = yield open(settings.url, "tv-old");
    yield again.flushed();
    check(again.pending === 0, "nothing waits any more");
    works("replay");
    yield again.close();
    return last;
  }

  run(FEATURES[settings.visit]()).then(
    (result) => {
      window.__result = `PASS ${result}`;
    },
    (error) => {
      window.__result = `FAIL ${error && (error.stack || error.message)}`;
    }
  );
})();
