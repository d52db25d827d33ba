// Time that passes as fast as the work in it is done, in place of this process's own: what time it
// is, and timers that fire. A macrotask after each timer lets every chain of promises end.

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** @typedef {{at_ms: number, every_ms: number, work: () => void, unref(): void}} Timer */

export class FakeTime {
  /** Now, in Unix milliseconds. */
  now_ms;
  #start_ms;
  /** @type {Set<Timer>} */
  #timers = new Set();
  /** @type {Array<() => void>} */
  #undo = [];

  /** @param {number} start_ms */
  constructor(start_ms) {
    this.now_ms = start_ms;
    this.#start_ms = start_ms;
  }

  /** How many timers wait. */
  get timers() {
    return this.#timers.size;
  }

  /** From here to {@link release} everything in this process sees this time. */
  take() {
    this.replace(Date, "now", () => this.now_ms);
    this.replace(performance, "now", () => this.now_ms - this.#start_ms);
    const once = (/** @type {() => void} */ work, after_ms = 0) => this.#add(work, after_ms, 0);
    const every = (/** @type {() => void} */ work, ms = 0) => this.#add(work, ms, Math.max(1, ms));
    const clear = (/** @type {Timer} */ timer) => void this.#timers.delete(timer);
    this.replace(globalThis, "setTimeout", once);
    this.replace(globalThis, "setInterval", every);
    this.replace(globalThis, "clearTimeout", clear);
    this.replace(globalThis, "clearInterval", clear);
  }

  /** Puts something in the place of the platform's own, until {@link release}. */
  replace(/** @type {object} */ target, /** @type {string} */ name, /** @type {unknown} */ value) {
    const own = Object.getOwnPropertyDescriptor(target, name);
    Object.defineProperty(target, name, { value, configurable: true, writable: true });
    this.#undo.push(() => {
      if (own) Object.defineProperty(target, name, own);
      else Reflect.deleteProperty(target, name);
    });
  }

  release() {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }

  /** Lets time pass, with everything that is due in it. @param {number} ms */
  async pass(ms) {
    const end_ms = this.now_ms + ms;
    await turn();
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.at_ms > end_ms) break;
      this.now_ms = Math.max(this.now_ms, next.at_ms);
      if (next.every_ms === 0) this.#timers.delete(next);
      else next.at_ms = this.now_ms + next.every_ms;
      next.work();
      await turn();
    }
    this.now_ms = Math.max(this.now_ms, end_ms);
  }

  /** Standby: time goes on, what is due meanwhile is late. @param {number} ms */
  sleep(ms) {
    this.now_ms += ms;
  }

  #next() {
    /** @type {Timer | undefined} */
    let next;
    for (const timer of this.#timers) {
      if (next === undefined || timer.at_ms < next.at_ms) next = timer;
    }
    return next;
  }

  /** @param {() => void} work @param {number} after_ms @param {number} every_ms */
  #add(work, after_ms, every_ms) {
    const timer = { at_ms: this.now_ms + after_ms, every_ms, work, unref() {} };
    this.#timers.add(timer);
    return timer;
  }
}
