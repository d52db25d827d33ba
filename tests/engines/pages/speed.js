// How long an app waits on this engine, in the syntax of Chromium 53. What to do comes in the address, as
// JSON after the `#`. The verdict is one JSON object with milliseconds.
//
// `fill` takes a household from the server, so that it is stored. `show` opens the same profile without a
// server: the time until both lists have been read. `start` then writes: the time until there is an engine.
// `sync` opens it with a server, after others have changed things, reads the lists, and has changes of its
// own: the longest time for which the page did nothing else.
(() => {
  const { OmegaSync } = window;
  const settings = JSON.parse(decodeURIComponent(location.hash.slice(1)));

  function open() {
    return OmegaSync.open({
      url: settings.url,
      device: settings.device,
      token: () => Promise.resolve(settings.token),
    });
  }

  function read(client) {
    return client.watchlist.items().length + client.progress.inProgress().length;
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

  /** By the clock: calls itself without a pause; the longest gap between two calls is somebody else's work. */
  function watchGaps() {
    const channel = new MessageChannel();
    let last = performance.now();
    let running = true;
    const gaps = [];
    channel.port1.onmessage = () => {
      const now = performance.now();
      gaps.push(now - last);
      last = now;
      if (running) channel.port2.postMessage(0);
    };
    channel.port2.postMessage(0);
    return () => {
      running = false;
      return gaps.sort((a, b) => b - a).slice(0, 5);
    };
  }

  function fill() {
    return open().then((client) =>
      once(client, () => client.watchlist.has(settings.last))
        .then(() => client.flushed())
        .then(() => client.close())
        .then(() => ({ entries: settings.entries }))
    );
  }

  function show(then) {
    return open().then((client) => {
      const openedMs = performance.now() - window.scriptStart;
      const entries = read(client);
      const readMs = performance.now() - window.scriptStart;
      performance.mark("first-state");
      const shown = { opened_ms: openedMs, first_state_ms: readMs, entries };
      return then ? then(client, shown) : shown;
    });
  }

  function start() {
    return show((client, shown) => {
      // A write is done when the engine is there, wherever that is.
      return client.watchlist.add("speed:start").then(() => {
        const engineMs = performance.now() - window.scriptStart;
        performance.mark("engine-there");
        return client.close().then(() => Object.assign(shown, { engine_ms: engineMs }));
      });
    });
  }

  function sync() {
    return open().then((client) => {
      read(client);
      client.pause();
      const writes = settings.own.map((title) =>
        client.progress.set(title, { positionSeconds: 600, durationSeconds: 3600 })
      );
      return Promise.all(writes)
        .then(() => new Promise((resolve) => setTimeout(resolve, 500)))
        .then(() => {
          if (client.status().state !== "offline") throw new Error("it has synced already");
        })
        .then(() => {
          const stop = settings.gaps ? watchGaps() : () => [0];
          let began = 0;
          // An app listens from its start; the first task that counts has nothing but the call.
          const synced = once(client, () => client.watchlist.has(settings.last));
          setTimeout(() => {
            performance.mark("sync-begin");
            began = performance.now();
            client.resume();
          }, 0);
          return synced
            .then(() => client.flushed())
            .then(() => {
              const syncMs = performance.now() - began;
              performance.mark("sync-end");
              return { sync_ms: syncMs, blocks_ms: stop() };
            });
        })
        .then((result) => new Promise((resolve) => setTimeout(resolve, 0, result)))
        .then((result) => {
          const before = performance.now();
          const entries = read(client);
          return Object.assign(result, { entries, read_ms: performance.now() - before });
        });
    });
  }

  ({ fill, show: () => show(), start, sync })
    [settings.task]()
    .then(
      (result) => `PASS ${JSON.stringify(result)}`,
      (error) => `FAIL ${error && (error.stack || error.message)}`
    )
    .then((verdict) => {
      window.__result = verdict;
      console.log("done");
    });
})();
