// Runs in an old TV engine, from file:// and over http. `settings` comes from the test.
//
// First visit: writes, and waits until the server has it. Second visit, to the same profile but with
// no server to talk to: finds everything in its own storage.
(() => {
  const { settings, OmegaSync } = window;

  function check(condition, what) {
    if (!condition) throw new Error(what);
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

  async function firstVisit(client) {
    await client.watchlist.add("tmdb:603");
    await client.watchlist.add("tmdb:604");
    await client.watchlist.remove("tmdb:604");
    await client.progress.set("tmdb:603", { positionSeconds: 754.5, durationSeconds: 8160 });
    const id = await client.profiles.create("Kinder und Käse");
    await client.forProfile(id).watchlist.add("tmdb:12");
    await once(client, () => client.status().state === "live");
    await client.flushed();
    // Another TV of the household, in Node, answers what it sees here.
    await once(client, () => client.watchlist.has("tmdb:answer"));
    check(client.status().household === settings.household, "household");
  }

  async function secondVisit(client) {
    check(client.watchlist.has("tmdb:603"), "watchlist after reload");
    check(client.watchlist.has("tmdb:answer"), "the other TV's title after reload");
    check(!client.watchlist.has("tmdb:604"), "removed title after reload");
    check(client.progress.resume("tmdb:603") === 754, "progress after reload");
    const [, kids] = client.profiles.list();
    check(kids.name === "Kinder und Käse", "profile after reload");
    check(client.forProfile(kids.id).watchlist.has("tmdb:12"), "its list after reload");
    check(client.pending === 0, "nothing pending after reload");
  }

  async function run() {
    const globals = Object.keys(window).filter((name) => /omega/i.test(name));
    check(globals.join() === "OmegaSync", `globals: ${globals}`);
    const client = await OmegaSync.open({
      url: settings.url,
      device: settings.device,
      token: () => Promise.resolve(settings.token),
    });
    client.on("error", (error) => console.log("error event", error.code, error.message));
    check(client.status().storage === "indexeddb", `storage ${client.status().storage}`);
    if (settings.visit === 1) await firstVisit(client);
    else await secondVisit(client);
    const { replica } = client.status();
    await client.close();
    return replica;
  }

  run().then(
    (replica) => {
      window.__result = `PASS ${replica}`;
    },
    (error) => {
      window.__result = `FAIL ${error && (error.stack || error.message)}`;
    },
  );
})();
