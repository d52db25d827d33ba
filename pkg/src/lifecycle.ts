/**
 * Notices that a TV woke up or that the network came back.
 *
 * Standby stops timers, kills sockets silently and jumps the clock, and there is no reliable event
 * for it: so a late timer counts as a wake-up as well. The browser's `offline` event is ignored on
 * purpose: some TVs send it wrongly, and a connection that is really gone is noticed by the engine.
 */

/** How often the timer looks. */
export const WAKE_CHECK_MS = 2_000;
/** A timer this late, or a page hidden this long, means standby rather than a busy moment. */
export const WAKE_GAP_MS = 6_000;

/** Calls `woke` after standby and when the network returns; returns the function that stops it. */
export function watchLifecycle(woke: () => void): () => void {
  let seen = Date.now();
  const late = () => {
    const now = Date.now();
    const gap = Math.abs(now - seen);
    seen = now;
    return gap > WAKE_GAP_MS;
  };
  const timer = setInterval(() => {
    // A hidden page has slow timers: it is judged when it comes back to the front.
    if (typeof document !== "undefined" && document.hidden) return;
    if (late()) woke();
  }, WAKE_CHECK_MS);
  releaseProcess(timer);
  const stops = [() => clearInterval(timer)];
  if (typeof document !== "undefined") {
    stops.push(
      listen(document, "visibilitychange", () => {
        if (!document.hidden && late()) woke();
      }),
    );
  }
  if (typeof window !== "undefined") stops.push(listen(window, "online", woke));
  return () => {
    for (const stop of stops) stop();
  };
}

function listen(target: EventTarget, event: string, listener: () => void): () => void {
  target.addEventListener(event, listener);
  return () => target.removeEventListener(event, listener);
}

/** In Node a watching timer alone must not keep the process alive. */
function releaseProcess(timer: unknown): void {
  if (typeof timer !== "object" || timer === null || !("unref" in timer)) return;
  if (typeof timer.unref === "function") timer.unref();
}
