// Time that passes as fast as the work in it is done, in place of this process's or page's own: what
// time it is, and timers that fire. A macrotask after each timer lets every chain of promises end.

const macrotask = () => new Promise((resolve) => setImmediate(resolve));

/**
 * @typedef {object} Timer
 * @property {number} at_ms
 * @property {number} every_ms
 * @property {() => void} work
 * @property {typeof globalThis} realm whose it is
 * @property {() => void} unref
 */

export class FakeTime {
  /** Now, in Unix milliseconds. */
  now_ms;
  /** How far the clock that says what time it is was set wrong; no timer goes by it. */
  wrong_ms = 0;
  #start_ms;
  #turn;
  /** @type {Set<Timer>} */
  #timers = new Set();
  /** Whose timers wait: of a page that is frozen. @type {Set<typeof globalThis>} */
  #frozen = new Set();
  /** Frames that are gone: what still runs of them gets no timer. @type {WeakSet<typeof globalThis>} */
  #gone = new WeakSet();
  /** @type {Array<() => void>} */
  #undo = [];

  /** @param {number} start_ms @param {() => Promise<unknown>} [turn] ends when all is done that was due */
  constructor(start_ms, turn = macrotask) {
    this.now_ms = start_ms;
    this.#start_ms = start_ms;
    this.#turn = turn;
  }

  /** How many timers wait. */
  get timers() {
    return this.#timers.size;
  }

  /** From here to {@link release} everything in this process or page sees this time. */
  take() {
    for (const [target, name, value] of this.#faces(globalThis)) this.replace(target, name, value);
  }

  /** The same for a frame of this page, which is gone when {@link forget} is called. */
  lend(/** @type {typeof globalThis} */ frame) {
    for (const [target, name, value] of this.#faces(frame)) {
      Object.defineProperty(target, name, { value, configurable: true, writable: true });
    }
  }

  /** A page's timers wait until it wakes. */
  freeze(/** @type {typeof globalThis} */ realm) {
    this.#frozen.add(realm);
  }

  wake(/** @type {typeof globalThis} */ realm) {
    this.#frozen.delete(realm);
  }

  /** A frame's timers end with it. */
  forget(/** @type {typeof globalThis} */ frame) {
    this.#gone.add(frame);
    for (const timer of this.#timers) if (timer.realm === frame) this.#timers.delete(timer);
  }

  /** What a page, or a process, asks for the time. @returns {Array<[object, string, unknown]>} */
  #faces(/** @type {typeof globalThis} */ realm) {
    const add = (/** @type {() => void} */ work, after_ms = 0, every_ms = 0) => {
      const timer = { at_ms: this.now_ms + after_ms, every_ms, work, realm, unref() {} };
      if (!this.#gone.has(realm)) this.#timers.add(timer);
      return timer;
    };
    const clear = (/** @type {Timer} */ timer) => void this.#timers.delete(timer);
    return [
      [realm.Date, "now", () => this.now_ms + this.wrong_ms],
      [realm.performance, "now", () => this.now_ms - this.#start_ms],
      ["setTimeout", (/** @type {() => void} */ work, ms = 0) => add(work, ms)],
      ["setInterval", (/** @type {() => void} */ work, ms = 0) => add(work, ms, Math.max(1, ms))],
      ["clearTimeout", clear],
      ["clearInterval", clear],
    ].map(
      (face) =>
        /** @type {[object, string, unknown]} */ (face.length === 3 ? face : [realm, ...face]),
    );
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
    await this.#turn();
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.at_ms > end_ms) break;
      this.now_ms = Math.max(this.now_ms, next.at_ms);
      if (next.every_ms === 0) this.#timers.delete(next);
      else next.at_ms = this.now_ms + next.every_ms;
      next.work();
      await this.#turn();
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
      if (this.#frozen.has(timer.realm)) continue;
      if (next === undefined || timer.at_ms < next.at_ms) next = timer;
    }
    return next;
  }
}
