// How JavaScript calls the package's module, in place of the glue that wasm-bindgen writes: the methods
// of a class are the exports with its name in front. Numbers cross as they are; texts, bytes and other
// arrays as address and length of a copy, which the called function frees.

let wasm;
/** Of the module's memory; made anew when that has grown. */
let octets;
let memoryGrown;
const encoder = new TextEncoder();
const classes = {};

/** Hands over the exports of the compiled module, before anything else is called. */
export function __wbg_set_wasm(exports) {
  wasm = exports;
  octets = undefined;
  for (const name of Object.keys(exports)) {
    const [owner, method] = name.split("_");
    if (classes[owner]) {
      classes[owner].prototype[method] = function (...values) {
        return call(name, [this.at, ...values]);
      };
    }
  }
}

/** Calls `listener` each time when memory has grown: views of it are stale from then on. */
export function __wbg_on_memory_grown(listener) {
  memoryGrown = listener;
}

export function memory_grew() {
  octets = undefined;
  if (memoryGrown) memoryGrown();
}

function memory() {
  octets = octets || new Uint8Array(wasm.memory.buffer);
  return octets;
}

export function classOf(owner) {
  classes[owner] = class {
    constructor(...values) {
      this.at = call(`${owner}_new`, values);
    }
    free() {
      wasm[`__wbg_${owner}_free`](this.at, 0);
      this.at = 0;
    }
  };
  return classes[owner];
}

function call(name, values) {
  const lowered = [];
  for (const value of values) {
    if (typeof value === "string") copy(encoder.encode(value), lowered);
    else if (typeof value === "object") copy(value, lowered);
    else lowered.push(value);
  }
  return wasm[name](...lowered) >>> 0;
}

function copy(array, lowered) {
  const at = wasm.__wbindgen_malloc(array.byteLength, array.BYTES_PER_ELEMENT) >>> 0;
  memory().set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
  lowered.push(at, array.length);
}

export function refuse(at, length) {
  throw new Error(new TextDecoder().decode(memory().subarray(at >>> 0, (at >>> 0) + length)));
}
