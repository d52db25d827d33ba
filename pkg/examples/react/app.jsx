// A watchlist in React. Each tile is drawn again when something of its own title changes, here or on
// another device, and not when something of another one does.
import { open } from "omega-sync";
import {
  OmegaSyncProvider,
  useClient,
  useOnWatchlist,
  useProgress,
  useStatus,
  useWatchlist,
} from "omega-sync/react";
import { memo, StrictMode } from "react";
import { createRoot } from "react-dom/client";

const TITLES = [
  { content: "tmdb:603", name: "The Matrix" },
  { content: "tmdb:78", name: "Blade Runner" },
  { content: "tmdb:62", name: "2001: A Space Odyssey" },
];

const Tile = memo(function Tile({ content, name }) {
  const client = useClient();
  const listed = useOnWatchlist(content);
  const progress = useProgress(content);
  const toggle = () => (listed ? client.watchlist.remove(content) : client.watchlist.add(content));
  return (
    <button type="button" onClick={toggle} aria-pressed={listed}>
      {listed ? "✓" : "+"} {name}
      {progress !== undefined && <progress max="100" value={progress.percent} />}
    </button>
  );
});

function App() {
  const state = useStatus((status) => status.state);
  const closeReason = useStatus((status) => status.closeReason);
  const count = useWatchlist().length;
  return (
    <>
      <h1>Watchlist: {count}</h1>
      {TITLES.map((title) => (
        <Tile key={title.content} {...title} />
      ))}
      <p>{state === "live" || closeReason === "" ? state : `${state} (${closeReason})`}</p>
    </>
  );
}

// Your own login here. The example takes all three from the address, after the #. An app's `token` fetches a
// fresh one each time: a connection ends with its token, and this one stays `unauthorized` when it is over.
async function begin() {
  const words = new URLSearchParams(location.hash.slice(1));
  const client = await open({
    url: words.get("url") ?? location.origin,
    device: words.get("device") ?? "tv-react",
    token: async () => words.get("token") ?? "",
  });
  createRoot(document.getElementById("root")).render(
    <StrictMode>
      <OmegaSyncProvider client={client}>
        <App />
      </OmegaSyncProvider>
    </StrictMode>
  );
}

begin();
