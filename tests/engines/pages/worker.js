// What can go wrong with an engine in a Worker, in the syntax of Chromium 53. What to do comes in the
// address, as JSON after the `#`.
(() => {
  const { OmegaSync } = window;
  const settings = JSON.parse(decodeURIComponent(location.hash.slice(1)));

  function open(more) {
    const options = {
      url: settings.url,
      device: settings.device,
      token: () => Promise.resolve(settings.token),
    };
    return OmegaSync.open(Object.assign(options, more));
  }

  function check(condition, what) {
    if (!condition) throw new Error(what);
  }

  function refusal(promise) {
    return promise.then(
      () => "nothing",
      (error) => error.code
    );
  }

  function inPage() {
    return document.querySelector("head script[src$='iife.js']") !== null;
  }

  /** No Worker may start: the engine runs in the page, and what was written before it came is not lost. */
  function fallback() {
    window.Worker = () => {
      throw new Error("no Worker today");
    };
    return open().then((client) =>
      client.watchlist
        .add("tmdb:603")
        .then(() => client.flushed())
        .then(() => {
          check(inPage(), "the engine is in the page");
          check(window.OmegaSync === OmegaSync, "the page keeps its own global");
          return client.close();
        })
    );
  }

  function store() {
    return open().then((client) => client.watchlist.add("tmdb:603").then(() => client.close()));
  }

  /** Without any engine what was stored shows, nothing is taken, and logging out erases it. */
  function shown() {
    return open({ script: "missing.js" }).then((client) => {
      const errors = [];
      client.on("error", (error) => errors.push(error.code));
      check(client.watchlist.has("tmdb:603"), "what was stored shows");
      check(client.status().household === "", "what is known of the household");
      check(client.pending === 3, `${client.pending} wait`);
      return refusal(client.watchlist.add("tmdb:604"))
        .then((code) => {
          check(code === "wasm_failed", `a write: ${code}`);
          check(client.status().state === "stopped", client.status().state);
          check(errors.join() === "wasm_failed", `told ${errors}`);
          return refusal(open({ script: "missing.js", household: "another" }));
        })
        .then((code) => {
          check(code === "wasm_failed", `another household's: ${code}`);
          return client.destroy();
        })
        .then(() => {
          check(client.status().pending === 0, "nothing is left in memory");
          return open();
        })
        .then((again) => {
          check(!again.watchlist.has("tmdb:603"), "it is erased");
          return again.close();
        });
    });
  }

  /** Another way of leading in between: what this one would show is older than what is stored. */
  function other() {
    const script = document.createElement("script");
    script.src = "omega-sync.iife.js";
    return new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = reject;
      document.body.appendChild(script);
    })
      .then(() =>
        window.OmegaSync.open({
          url: settings.url,
          device: settings.device,
          token: () => Promise.resolve(settings.token),
        })
      )
      .then((client) => client.watchlist.add("tmdb:605").then(() => client.close()))
      .then(() => open())
      .then((client) => {
        check(client.watchlist.has("tmdb:605"), "the newest shows");
        check(client.watchlist.has("tmdb:603"), "and what was there");
        // Stored by this one, so that the next one can show it.
        return client.watchlist.add("tmdb:606").then(() => client.close());
      });
  }

  /** What waits when the page hides leaves with a beacon of the page. */
  function hide() {
    const send = navigator.sendBeacon;
    const sent = new Promise((resolve) => {
      navigator.sendBeacon = function (...values) {
        const taken = send.apply(this, values);
        resolve(taken);
        return taken;
      };
    });
    return open({ poll: { everySeconds: 600 } }).then((client) =>
      client
        .syncNow()
        .then(() => client.watchlist.add("tmdb:hidden"))
        .then(() => {
          check(client.pending === 1, "it waits for the next request");
          window.dispatchEvent(new Event("pagehide"));
          return sent;
        })
        // Nothing else leaves this page, which goes when the other one has it.
        .then((taken) => check(taken, "the beacon is taken"))
    );
  }

  /** Paused before it could connect, also where it first has to find out that it is alone. */
  function paused() {
    return open().then((client) => {
      client.pause();
      const led = new Promise((resolve) => {
        const look = () => {
          if (client.status().role === "leader") resolve();
        };
        client.on("status", look);
        look();
      });
      return led
        .then(() => client.watchlist.add("tmdb:1"))
        .then(() => client.watchlist.add("tmdb:2"))
        .then(() => {
          const { state } = client.status();
          check(state === "offline", `paused, and ${state}`);
          client.resume();
          return client.flushed();
        })
        .then(() => client.close());
    });
  }

  /** Worker after Worker dies, with a write on the way: each is made once, and all goes on. */
  function died() {
    const errors = [];
    return open({ storage: settings.storage }).then((client) => {
      client.on("error", (error) => errors.push(error.code));
      const made = () => client.metrics().operations;
      const add = (title) =>
        client.watchlist.add(title).then(() => {
          check(client.watchlist.has(title), `${title} shows`);
          check(client.watchlist.has("tmdb:1"), `what was there shows when ${title} is stored`);
        });
      const replaced = (operations) =>
        new Promise((resolve) => {
          const look = () => {
            const { state } = client.status();
            // By then it leads, and tells its own counts.
            if (workers === 3 && state === "offline" && made() === operations) resolve();
          };
          client.on("status", look);
          look();
        });
      return add("tmdb:1")
        .then(() => {
          // The engine never hears of it.
          killAt = (message) => message.name === "write";
          return add("tmdb:2");
        })
        .then(() => {
          check(workers === 2, `${workers} Workers`);
          check(made() === 1, `the second one has made ${made()}`);
          return client.flushed();
        })
        .then(() => {
          client.pause();
          // The storage has it, and the engine never hears of that.
          killAt = (message) => "answer" in message && message.value === undefined;
          return add("tmdb:3");
        })
        .then(() => replaced(0))
        .then(() => {
          check(client.pending === 1, `${client.pending} wait`);
          client.resume();
          return client.flushed();
        })
        .then(() => {
          check(made() === 0, `the third one has made ${made()}`);
          check(errors.length === 0, `told ${errors}`);
          return client.close();
        });
    });
  }

  ({ fallback, store, shown, other, hide, paused, died })[settings.task]().then(
    () => {
      window.__result = "PASS";
    },
    (error) => {
      window.__result = `FAIL ${error && (error.stack || error.message)}`;
    }
  );
})();
