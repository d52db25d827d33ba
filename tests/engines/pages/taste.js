// What a household likes, in the syntax of Chromium 53: learns titles, records viewings, recommends, brings a
// pattern to the server, and recommends the same at the next start. What to do comes in the address, as JSON
// after the `#`; `window.TITLES` has titles of the theme that is watched, then of another.
(() => {
  const { OmegaSync, TITLES } = window;
  const settings = JSON.parse(decodeURIComponent(location.hash.slice(1)));

  function open(url) {
    return OmegaSync.open({
      url,
      device: settings.device,
      token: () => Promise.resolve(settings.token),
    });
  }

  function check(condition, what) {
    if (!condition) throw new Error(what);
  }

  function recommended(client) {
    const list = client.taste.recommend(settings.wanted);
    check(list.length === settings.wanted, `${list.length} recommendations`);
    check(/^Because you watched /.test(list[0].reason.text), list[0].reason.text);
    return list.map(({ content }) => content).join();
  }

  open(settings.url)
    .then((client) => {
      const errors = [];
      client.on("error", (error) => errors.push(error.code));
      const watched = TITLES.slice(0, settings.watched);
      return client.taste
        .learnTitles(TITLES)
        .then(() =>
          Promise.all(watched.map(({ content }) => client.taste.record({ content, watched: 0.97 })))
        )
        .then(() => client.taste.sync())
        .then((how) => {
          check(how === "ok", `${how} ${errors}`);
          check(client.taste.status().hasTables, "the tables are here");
          check(client.taste.contributions().length === 1, "one pattern left");
          const list = recommended(client);
          return client.close().then(() => list);
        });
    })
    .then((list) =>
      open(settings.nowhere).then((client) => {
        const again = recommended(client);
        check(again === list, `${again} after ${list}`);
        return client.close().then(() => list);
      })
    )
    .then(
      (list) => {
        window.__result = `PASS ${list}`;
      },
      (error) => {
        window.__result = `FAIL ${error.code || ""} ${error.stack || error.message}`;
      }
    );
})();
