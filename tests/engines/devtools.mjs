// The few words of the DevTools protocol that the oldest engine already speaks.
import WebSocket from "ws";

/** Longest wait for one answer, in milliseconds: loaded machines are slow. */
const ANSWER_WAIT_MS = 30_000;

/**
 * @typedef {object} Connection
 * @property {(method: string, params?: object) => Promise<any>} call rejects on a protocol error
 * @property {Promise<void>} closed
 * @property {() => void} close
 */

/**
 * @param {string} url of a page or of the browser
 * @param {(method: string, params: any) => void} onEvent
 * @returns {Promise<Connection>}
 */
export async function connect(url, onEvent) {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  let last = 0;
  /** @type {Promise<void>} */
  const closed = new Promise((resolve) => socket.once("close", () => resolve()));
  closed.then(() => {
    for (const { reject } of waiting.values())
      reject(new Error("the engine closed the connection"));
  });
  socket.on("message", (data) => {
    const message = JSON.parse(data.toString());
    const caller = waiting.get(message.id);
    if (!caller) {
      onEvent(message.method, message.params);
    } else if (message.error) {
      caller.reject(new Error(message.error.message));
    } else {
      caller.resolve(message.result);
    }
  });
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    // Stays on: an error later on is followed by `close`, which tells whoever waits.
    socket.on("error", reject);
  });

  /** @param {string} method @param {object} params */
  async function call(method, params = {}) {
    last += 1;
    const id = last;
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const answer = new Promise((resolve, reject) => {
      const late = () => reject(new Error(`${method}: no answer in ${ANSWER_WAIT_MS} ms`));
      timer = setTimeout(late, ANSWER_WAIT_MS);
      waiting.set(id, { resolve, reject });
      socket.send(JSON.stringify({ id, method, params }), (error) => error && reject(error));
    });
    return answer.finally(() => {
      clearTimeout(timer);
      waiting.delete(id);
    });
  }

  return { call, closed, close: () => socket.close() };
}

/** The address of the first page of an engine. @param {string} port */
export async function pageAddress(port) {
  const answer = await fetch(`http://127.0.0.1:${port}/json/list`);
  const targets = /** @type {Array<{type: string, webSocketDebuggerUrl: string}>} */ (
    await answer.json()
  );
  return targets.find((target) => target.type === "page")?.webSocketDebuggerUrl;
}
