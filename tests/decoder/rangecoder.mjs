// The range coding of docs/protocol.md: adaptive bits, even values and numbers, from bytes.
import { bitLength, need } from "./numbers.mjs";

/** Below this the range takes in another byte. */
const RANGE_MIN = 2 ** 24;
const RANGE_FIRST = 2 ** 32 - 1;
/** Half of what a model's lean is out of. */
const EVEN = 32_768;
const LEAN_MAX = 32_767;
const COUNT_MAX = 126;
/** Bits that one step reads at most. */
const STEP_BITS = 16;
/** Ones that a small number starts with at most. */
const SMALL_BITS_MAX = 32;
/** How many models a number has for each further bit of its length, and for its highest bits. */
const LENGTH_MODELS = 12;
const TOP_MODELS = 3;
/** Highest bits below the first that have models. */
const TOP_BITS = 2;

/** What one bit has been so far. @typedef {{ lean: number, count: number }} Model */

/** A model that has seen nothing. @returns {Model} */
export function even() {
  return { lean: 0, count: 0 };
}

/** A model that expects n zeros for a one. @param {number} n @returns {Model} */
export function rare(n) {
  return { lean: LEAN_MAX - Math.floor(EVEN / (n + 1)), count: n };
}

/** Models of one symbol: a binary tree by node. @typedef {Map<number, Model>} Tree */

/** @param {number} count */
function models(count) {
  return Array.from({ length: count }, even);
}

/** Models of one kind of number. */
export class NumberModel {
  #shorter = even();
  #down = models(LENGTH_MODELS);
  #up = models(LENGTH_MODELS);
  #top = Array.from({ length: LENGTH_MODELS }, () => models(TOP_MODELS));
  /** Sixteen times the expected length in bits. */
  #expected;

  /** @param {number} expected bits @param {number} max value @param {boolean} [follows] */
  constructor(expected, max, follows = false) {
    this.#expected = 16 * expected;
    this.max = max;
    this.follows = follows;
  }

  /** @param {RangeReader} reader */
  read(reader) {
    const longest = bitLength(this.max);
    const expected = Math.min(longest, (this.#expected + 8) >> 4);
    const length = this.#length(reader, longest, expected);
    if (this.follows) this.#expected += Math.trunc((16 * length - this.#expected) / 4);
    return this.#value(reader, longest, expected, length);
  }

  /** @param {RangeReader} reader @param {number} longest @param {number} expected */
  #length(reader, longest, expected) {
    let length = expected;
    let turn = 0;
    /** @param {Model[]} of */
    const more = (of) => {
      const model = /** @type {Model} */ (of[Math.min(turn, LENGTH_MODELS - 1)]);
      turn += 1;
      return reader.bit(model) === 1;
    };
    if (expected > 0 && reader.bit(this.#shorter) === 1) {
      length -= 1;
      while (length > 0 && more(this.#down)) length -= 1;
    } else {
      while (length < longest && more(this.#up)) length += 1;
    }
    return length;
  }

  /**
   * @param {RangeReader} reader
   * @param {number} longest @param {number} expected @param {number} length
   */
  #value(reader, longest, expected, length) {
    if (length < 2) return Math.min(length, this.max);
    const lowest = 2 ** (length - 1);
    if (length === longest) return lowest + reader.uniform(this.max - lowest + 1);
    const at = Math.min(LENGTH_MODELS - 1, Math.max(0, length + 6 - expected));
    const top = /** @type {Model[]} */ (this.#top[at]);
    let value = 1;
    let left = length - 1;
    for (let turn = 0; turn < TOP_BITS && left > 0; turn += 1) {
      value = 2 * value + reader.bit(/** @type {Model} */ (top[value - 1]));
      left -= 1;
    }
    return value * 2 ** left + reader.direct(left);
  }
}

/** Reads range coded values. Past the end of the bytes it reads zeros. */
export class RangeReader {
  #bytes;
  #at = 4;
  #range = RANGE_FIRST;
  #code;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
    this.#code = [0, 1, 2, 3].reduce((code, at) => code * 256 + (bytes[at] ?? 0), 0);
  }

  /** All bytes must have been of use. */
  end() {
    const unread = this.#bytes.length - this.#at;
    need(unread <= 0, `${unread} bytes that no value needs`, "trailing");
  }

  /** @param {number} start @param {number} size */
  #narrow(start, size) {
    this.#code = (this.#code - start) >>> 0;
    this.#range = size;
    while (this.#range < RANGE_MIN) {
      this.#range *= 256;
      this.#code = ((this.#code << 8) | (this.#bytes[this.#at] ?? 0)) >>> 0;
      this.#at += 1;
    }
  }

  /** @param {number} bound @returns {0 | 1} */
  #below(bound) {
    if (this.#code < bound) {
      this.#narrow(0, bound);
      return 0;
    }
    this.#narrow(bound, this.#range - bound);
    return 1;
  }

  /** @param {Model} model */
  bit(model) {
    const bit = this.#below((this.#range >>> 16) * (EVEN + model.lean));
    const target = bit === 0 ? LEAN_MAX : -LEAN_MAX;
    const share = Math.floor(65_536 / (model.count + 2));
    model.lean += Math.floor(((target - model.lean) * share) / 65_536);
    model.count = Math.min(COUNT_MAX, model.count + 1);
    return bit;
  }

  /** One of as many equally likely values, at most 2^16. @param {number} count */
  step(count) {
    const part = Math.floor(this.#range / count);
    const value = Math.min(Math.floor(this.#code / part), count - 1);
    this.#narrow(value * part, part);
    return value;
  }

  /** @param {number} bits at most 52, what a JavaScript number holds */
  direct(bits) {
    let value = 0;
    for (let left = bits; left > 0; left -= STEP_BITS) {
      const group = Math.min(left, STEP_BITS);
      value = value * 2 ** group + this.step(2 ** group);
    }
    return value;
  }

  /** A 64-bit id. */
  direct64() {
    return (BigInt(this.direct(32)) << 32n) | BigInt(this.direct(32));
  }

  /** @param {number} count at least 1 */
  uniform(count) {
    const low = Math.max(0, bitLength(count - 1) - STEP_BITS);
    const high = this.step(Math.floor((count - 1) / 2 ** low) + 1);
    const value = high * 2 ** low + this.direct(low);
    need(value < count, `${value} is not below ${count}`);
    return value;
  }

  /** Whether the next of n is one of the k that are chosen. @param {number} k @param {number} n */
  chosen(k, n) {
    if (k === 0) return false;
    if (k >= n) return true;
    return this.#below(Math.floor(this.#range / n) * (n - k)) === 1;
  }

  small() {
    let ones = 0;
    while (ones < SMALL_BITS_MAX && this.direct(1) === 1) ones += 1;
    return 2 ** ones + this.direct(ones) - 1;
  }

  /** @param {Tree} tree @param {number} count */
  symbol(tree, count) {
    const bits = bitLength(count - 1);
    let node = 1;
    for (let at = 0; at < bits; at += 1) {
      const model = tree.get(node) ?? even();
      tree.set(node, model);
      node = 2 * node + this.bit(model);
    }
    const value = node - 2 ** bits;
    need(value < count, `symbol ${value} of ${count}`);
    return value;
  }
}
