// One write that reaches the server, under whatever policy the page has; in the syntax of Chromium 53.
(() => {
  const settings = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  window.OmegaSync.open({
    url: settings.url,
    device: settings.device,
    token: () => Promise.resolve(settings.token),
  })
    .then((client) =>
      client.watchlist
        .add("tmdb:603")
        .then(() => client.flushed())
        .then(() => client.close())
    )
    .then(
      () => {
        window.__result = "PASS synced";
      },
      (error) => {
        window.__result = `FAIL ${error.code}`;
      }
    );
})();
