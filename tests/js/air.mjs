// What tabs of one storage live in, in time that passes as fast as the work in it is done: messages that
// are late, lost and doubled, a storage that takes its time and fails, and tabs that freeze and die. All
// of it from a seed.
import { OmegaError, open } from "omega-sync";
import { Disk, NOWHERE } from "./disk.mjs";
import { FakeTime } from "./fake-time.mjs";

/** @typedef {import("omega-sync").Client} Client */
/** @typedef {{name: string, onmessage: ((event: any) => void) | null, tab: Place | undefined}} Ear */

const T0 = Date.UTC(2026, 0, 5, 18);
const LATE_MS_MAX = 400;
const STORAGE_MS_MAX = 40;
const STEP_MS = 20;

/** Numbers from a seed (Numerical Recipes' generator). @param {number} seed */
export function dice(seed) {
  let state = seed;
  return (/** @type {number} */ sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

/** Where a tab is: one that is frozen neither hears nor stores until it wakes, a dead one never. */
export class Place {
  isDead = false;
  /** What of its storage fails. @type {string[]} */
  fails = [];
  /** @type {Array<() => void> | undefined} what waits until it wakes */
  asleep;

  /** Does something in this tab, if it is there. @param {() => void} work */
  run(work) {
    if (this.isDead) return;
    if (this.asleep === undefined) work();
    else this.asleep.push(work);
  }

  freeze() {
    this.asleep ??= [];
  }

  wake() {
    const asleep = this.asleep ?? [];
    this.asleep = undefined;
    for (const work of asleep) this.run(work);
  }
}

export class Air {
  time = new FakeTime(T0);
  disk = new Disk();
  roll;
  /** Of a hundred messages or transactions so many fail, and so many messages are doubled. */
  bad = 0;
  /** Called after each commit. */
  stored = () => {};
  /** @type {Set<Ear>} */
  #ears = new Set();
  /** @type {Place | undefined} who would open a channel now */
  #opening;
  /** One transaction after the other. @type {Promise<unknown>} */
  #turn = Promise.resolve();

  /** @param {number} seed */
  constructor(seed) {
    this.roll = dice(seed);
  }

  /** Starts the engine, in real time, and takes the place of the platform. */
  async take() {
    const { time } = this;
    await (await open(this.#options(new Disk().open()))).close();
    time.take();
    const air = this;
    class Channel {
      /** @type {Ear["onmessage"]} */
      onmessage = null;
      tab = air.#opening;
      constructor(/** @type {string} */ name) {
        this.name = name;
        air.#ears.add(this);
      }
      postMessage(/** @type {any} */ message) {
        air.#say(this, JSON.stringify(message));
      }
      close() {
        air.#ears.delete(this);
      }
    }
    time.replace(globalThis, "BroadcastChannel", Channel);
  }

  /** Opens a tab. @param {Place} place @returns {Promise<Client>} */
  open(place) {
    const storage = this.#storage(place);
    return this.until(open(this.#options(storage)));
  }

  /** Lets time pass until something is done. @template T @param {Promise<T>} promise */
  async until(promise) {
    let done = false;
    const end = () => {
      done = true;
    };
    promise.then(end, end);
    for (let at = 0; !done && at < 10_000; at += 1) await this.time.pass(STEP_MS);
    if (!done) throw new Error("it never ends");
    return promise;
  }

  /** @param {any} storage */
  #options(storage) {
    const settings = { url: NOWHERE.address, device: "tv", token: async () => "token", storage };
    class Nothing {
      constructor() {
        setTimeout(() => this.onclose({ code: 1006 }), 1);
      }
      onclose = (/** @type {object} */ _event) => {};
      close() {}
    }
    return { ...settings, WebSocket: /** @type {any} */ (Nothing) };
  }

  /** @param {Ear} from @param {string} message */
  #say({ name, tab }, message) {
    if (tab?.isDead) return;
    for (const ear of Array.from(this.#ears)) {
      if (ear.name !== name || ear.tab === tab || this.#fails()) continue;
      for (let times = this.#fails() ? 2 : 1; times > 0; times -= 1) {
        const hear = () => {
          const data = JSON.parse(message);
          if (this.#ears.has(ear)) ear.tab?.run(() => ear.onmessage?.({ data }));
        };
        // Without any fault they keep their order.
        setTimeout(hear, this.bad === 0 ? 1 : 1 + this.roll(LATE_MS_MAX));
      }
    }
  }

  #fails() {
    return this.roll(100) < this.bad;
  }

  /** @param {Place} place */
  #storage(place) {
    const storage = this.disk.open();
    const { load, peek, commit } = storage;
    /** @template T @param {string} name @param {() => Promise<T>} work @returns {Promise<T>} */
    const transact = (name, work) =>
      new Promise((resolve, reject) => {
        const later = () => new Promise((next) => setTimeout(next, 1 + this.roll(STORAGE_MS_MAX)));
        const run = async () => {
          await later();
          if (place.isDead) return;
          try {
            if (place.fails.includes(name) || this.#fails())
              throw new OmegaError("storage_failed", "by chance");
            const value = await work();
            // It may be done, and nobody hears of it.
            await later();
            place.run(() => resolve(value));
          } catch (thrown) {
            place.run(() => reject(thrown));
          }
        };
        // A frozen tab begins none.
        place.run(() => {
          this.#turn = this.#turn.then(run);
        });
      });
    const { disk } = this;
    Object.defineProperty(storage, "life", {
      get: () => {
        // A tab reads it just before it opens a channel of that name.
        this.#opening = place;
        return disk.generation === 0 ? undefined : disk.name;
      },
    });
    return Object.assign(storage, {
      load: () => transact("load", load),
      peek: () => transact("peek", peek),
      commit: (/** @type {any} */ change) =>
        transact("commit", async () => {
          await commit(change);
          this.stored();
        }),
    });
  }
}
