// One household in a page, for a month in time that passes as fast as the work in it is done: a TV that
// stays on, a phone and a second tab that come and go. Its network is the server's end from tests/room.
import { fnv1a } from "../../decoder/numbers.mjs";
import { FakeTime } from "../../js/fake-time.mjs";
import { House } from "../../js/house.mjs";
import { titles } from "../../js/titles.mjs";
import { LEAKS } from "./leaks.mjs";
import { UnderWay } from "./under-way.mjs";

/** @typedef {import("omega-sync/patterns").PatternsClient} Client */
/** @typedef {import("./under-way.mjs").Realm} Realm */

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const T0 = 1_767_225_600_000;
const HOST = "sync.example";
/** The first address, where nobody is for most of the day. */
const FIRST = "away.example";
/** Titles that are ever touched, and known to taste. */
const TITLES = 40;
const GENRE = "Drama";
const WRITE_EVERY_MS = MINUTE_MS;
/** All are touched in two days. */
const WRITES_OF_A_TITLE = 5;
/** Token expired or refused. */
const UNAUTHORIZED = 4010;
/** Of each kind, each time that the phone is there. */
const COMMANDS = 20;

/** How often is looked for what comes in real time, which is a minute at least. */
const LOOKS_MAX = 12_000;
const LOOK_EVERY_MS = 5;
const later = setTimeout.bind(window);

/** What {@link titles} makes takes its time. */
const KNOWN = titles(GENRE, 1, 0, TITLES);

const name = (/** @type {number} */ number) => `${GENRE}:${number % TITLES}`;

class Month {
  underWay = new UnderWay();
  time = new FakeTime(T0, () => this.underWay.settle());
  house;
  /** What happened that should not have. @type {unknown[]} */
  wrong = [];
  tokens = 0;
  /** Commands that were carried out, by who did it. @type {Record<string, number>} */
  orders = {};
  #script;
  #tables;
  /** @type {WebAssembly.Memory | undefined} */
  #memory;
  #writes = 0;
  #viewings = 0;
  #dice = 1;
  #hidden = false;
  /** @type {Client | undefined} */
  #tv;

  /**
   * @param {import("../../bench/trace/network.mjs").RoomEndClass} RoomEnd
   * @param {string} script the package @param {Uint8Array} tables
   */
  constructor(RoomEnd, script, tables) {
    this.house = new House(new RoomEnd("home-soak"), this.time);
    this.house.tables = fnv1a(tables);
    this.#script = script;
    this.#tables = tables;
  }

  /**
   * Takes the platform's place, then loads the package and opens the TV.
   * @param {(house: House) => void} [leak]
   */
  async begin(leak) {
    this.time.take();
    leak?.(this.house);
    this.#chance(window);
    this.underWay.watch(window);
    Object.defineProperty(document, "hidden", { get: () => this.#hidden, configurable: true });
    this.#noteMemory();
    this.#load(window);
    this.#tv = await this.#open(window, "tv");
  }

  /** Chance is the same each month (Numerical Recipes' generator). @param {Realm} realm */
  #chance(realm) {
    const next = () => {
      this.#dice = (Math.imul(this.#dice, 1_664_525) + 1_013_904_223) >>> 0;
      return this.#dice;
    };
    realm.Math.random = () => next() / 2 ** 32;
    realm.crypto.getRandomValues = (/** @type {any} */ words) => {
      // The low bits of this generator are poor.
      for (const at of words.keys()) words[at] = (next() & 0xffff_0000) | (next() >>> 16);
      return words;
    };
  }

  /** The engine's memory, which the package keeps to itself. */
  #noteMemory() {
    const { instantiate } = WebAssembly;
    WebAssembly.instantiate = /** @type {typeof instantiate} */ (
      async (/** @type {any} */ source, /** @type {any} */ imports) => {
        WebAssembly.instantiate = instantiate;
        const started = /** @type {any} */ (await instantiate(source, imports));
        const { exports } = started.instance ?? started;
        this.#memory = exports.memory;
        return started;
      }
    );
  }

  /** @param {Realm} realm */
  #load(realm) {
    Reflect.set(realm, "fetch", this.house.fetch.bind(this.house));
    const script = realm.document.createElement("script");
    script.textContent = this.#script;
    realm.document.head.append(script);
    script.remove();
  }

  /** @param {Realm} realm @param {string} device @returns {Promise<Client>} */
  async #open(realm, device) {
    const client = await Reflect.get(realm, "OmegaSync").open({
      urls: [`https://${FIRST}`, `https://${HOST}`],
      device,
      token: async () => this.#token(device),
      WebSocket: this.house.socketClass(device, realm),
      taste: { tables: async () => this.#tables.slice() },
    });
    client.on("rejected", (/** @type {unknown} */ rejected) => this.wrong.push(rejected));
    client.on("error", (/** @type {{code: string}} */ error) => {
      if (error.code !== "storage_failed") this.wrong.push(`${device}: ${error}`);
    });
    // A home screen, which is drawn anew.
    client.on("change", () => {
      client.watchlist.items();
      client.progress.inProgress();
      client.devices.list();
    });
    client.devices.onCommand(() => {
      this.orders[device] = (this.orders[device] ?? 0) + 1;
    });
    const capabilities = { remoteControllable: true };
    await client.devices.describe({ name: device, deviceType: "tv", capabilities });
    // Most of the times they are known.
    await client.taste.learnTitles(KNOWN);
    return client;
  }

  /** @param {string} device */
  #token(device) {
    this.tokens += 1;
    const claims = btoa(JSON.stringify({ did: device, sub: "home-soak", jti: this.tokens }));
    return `header.${claims.replace(/=+$/, "")}.signature`;
  }

  /**
   * One title after the other is watched, put on the list or off it, and learned from.
   * @param {Client} client @param {number} minutes
   */
  async #watch(client, minutes) {
    for (let left_ms = minutes * MINUTE_MS; left_ms > 0; left_ms -= WRITE_EVERY_MS) {
      this.#writes += 1;
      const title = Math.floor(this.#writes / WRITES_OF_A_TITLE);
      const content = name(title);
      const positionSeconds = 10 * (this.#writes % WRITES_OF_A_TITLE);
      this.#expect(client.progress.set(content, { positionSeconds, durationSeconds: 8_160 }));
      if (positionSeconds === 0) {
        const listed = Math.floor(title / TITLES) % 2 === 0;
        const { watchlist, taste } = client;
        this.#expect(listed ? watchlist.add(content) : watchlist.remove(content));
        this.#viewings += 1;
        this.#expect(taste.record({ content, watched: this.#viewings % 4 === 0 ? 0.3 : 1 }));
        taste.recommend(5);
      }
      await this.time.pass(WRITE_EVERY_MS);
    }
  }

  /** @param {Promise<unknown>} write fails only for want of storage */
  #expect(write) {
    write.catch((error) => {
      if (error.code !== "storage_failed") this.wrong.push(String(error));
    });
  }

  /**
   * Waits in real time for what is no matter of time.
   * @param {string} what @param {() => boolean} condition
   */
  async #until(what, condition) {
    for (let looks = 0; !condition(); looks += 1) {
      if (looks > LOOKS_MAX) throw new Error(`it never comes: ${what}`);
      await new Promise((resolve) => later(resolve, LOOK_EVERY_MS));
      await this.underWay.settle();
    }
  }

  get tv() {
    if (this.#tv === undefined) throw new Error("it has not begun");
    return this.#tv;
  }

  async day() {
    const { time, house, tv } = this;
    // 0:00, standby: nothing runs, sockets die without a word.
    house.fallSilent();
    time.sleep(8 * HOUR_MS);
    await time.pass(5 * MINUTE_MS);
    house.gone.add(FIRST);
    await this.#badNetwork();
    await this.#hide();
    // The clock is set wrong, and right again.
    time.wrong_ms = 3 * HOUR_MS;
    await this.#watch(tv, 5);
    time.wrong_ms = 0;
    // The disk is busy for a while.
    this.underWay.fails = true;
    await this.#watch(tv, 3);
    this.underWay.fails = false;
    await this.#watch(tv, 5);
    for (const closes of [true, false]) {
      await this.#secondTab("tv", closes, (tab) => this.#follow(tab));
      await this.#watch(tv, 3);
      await this.#phone(closes);
    }
    house.gone.delete(FIRST);
    await this.#watch(tv, 15);
    await tv.syncNow();
    await time.pass(5 * MINUTE_MS);
    time.sleep(((T0 - time.now_ms) % (24 * HOUR_MS)) + 24 * HOUR_MS);
    await time.pass(5 * MINUTE_MS);
    await tv.taste.sync();
    await this.underWay.settle();
  }

  async #badNetwork() {
    const { time, house, tv } = this;
    // The socket is dropped every minute, sometimes with nobody there until the next one.
    for (let drops = 0; drops < 12; drops += 1) {
      house.drop();
      house.there = drops % 6 !== 4;
      await time.pass(MINUTE_MS);
    }
    // A proxy that breaks sockets: everything goes by requests, then by a socket again.
    house.upgrades = false;
    house.drop();
    await this.#watch(tv, 8);
    // For a while nothing is answered.
    house.deaf.add(HOST);
    await this.#watch(tv, 3);
    house.deaf.delete(HOST);
    await this.#watch(tv, 4);
    house.upgrades = true;
    // Tokens expire.
    for (let times = 0; times < 3; times += 1) {
      house.drop(UNAUTHORIZED);
      await time.pass(4 * MINUTE_MS);
    }
  }

  /** The page goes away and comes back, with something that waits. */
  async #hide() {
    const { time, tv } = this;
    for (let times = 0; times < 4; times += 1) {
      this.#expect(tv.watchlist.add(name(times)));
      this.#hidden = true;
      document.dispatchEvent(new Event("visibilitychange"));
      window.dispatchEvent(new Event("pagehide"));
      await time.pass(3 * MINUTE_MS);
      this.#hidden = false;
      document.dispatchEvent(new Event("visibilitychange"));
      // A screen that listens while it is shown.
      tv.devices.onCommand(() => "invalid")();
      if (times % 2 === 0) window.dispatchEvent(new Event("online"));
      await time.pass(MINUTE_MS);
    }
  }

  /**
   * Another tab of a device's storage, which is closed by the app or goes with its page.
   * @param {string} device @param {boolean} closes @param {(tab: Client) => Promise<void>} use
   */
  async #secondTab(device, closes, use) {
    const { house, time, underWay } = this;
    const frame = document.createElement("iframe");
    document.body.append(frame);
    const realm = /** @type {Realm} */ (frame.contentWindow);
    time.lend(realm);
    underWay.watch(realm);
    this.#chance(realm);
    this.#load(realm);
    const tab = await this.#open(realm, device);
    await use(tab);
    await tab.flushed();
    if (closes) await tab.close();
    frame.remove();
    for (const part of [house, time, underWay]) part.forget(realm);
  }

  /** It writes through the TV that leads. @param {Client} tab */
  async #follow(tab) {
    await this.#until("it follows", () => tab.status().role === "follower");
    await this.#watch(tab, 5);
    await this.#watch(this.tv, 3);
  }

  /** The phone's page freezes, and the tab leads in its place. @param {Client} phone @param {Client} tab */
  async #takeOver(phone, tab) {
    const { time, underWay, house } = this;
    house.fallSilent();
    time.freeze(window);
    underWay.frozen.add(window);
    await this.#watch(tab, 3);
    if (tab.status().role !== "leader") this.wrong.push("nobody leads");
    time.wake(window);
    underWay.frozen.delete(window);
    await this.#watch(phone, 3);
    if (phone.status().role !== "follower") this.wrong.push("two lead");
  }

  /** The phone is opened, used in two tabs, and closed. @param {boolean} closes the second tab itself */
  async #phone(closes) {
    const { time, tv } = this;
    const phone = await this.#open(window, "phone");
    await time.pass(MINUTE_MS);
    await this.#secondTab("phone", closes, (tab) => this.#takeOver(phone, tab));
    await this.#until("it leads again", () => phone.status().role === "leader");
    await this.#watch(phone, 5);
    await this.#tell(phone);
    await phone.close();
    await time.pass(MINUTE_MS);
    const told = tv.devices.handoff("phone", { contentId: name(0) });
    await time.pass(10 * SECOND_MS);
    const { status } = await told;
    if (status !== "offline") this.wrong.push({ status });
  }

  /** A phone and the TV tell each other what to do. @param {Client} phone */
  async #tell(phone) {
    const { time, tv } = this;
    for (let times = 0; times < COMMANDS; times += 1) {
      const level = times % 100;
      this.#told(phone.devices.send("tv", { type: "volume_set", level }));
      this.#told(tv.devices.send("phone", { type: "pause" }));
      if (times % 10 === 0) {
        this.#told(phone.devices.handoff("tv", { contentId: name(times) }));
        this.#told(tv.devices.handoff("phone", { contentId: name(times) }));
      }
      await time.pass(10 * SECOND_MS);
    }
    const here = tv.devices.list().map(({ isOnline }) => isOnline);
    if (here.length !== 2 || here.includes(false)) this.wrong.push({ here });
  }

  /** @param {Promise<string | {status: string}>} outcome */
  #told(outcome) {
    outcome.then(
      (told) => {
        const status = typeof told === "string" ? told : told.status;
        if (status !== "delivered") this.wrong.push({ status });
      },
      (error) => this.wrong.push(String(error)),
    );
  }

  /** What there is at the end of a day, when all is exchanged. */
  async sample() {
    const { house, time, tv } = this;
    return {
      wrong: this.wrong,
      state: tv.status().state,
      pending: tv.pending,
      timers: time.timers,
      sockets: house.sockets,
      underWay: house.underWay,
      wasm: this.#memory?.buffer.byteLength,
      stored: await stored(),
    };
  }

  /** What was done so far. */
  done() {
    const { house, tokens, orders, underWay } = this;
    const { opened, requests, questions } = house;
    const { commits } = underWay;
    return { opened, requests, questions, tokens, orders, commits, writes: this.#writes };
  }

  /** Closes the TV. @returns what is left that should not be */
  async end() {
    await this.tv.close();
    await this.underWay.settle();
    const { timers } = this.time;
    const { sockets, underWay } = this.house;
    return { timers, sockets, underWay };
  }
}

/**
 * What is in each of the page's databases: bytes of its log, of the image that this begins with, and how
 * many records there are beside it.
 */
async function stored() {
  /** @type {Record<string, {log: number, image: number, others: number}>} */
  const found = {};
  for (const { name: database = "" } of await indexedDB.databases()) {
    const opened = /** @type {IDBDatabase} */ (await resultOf(indexedDB.open(database)));
    const all = opened.transaction(opened.objectStoreNames, "readonly");
    let [log, image, others] = [0, 0, 0];
    for (const store of Array.from(opened.objectStoreNames)) {
      for (const record of await resultOf(all.objectStore(store).getAll())) {
        if (!(record instanceof Uint8Array)) others += 1;
        else if (log === 0) log = image = record.length;
        else log += record.length;
      }
    }
    opened.close();
    found[database] = { log, image, others };
  }
  return found;
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function resultOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * Runs in the page.
 * @param {string[]} paths of the package, the tables, the server's end and its module
 * @param {string} [leak] what is to leak, see leaks.mjs
 */
async function start([script = "", tables = "", glue = "", wasm = ""], leak = "") {
  const bytesOf = async (/** @type {string} */ path) => (await fetch(path)).arrayBuffer();
  const bindings = await import(glue);
  const imports = { "./omega_sync_room_end_bg.js": bindings };
  const { instance } = await WebAssembly.instantiate(await bytesOf(wasm), imports);
  bindings.__wbg_set_wasm(instance.exports);
  const text = new TextDecoder().decode(await bytesOf(script));
  const month = new Month(bindings.RoomEnd, text, new Uint8Array(await bytesOf(tables)));
  await month.begin(LEAKS[leak]);
  Reflect.set(window, "month", month);
}

Reflect.set(window, "start", start);
