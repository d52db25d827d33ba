// Numbers, texts, ids and stamps of docs/protocol.md, read from bytes that nobody trusts.
// The decoder in this folder is written from that page alone, and knows nothing of the core.

/** Milliseconds of a stamp fit in 48 bits, its logical counter in 16. */
export const COUNTER_BITS = 16n;
export const STAMP_MS_MAX = (1n << 48n) - 1n;
export const COUNTER_MAX = (1 << 16) - 1;
/** A varint has at most so many bytes. */
const VARINT_BYTES_MAX = 10;
const U64_MAX = (1n << 64n) - 1n;
/** Up to here JavaScript numbers are exact. */
const EXACT_MAX = 2n ** 53n;
/** Bounds of the page's table of limits. */
export const CONTENT_ID_BYTES_MAX = 64;
export const TENANT_ID_BYTES_MAX = 64;
export const PROFILE_NAME_BYTES_MAX = 64;
export const DEVICE_TEXT_BYTES_MAX = 64;

/** @typedef {"truncated" | "trailing" | "version" | "limit" | "invalid" | "checksum"} ErrorClass */
/** @typedef {[number, number]} JsonStamp Unix milliseconds, logical counter */

/** What is wrong with bytes. The class is stable, the message says where. */
export class DecodeError extends Error {
  /** @param {ErrorClass} kind @param {string} message */
  constructor(kind, message) {
    super(`${kind}: ${message}`);
    this.name = "DecodeError";
    this.kind = kind;
  }
}

/**
 * Refuses bytes that break a rule.
 * @param {boolean} condition @param {string} message @param {ErrorClass} [kind]
 * @returns {asserts condition}
 */
export function need(condition, message, kind = "invalid") {
  if (!condition) throw new DecodeError(kind, message);
}

/** Reads one encoded thing from its first byte to its last. */
export class Reader {
  #at = 0;
  #bytes;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  /** How many bytes are left. */
  get left() {
    return this.#bytes.length - this.#at;
  }

  /** Nothing may follow. */
  end() {
    need(this.left === 0, `${this.left} bytes follow the end`, "trailing");
  }

  /** @param {number} count */
  raw(count) {
    need(count <= this.left, `${count} bytes wanted, ${this.left} left`, "truncated");
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  rest() {
    return this.raw(this.left);
  }

  u8() {
    return /** @type {number} */ (this.raw(1)[0]);
  }

  /** @param {number} count of bytes, little endian */
  fixed(count) {
    return this.raw(count).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }

  fixed32() {
    return Number(this.fixed(4));
  }

  fixed64() {
    return this.fixed(8);
  }

  varint() {
    let value = 0n;
    for (let place = 0; place < VARINT_BYTES_MAX; place += 1) {
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << BigInt(7 * place);
      if (byte >= 0x80) continue;
      need(place === 0 || byte !== 0, "a padded varint");
      need(value <= U64_MAX, "a varint above 64 bits");
      return value;
    }
    throw new DecodeError("invalid", "a varint without an end");
  }

  /**
   * A varint that a JavaScript number holds.
   * @param {number} max @param {ErrorClass} [kind] of the error above it
   */
  small(max, kind = "invalid") {
    const value = this.varint();
    need(value <= BigInt(max), `${value} is above ${max}`, kind);
    return Number(value);
  }

  signed() {
    return unzigzag(this.varint());
  }

  /** @param {number} max bytes */
  text(max) {
    return utf8(this.raw(this.small(max, "limit")));
  }

  /** A content id, a household's or a device's. */
  contentId() {
    return checkedId(this.text(CONTENT_ID_BYTES_MAX));
  }

  /** A plain stamp. */
  stamp() {
    return this.varint();
  }

  /** @param {bigint} other the stamp that this one is relative to */
  relativeStamp(other) {
    const coded = this.varint();
    const ms = (other >> COUNTER_BITS) + unzigzag(coded >> 1n);
    need(ms >= 0n && ms <= STAMP_MS_MAX, "a stamp outside 48 bits of milliseconds");
    const counter = (coded & 1n) === 1n ? this.small(COUNTER_MAX) : 0;
    need((coded & 1n) === 0n || counter > 0, "a counter that says it is not 0");
    return stampOf(ms, counter);
  }
}

/** Writes what digests are taken of. */
export class Writer {
  /** @type {number[]} */
  #bytes = [];

  get bytes() {
    return Uint8Array.from(this.#bytes);
  }

  /** @param {Iterable<number>} bytes */
  raw(bytes) {
    for (const byte of bytes) this.#bytes.push(byte);
  }

  /** @param {number} count of bytes, little endian @param {bigint} value */
  fixed(count, value) {
    for (let at = 0; at < count; at += 1) {
      this.#bytes.push(Number((value >> BigInt(8 * at)) & 0xffn));
    }
  }

  /** @param {bigint} value */
  varint(value) {
    let left = value;
    for (; left >= 0x80n; left >>= 7n) this.#bytes.push(Number(left & 0x7fn) | 0x80);
    this.#bytes.push(Number(left));
  }

  /** @param {string} text */
  text(text) {
    const bytes = Buffer.from(text);
    this.varint(BigInt(bytes.length));
    this.raw(bytes);
  }

  /** @param {bigint} stamp @param {bigint} other */
  relativeStamp(stamp, other) {
    const counter = stamp & BigInt(COUNTER_MAX);
    const ms = zigzag((stamp >> COUNTER_BITS) - (other >> COUNTER_BITS));
    this.varint((ms << 1n) | (counter > 0n ? 1n : 0n));
    if (counter > 0n) this.varint(counter);
  }
}

/** @param {bigint} value */
export function zigzag(value) {
  return value < 0n ? -value * 2n - 1n : value * 2n;
}

/** @param {bigint} coded */
function unzigzag(coded) {
  return (coded & 1n) === 1n ? -(coded >> 1n) - 1n : coded >> 1n;
}

/** @param {bigint} ms @param {number} counter */
export function stampOf(ms, counter) {
  return (ms << COUNTER_BITS) | BigInt(counter);
}

/** Milliseconds of a stamp. @param {bigint} stamp */
export function msOf(stamp) {
  return stamp >> COUNTER_BITS;
}

/** @param {Uint8Array} bytes */
export function utf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new DecodeError("invalid", "a text that is not UTF-8");
  }
}

/** An id in text: 1 to 64 bytes without control characters. @param {string} text */
export function checkedId(text) {
  need(text !== "", "an empty id");
  need(Buffer.byteLength(text) <= CONTENT_ID_BYTES_MAX, "an id above its limit", "limit");
  need(!/\p{Cc}/u.test(text), "an id with control characters");
  return text;
}

/** FNV-1a, 32 bits. @param {Iterable<number>} bytes */
export function fnv1a(bytes) {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** How many bits a number has; 0 has none. @param {number} value */
export function bitLength(value) {
  return value === 0 ? 0 : value.toString(2).length;
}

/** @param {string} text */
export function fromHex(text) {
  if (text.length % 2 !== 0 || /[^0-9a-f]/.test(text)) throw new Error(`not hex: ${text}`);
  return Uint8Array.from(Buffer.from(text, "hex"));
}

/** @param {Uint8Array} bytes */
export function toHex(bytes) {
  return Buffer.from(bytes).toString("hex");
}

/** A 64-bit id as 16 hex digits. @param {bigint} id */
export function idToJson(id) {
  return id.toString(16).padStart(16, "0");
}

/** @param {bigint} stamp @returns {JsonStamp} */
export function stampToJson(stamp) {
  return [Number(msOf(stamp)), Number(stamp & BigInt(COUNTER_MAX))];
}

/** @param {JsonStamp} stamp */
export function stampFromJson([ms, counter]) {
  return stampOf(BigInt(ms), counter);
}

/** Numbers that JavaScript does not hold exactly are decimal strings. @param {bigint} value */
export function numberToJson(value) {
  const exact = value <= EXACT_MAX && value >= -EXACT_MAX;
  return exact ? Number(value) : String(value);
}
