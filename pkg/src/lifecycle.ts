/**
 * Notices that a TV woke up, that the network came back, and that the page goes to the background.
 *
 * Standby stops timers, kills sockets silently and jumps the clock, and there is no reliable event
 * for it: so a late timer counts as a wake-up as well. The browser's `offline` event is ignored on
 * purpose: some TVs send it wrongly, and a connection that is really gone is noticed by the engine.
 */

/** How often the timer looks. */
export const WAKE_CHECK_MS = 2_000;
/** A timer this late, or a page hidden this long, means standby rather than a busy moment. */
export const WAKE_GAP_MS = 6_000;

/** What is noticed. */
export interface LifecycleEvents {
  /** Whatever was connected may be dead. */
  woke(): void;
  /** The page goes to the background: it may be frozen or killed there without another word. */
  hides(): void;
}

/**
 * Events that say it in so many words: webOS starts an app that runs already (`webOSRelaunch`), a page
 * was frozen (`resume`, Chromium 68) or kept for the way back (`pageshow`), the network came back.
 */
const WAKES = ["webOSRelaunch", "resume"] as const;

/** Watches until the returned function is called. */
export function watchLifecycle({ woke, hides }: LifecycleEvents): () => void {
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
    // Tizen sends this one too when it suspends and resumes an app.
    const visibility = () => {
      if (document.hidden) hides();
      else if (late()) woke();
    };
    stops.push(listen(document, "visibilitychange", visibility));
    for (const event of WAKES) stops.push(listen(document, event, woke));
  }
  if (typeof window !== "undefined") {
    stops.push(listen(window, "online", woke));
    stops.push(listen(window, "pagehide", hides));
    const shown = (event: Event) => {
      if ("persisted" in event && event.persisted === true) woke();
    };
    stops.push(listen(window, "pageshow", shown));
  }
  return () => {
    for (const stop of stops) stop();
  };
}

/** Tells when the page shows or hides, until the returned function is called. */
export function watchVisibility(changed: () => void): () => void {
  if (typeof document === "undefined") return () => undefined;
  return listen(document, "visibilitychange", changed);
}

function listen(target: EventTarget, event: string, listener: (event: Event) => void): () => void {
  target.addEventListener(event, listener);
  return () => target.removeEventListener(event, listener);
}

/** In Node a watching timer alone must not keep the process alive. */
function releaseProcess(timer: unknown): void {
  if (typeof timer !== "object" || timer === null || !("unref" in timer)) return;
  if (typeof timer.unref === "function") timer.unref();
}
