// A packaged TV app in one script, in the syntax of Chromium 53: a list of titles, and whether they are on
// the household's watchlist. Arrow keys move, Enter puts a title on the list or takes it off.
(() => {
  const TITLES = [
    { id: "tmdb:603", name: "The Matrix" },
    { id: "tmdb:78", name: "Blade Runner" },
    { id: "tmdb:62", name: "2001: A Space Odyssey" },
  ];
  /** "Back" of a Tizen and of a webOS remote control. */
  const BACK_KEYS = [10009, 461];

  const list = document.getElementById("titles");
  const state = document.getElementById("state");
  let focused = 0;
  let client;

  /** In your app: from a login. To try it out, the address has them: index.html#url=…&device=…&token=… */
  function account() {
    const found = {};
    for (const pair of location.hash.slice(1).split("&")) {
      const [name, value] = pair.split("=");
      found[name] = decodeURIComponent(value || "");
    }
    return found;
  }

  function draw() {
    while (list.firstChild) list.removeChild(list.firstChild);
    TITLES.forEach((title, at) => {
      const item = document.createElement("li");
      item.textContent = (client.watchlist.has(title.id) ? "✓ " : "+ ") + title.name;
      item.className = at === focused ? "focused" : "";
      list.appendChild(item);
    });
    const { state: connection, closeReason, pending } = client.status();
    const why = connection === "live" || closeReason === "" ? "" : ` (${closeReason})`;
    state.textContent = connection + why + (pending > 0 ? `, ${pending} to send` : "");
  }

  function toggle({ id }) {
    const { watchlist } = client;
    const write = watchlist.has(id) ? watchlist.remove(id) : watchlist.add(id);
    write.catch((error) => show(error));
  }

  function show(error) {
    state.textContent = `${error.code}: ${error.message}`;
  }

  // The package listens to no key: the remote control is the app's.
  function pressed(event) {
    const code = event.keyCode;
    if (code === 38) focused = Math.max(0, focused - 1);
    else if (code === 40) focused = Math.min(TITLES.length - 1, focused + 1);
    else if (code === 13) toggle(TITLES[focused]);
    else if (BACK_KEYS.indexOf(code) >= 0) leave();
    else return;
    event.preventDefault();
    draw();
  }

  /** Everything that resolved is stored already: nothing has to be waited for. */
  function leave() {
    if (window.tizen) window.tizen.application.getCurrentApplication().exit();
    else window.close();
  }

  /**
   * A token, each time it is asked for: a connection ends with its token, and the next one needs another. In your
   * app a request to your own server, or to `/oauth/token` for a TV that was paired. Here the one in the address,
   * which is good for an hour; then the state is "connecting (unauthorized)".
   */
  function freshToken() {
    return Promise.resolve(account().token || "");
  }

  function begin() {
    const { url, device } = account();
    window.OmegaSync.open({
      url: url || "http://127.0.0.1:8083",
      device: device || "tv-example",
      token: freshToken,
    }).then((opened) => {
      client = opened;
      client.on("change", draw);
      client.on("status", draw);
      client.on("error", show);
      document.addEventListener("keydown", pressed);
      draw();
    }, show);
  }

  // TVs without WebAssembly (webOS 4, Tizen 4) get the build that is plain JavaScript.
  const script = document.createElement("script");
  script.src = window.WebAssembly ? "omega-sync.iife.js" : "omega-sync.nowasm.js";
  script.onload = begin;
  script.onerror = () => {
    state.textContent = `${script.src} is not there`;
  };
  document.head.appendChild(script);
})();
