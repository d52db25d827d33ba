// Waiting for something to become true: on events where there are any, and never without an end.
import { setTimeout as after } from "node:timers/promises";

/** Longest wait for anything in a test, in milliseconds: on a busy machine the demo takes 20 s to start. */
export const WAIT_MS = 60_000;
/** Pause between two questions to another process, which sends no events. */
const PAUSE_MS = 25;

/**
 * Asks another process again and again.
 * @template T
 * @param {string} what @param {() => Promise<T> | T} question
 * @returns {Promise<NonNullable<T>>} its first true answer
 */
export async function until(what, question) {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${WAIT_MS} ms: ${what}`);
    await after(PAUSE_MS);
  }
}

/**
 * Waits on a client's own events.
 * @param {import("omega-sync").Client} client
 * @param {string} what @param {() => boolean} condition
 * @param {number} [withinMs]
 * @returns {Promise<void>}
 */
export function eventually(client, what, condition, withinMs = WAIT_MS) {
  return new Promise((resolve, reject) => {
    /** @type {Array<() => void>} */
    const stops = [];
    const end = () => {
      clearTimeout(timer);
      for (const stop of stops) stop();
    };
    const look = () => {
      if (!condition()) return;
      end();
      resolve();
    };
    const timer = setTimeout(() => {
      end();
      const status = JSON.stringify(client.status());
      reject(new Error(`not within ${withinMs} ms: ${what}; ${status}`));
    }, withinMs);
    const events = /** @type {const} */ (["change", "status", "rejected", "replay"]);
    for (const event of events) stops.push(client.on(event, look));
    look();
  });
}
