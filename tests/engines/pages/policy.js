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
        const inPage = document.querySelector("head script[src$='iife.js']") !== null;
        window.__result = inPage ? "PASS synced, in the page" : "PASS synced";
      },
      (error) => {
        window.__result = `FAIL ${error.code}`;
      }
    );
})();
