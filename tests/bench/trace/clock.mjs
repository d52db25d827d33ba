// The world as the trace has it, put in place of this process's own: what time it is, timers, and
// random bytes that are the same in each run.
//
// No timer fires: the network loses nothing, so what a timer would do (ask whether a silent server
// is there, try again after a failure, notice standby) is no part of what is measured.
import { createHash } from "node:crypto";

const CHANGED = /** @type {const} */ ([
  "setTimeout",
  "setInterval",
  "clearTimeout",
  "clearInterval",
]);

export class TraceClock {
  /** Now, in Unix milliseconds. */
  now_ms;
  #start_ms;
  #name;
  #drawn = 0;
  /** @type {Uint8Array[]} */
  #prepared = [];
  /** @type {Array<() => void>} */
  #undo = [];

  /** @param {number} start_ms @param {string} name chooses the random bytes */
  constructor(start_ms, name) {
    this.now_ms = start_ms;
    this.#start_ms = start_ms;
    this.#name = name;
  }

  /** Milliseconds since the start, as a steady clock shows them. */
  get steady_ms() {
    return this.now_ms - this.#start_ms;
  }

  /** From here to {@link release} everything in this process sees the trace's time. */
  take() {
    this.#replace(Date, "now", () => this.now_ms);
    this.#replace(performance, "now", () => this.steady_ms);
    for (const name of CHANGED) this.#replace(globalThis, name, () => 0);
    const fill = (/** @type {Uint32Array} */ values) => {
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      bytes.set(this.#prepared.shift() ?? this.random(bytes.length));
      return values;
    };
    this.#replace(crypto, "getRandomValues", fill);
  }

  release() {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }

  /** The next bytes of this clock's own sequence, at most 32. @param {number} length */
  random(length) {
    this.#drawn += 1;
    const bytes = createHash("sha256").update(`${this.#name}/${this.#drawn}`).digest();
    return Uint8Array.from(bytes.subarray(0, length));
  }

  /** What the next one to ask for random bytes gets. @param {Uint8Array} bytes */
  prepare(bytes) {
    this.#prepared.push(bytes);
  }

  /** @param {object} target @param {string} name @param {Function} value */
  #replace(target, name, value) {
    const own = Object.getOwnPropertyDescriptor(target, name);
    Object.defineProperty(target, name, { value, configurable: true, writable: true });
    this.#undo.push(() => {
      if (own) Object.defineProperty(target, name, own);
      else Reflect.deleteProperty(target, name);
    });
  }
}
