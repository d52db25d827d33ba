// Decodes golden messages of patterns and says whether every bit is the file's.

/** @param {string} text @returns {Uint8Array} */
function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** @param {string} hex @returns {Uint8Array} */
function fromHex(hex) {
  return Uint8Array.from(hex.match(/../g) || [], (byte) => Number.parseInt(byte, 16));
}

/** @param {string[]} lines @param {any} codec */
function compare(lines, codec) {
  let [messages, patterns] = [0, 0];
  let units = new Int16Array();
  for (const line of lines) {
    const words = line.split(" ");
    const last = words[words.length - 1] || "";
    if (words[0] === "message") {
      if (units.length > 0) throw new Error(`${line.slice(0, 20)}: patterns are missing`);
      units = codec.decode(fromHex(last));
      messages += 1;
      continue;
    }
    // Components are little endian in the file.
    const wanted = new Int16Array(fromHex(last).buffer);
    for (let at = 0; at < wanted.length; at++) {
      if (units[at] !== wanted[at])
        throw new Error(`${line.slice(0, 50)}: component ${at} differs`);
    }
    units = units.subarray(wanted.length);
    patterns += 1;
  }
  return `PASS ${messages} messages, ${patterns} patterns`;
}

/** @param {any} glue @param {{wasm: string, tables: string, lines: string[]}} data */
export function decodeGolden(glue, { wasm, tables, lines }) {
  const imports = { "./omega_sync_patterns_bg.js": glue };
  WebAssembly.instantiate(fromBase64(wasm), imports)
    .then(({ instance }) => {
      glue.__wbg_set_wasm(instance.exports);
      const { __wbindgen_start: start } = /** @type {any} */ (instance.exports);
      if (start) start();
      const job = JSON.stringify({ floor: 0.98, rows: [], messages: [] });
      const run = () => {
        const codec = new glue.Codec(fromBase64(tables), job, new Uint8Array());
        try {
          return compare(lines, codec);
        } finally {
          codec.free();
        }
      };
      // Chromium 64 takes the length of a view for constant, so the glue must be told when memory has
      // grown (`wasm/src/allocator.rs`). This module does not tell: it runs until its memory suffices.
      const { memory } = /** @type {any} */ (instance.exports);
      let before = 0;
      while (memory.buffer.byteLength > before) {
        before = memory.buffer.byteLength;
        try {
          run();
        } catch (_) {}
        glue.forgetViews();
      }
      return run();
    })
    .catch((error) => `FAIL ${error}`)
    .then((verdict) => {
      document.title = verdict;
    });
}
