// What the compiler is to refuse; read by `tsc -p tests` alone.
import { type Client, type OpenOptions, open, type Rejected } from "omega-sync";
import { open as openWithTaste } from "omega-sync/patterns";
import { open as openInWorker } from "omega-sync/worker";

const settings = { device: "tv", token: async () => "token" };
const url = "https://sync.example";

export const clients: Promise<Client>[] = [
  open({ ...settings, url }),
  open({ ...settings, urls: [url] as const }),
  open({
    ...settings,
    url,
    household: undefined,
    poll: { everySeconds: 5, afterWriteSeconds: undefined },
  }),
  openWithTaste({ ...settings, url, taste: { floor: 0.9 } }),
  openInWorker({ ...settings, urls: [url], script: "/omega-sync.iife.js" }),
  // @ts-expect-error where the server is must be said
  open(settings),
  // @ts-expect-error the same with taste
  openWithTaste(settings),
  // @ts-expect-error the same in a Worker
  openInWorker(settings),
];

export const options: OpenOptions = { ...settings, url };

export function isOfATitle({ kind }: Rejected): boolean {
  // @ts-expect-error no write is called so
  if (kind === "watchlist_clear") return false;
  return kind === "watchlist_add" || kind === "progress_set";
}
