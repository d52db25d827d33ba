// `npm run --silent bench -- memory [ROUNDS] [SOCKETS]`: what idle sockets leave behind. In each round so
// many are opened, do nothing, and are closed; what the process has resident is read when all are open
// and when all are gone, and once more when their rooms have left memory. A leak grows with every round;
// what an allocator keeps for the next one does not. Needs `npm run build`; `OMEGA_EDGE_BIN` names
// another server, and what is in the environment (`LD_PRELOAD`, `MALLOC_ARENA_MAX`) is in its own.
// Its last line is one JSON object.
import { loadavg } from "node:os";
import { setTimeout as after } from "node:timers/promises";
import { Edge } from "../js/edge.mjs";
import { crowd } from "./attacks/attacks.mjs";
import { endAll, figure, residentBytes } from "./attacks/sockets.mjs";

const [ROUNDS = 10, SOCKETS = 9_900] = process.argv.slice(2).map(Number);
/** What a household may have open. */
const OF_A_HOUSEHOLD = 60;
/** A room leaves memory so long after its last connection, at the latest. */
const ROOMS_GONE_MS = 120_000;

const edge = await Edge.start({ SYNC_LOG: "error" });
try {
  const start_bytes = residentBytes(edge);
  const rounds = [];
  let connects = 0;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const sockets = await crowd(edge, Math.floor(SOCKETS / OF_A_HOUSEHOLD));
    connects += sockets.length;
    const open_bytes = residentBytes(edge);
    for (const socket of sockets) socket.destroy();
    await gone("omega_sockets", ROOMS_GONE_MS);
    rounds.push({ open_bytes, closed_bytes: residentBytes(edge) });
    console.error(`  round ${round}: ${JSON.stringify(rounds.at(-1))}`);
  }
  await gone("omega_rooms", ROOMS_GONE_MS);
  const per_round = Math.round(connects / ROUNDS);
  const first = rounds[0]?.open_bytes ?? Number.NaN;
  const figures = {
    ...{ bench: "memory", connects, sockets: per_round, start_bytes },
    bytes_per_socket: Math.round((first - start_bytes) / per_round),
    ...{ rounds, end_bytes: residentBytes(edge), load_average: loadavg()[0] },
  };
  console.log(JSON.stringify(figures));
} finally {
  endAll();
  await edge.dispose();
}

/** Waits until there are none of them. @param {string} name @param {number} withinMs */
async function gone(name, withinMs) {
  const end = performance.now() + withinMs;
  while ((await figure(edge, name)) > 0) {
    if (performance.now() > end) throw new Error(`${name} is not 0 within ${withinMs} ms`);
    await after(100);
  }
}
