// The engine as plain JavaScript, for TVs without WebAssembly: what binaryen's wasm2js made of the
// built module (`scripts/build.mjs`), fitted to its place.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDER = new URL("wasm/", import.meta.url);
/** What the module imports is there. */
const ENGINE = fileURLToPath(new URL("src/engine.ts", import.meta.url));
const TRANSLATED = new URL("omega_sync_wasm_plain.js", FOLDER);

/** What Chromium 53 lacks, under other names: nothing is added to the page's own objects. */
const SUBSTITUTES = `
const pairs = (object, value) => Object.keys(object).map((key) => value(key, object[key]));
export const objectEntries = (object) => pairs(object, (key, value) => [key, value]);
export const objectValues = (object) => pairs(object, (_, value) => value);
export const objectDescriptors = (object) => {
  const found = {};
  for (const key of Object.getOwnPropertyNames(object).concat(Object.getOwnPropertySymbols(object)))
    found[key] = Object.getOwnPropertyDescriptor(object, key);
  return found;
};
`;
const DEFINED = {
  "Object.entries": "objectEntries",
  "Object.values": "objectValues",
  "Object.getOwnPropertyDescriptors": "objectDescriptors",
  globalThis: "self",
};

/**
 * Gives `omega-sync-plain-engine` its meaning: a module with the exports of the compiled one.
 * @type {import("esbuild").Plugin}
 */
export const plainEngine = {
  name: "plain-engine",
  setup(builder) {
    const namespace = "plain-engine";
    builder.onResolve({ filter: /^omega-sync-plain-engine$/ }, ({ path }) => ({ path, namespace }));
    builder.onResolve({ filter: /^env$/, namespace }, () => ({ path: ENGINE }));
    builder.onLoad({ filter: /engine$/, namespace }, () => ({
      contents: readFileSync(TRANSLATED, "utf8"),
    }));
  },
};

/**
 * Replaces interfaces that the oldest engine has not. In a second pass over what is lowered already,
 * because lowering brings uses of them along.
 * @type {import("esbuild").Plugin}
 */
export const substitutes = {
  name: "substitutes",
  setup(builder) {
    const options = builder.initialOptions;
    options.define = { ...options.define, ...DEFINED };
    options.inject = [...(options.inject ?? []), "omega-sync-substitutes"];
    const namespace = "substitutes";
    const filter = /^omega-sync-substitutes$/;
    const resolved = { namespace, sideEffects: false };
    builder.onResolve({ filter }, ({ path }) => ({ path, ...resolved }));
    builder.onLoad({ filter, namespace }, () => ({ contents: SUBSTITUTES }));
  },
};
