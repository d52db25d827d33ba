// `npm run --silent edge -- …`: the built omega-edge with these arguments, in the caller's folder.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { EDGE_BINARY } from "./paths.mjs";
import { Complaint, main } from "./steps.mjs";

main(async () => {
  if (!existsSync(EDGE_BINARY)) throw new Complaint("omega-edge is not built yet: npm run build");
  const server = spawn(EDGE_BINARY, process.argv.slice(2), {
    cwd: process.env.INIT_CWD ?? process.cwd(),
    stdio: "inherit",
  });
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
    process.removeAllListeners(signal);
    process.on(signal, () => server.kill(signal));
  }
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(new Complaint(`cannot run omega-edge: ${error.message}`)),
    );
    server.once("exit", (code) => resolve(code ?? 1));
  });
});
