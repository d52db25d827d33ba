// Keeps hold of the Worker that a page starts, to kill it: by `kill()`, or before the first message to it
// that `killAt` is true of. The pings that notice it follow each other fast from then on, until there is
// another Worker; after `end()` alone from `notice()` on. `workers` were started. In the syntax of Chromium 53.
{
  const { setTimeout, clearTimeout } = window;
  const PING_MS = 5000;
  let isDead = false;
  let ping;
  window.workers = 0;
  window.setTimeout = (work, ms) => {
    if (ms !== PING_MS) return setTimeout(work, ms);
    const timer = setTimeout(work, isDead ? 10 : ms);
    ping = () => {
      clearTimeout(timer);
      work();
    };
    return timer;
  };
  const construct = (Worker, values) => {
    const worker = new Worker(...values);
    isDead = false;
    window.workers += 1;
    window.killAt = () => false;
    window.end = () => {
      isDead = true;
      worker.terminate();
    };
    window.notice = () => ping();
    window.kill = () => {
      window.end();
      window.notice();
    };
    worker.postMessage = (message) => {
      if (!isDead && window.killAt(message)) window.kill();
      Worker.prototype.postMessage.call(worker, message);
    };
    return worker;
  };
  window.Worker = new Proxy(window.Worker, { construct });
}
