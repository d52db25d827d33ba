// What of a page takes real time, so that a clock that runs ahead can wait for it: transactions of
// IndexedDB, questions for locks, and messages between tabs.

/**
 * A page or one of its frames.
 * @typedef {Window & typeof globalThis} Realm
 */

export class UnderWay {
  /** Whether no transaction can be begun: the disk is busy. */
  fails = false;
  /** Documents that hear nothing: they are frozen. @type {Set<Realm>} */
  frozen = new Set();
  /** How many transactions wrote. */
  commits = 0;
  /** What each document waits for. @type {Map<Realm, {count: number, ears: Set<any>}>} */
  #places = new Map();
  /** Every open channel, with how many messages are on their way to it. @type {Map<any, number>} */
  #ears = new Map();
  /** @type {Array<() => void>} */
  #waiting = [];
  #tasks = new MessageChannel();
  /** @type {(() => void) | undefined} */
  #next;

  constructor() {
    this.#tasks.port1.onmessage = () => this.#next?.();
  }

  /** Ends when nothing is under way, and what followed from it has begun. */
  async settle() {
    await this.#macrotask();
    while (this.#isBusy()) {
      await new Promise((resolve) => {
        this.#waiting.push(() => resolve(undefined));
      });
      await this.#macrotask();
    }
  }

  /** Watches a document from before its first script. @param {Realm} realm */
  watch(realm) {
    const place = { count: 0, ears: new Set() };
    this.#places.set(realm, place);
    const begin = () => {
      let isOpen = true;
      place.count += 1;
      return () => {
        if (isOpen) place.count -= 1;
        isOpen = false;
        this.#look();
      };
    };
    this.#watchStorage(realm, begin);
    watchLocks(realm, begin);
    this.#watchChannels(realm, place.ears);
  }

  /** A document is gone, whatever it waited for; what it said last may be lost. @param {Realm} realm */
  forget(realm) {
    for (const ear of this.#places.get(realm)?.ears ?? []) this.#ears.delete(ear);
    for (const ear of this.#ears.keys()) this.#ears.set(ear, 0);
    this.#places.delete(realm);
    this.#look();
  }

  #macrotask() {
    return new Promise((resolve) => {
      this.#next = () => resolve(undefined);
      this.#tasks.port2.postMessage(0);
    });
  }

  #isBusy() {
    for (const { count } of this.#places.values()) if (count > 0) return true;
    for (const due of this.#ears.values()) if (due > 0) return true;
    return false;
  }

  #look() {
    if (this.#waiting.length > 0 && !this.#isBusy()) for (const go of this.#waiting.splice(0)) go();
  }

  /** @param {Realm} realm @param {() => () => void} begin */
  #watchStorage({ IDBFactory, IDBDatabase, DOMException }, begin) {
    const { open } = IDBFactory.prototype;
    IDBFactory.prototype.open = function (...words) {
      const request = Reflect.apply(open, this, words);
      const end = begin();
      for (const event of ["success", "error"]) request.addEventListener(event, end);
      return request;
    };
    const { transaction } = IDBDatabase.prototype;
    const isBusy = () => this.fails;
    const count = (/** @type {unknown} */ mode) => {
      if (mode === "readwrite") this.commits += 1;
    };
    IDBDatabase.prototype.transaction = function (...words) {
      if (isBusy()) throw new DOMException("the disk is busy", "UnknownError");
      const begun = Reflect.apply(transaction, this, words);
      const end = begin();
      count(words[1]);
      for (const event of ["complete", "abort"]) begun.addEventListener(event, end);
      return begun;
    };
  }

  /** @param {Realm} realm @param {Set<any>} own */
  #watchChannels(realm, own) {
    const ears = this.#ears;
    const heard = (/** @type {any} */ ear, /** @type {Event} */ message) => {
      const due = ears.get(ear) ?? 0;
      if (due > 0) ears.set(ear, due - 1);
      if (this.frozen.has(realm)) message.stopImmediatePropagation();
      this.#look();
    };
    const closed = (/** @type {any} */ ear) => {
      ears.delete(ear);
      own.delete(ear);
      this.#look();
    };
    realm.BroadcastChannel = class extends realm.BroadcastChannel {
      constructor(/** @type {string} */ name) {
        super(name);
        ears.set(this, 0);
        own.add(this);
        this.addEventListener("message", (message) => heard(this, message));
      }

      postMessage(/** @type {any} */ message) {
        for (const [ear, due] of ears) {
          // Who is gone says nothing any more, however it tries.
          if (ears.has(this) && ear !== this && ear.name === this.name) ears.set(ear, due + 1);
        }
        super.postMessage(message);
      }

      close() {
        closed(this);
        super.close();
      }
    };
  }
}

/**
 * A lock that is waited for may take as long as it likes.
 * @param {Realm} realm @param {() => () => void} begin
 */
function watchLocks({ LockManager }, begin) {
  const { request } = LockManager.prototype;
  /** @param {any[]} words */
  LockManager.prototype.request = function (...words) {
    const [name, options, callback] = words;
    if (callback === undefined) return Reflect.apply(request, this, words);
    const end = begin();
    const asked = (/** @type {Lock | null} */ lock) => {
      end();
      return callback(lock);
    };
    return Reflect.apply(request, this, [name, options, asked]).finally(end);
  };
}
