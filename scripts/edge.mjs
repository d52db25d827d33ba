// `npm run --silent edge -- …`: the built omega-edge with these arguments, in the caller's folder.
import { runEdge } from "./server.mjs";
import { main } from "./steps.mjs";

main(async () => {
  const cwd = process.env.INIT_CWD ?? process.cwd();
  return runEdge(process.argv.slice(2), { cwd, stdio: "inherit" }).exit;
});
