/**
 * The package in React: hooks that render a component again when what it shows has changed, and only then.
 *
 * {@link OmegaSyncProvider} gives a tree the client that `open` returned; each hook reads from that
 * client. What a hook returns is the same object until something in it is different, and of a list each
 * entry is: `memo` and dependencies of effects can rely on it.
 *
 * React is the app's own, 18 or later; nothing here is in any other entry of the package.
 *
 * @packageDocumentation
 */

import {
  createContext,
  createElement,
  type FunctionComponentElement,
  type ProviderProps,
  type ReactNode,
  useContext,
  useMemo,
  useSyncExternalStore,
} from "react";
import type { Change, Client, Rejected, Status } from "./api.js";
import type { Device } from "./devices.js";
import type { Profile, Progress, WatchlistItem } from "./household.js";
import type { PatternsClient } from "./patterns.js";
import { Snapshot } from "./snapshot.js";
import type { Recommendation, RecommendOptions } from "./taste/taste.js";

const ClientContext = createContext<Client | undefined>(undefined);

/** What {@link OmegaSyncProvider} takes. */
export interface OmegaSyncProviderProps {
  /** What `open` resolved to, of this package's entry or any other one of it. */
  client: Client;
  /** What may use the hooks. */
  children?: ReactNode;
}

/** Gives the components below it a client. Who opened the client closes it. */
export function OmegaSyncProvider({
  client,
  children,
}: OmegaSyncProviderProps): FunctionComponentElement<ProviderProps<Client | undefined>> {
  return createElement(ClientContext.Provider, { value: client }, children);
}

/**
 * The client, to write with; of `omega-sync/patterns`, `useClient<PatternsClient>()`. Never renders again
 * by itself. Throws where no {@link OmegaSyncProvider} is above.
 */
export function useClient<C extends Client = Client>(): C {
  const client = useContext(ClientContext);
  if (client === undefined) throw new Error("put an OmegaSyncProvider above what uses its hooks");
  return client as C;
}

/**
 * Every title on the watchlist, the last added first.
 *
 * @param profile whose; the one given to `open` when left out
 */
export function useWatchlist(profile?: string): readonly WatchlistItem[] {
  const client = useClient();
  return useShown("watchlist", profile, "", () => listsOf(client, profile).watchlist.items(), []);
}

/** Whether a title is on the watchlist; renders again when that changes, whatever the others do. */
export function useOnWatchlist(content: string, profile?: string): boolean {
  const client = useClient();
  const has = () => listsOf(client, profile).watchlist.has(content);
  return useShown("watchlist", profile, content, has, false);
}

/** How far a title was watched, if it was; renders again when that changes, whatever the others do. */
export function useProgress(content: string, profile?: string): Progress | undefined {
  const client = useClient();
  const get = () => listsOf(client, profile).progress.get(content);
  return useShown("progress", profile, content, get, undefined);
}

/** Titles that were started and not completed, the last watched first. */
export function useInProgress(profile?: string): readonly Progress[] {
  const client = useClient();
  return useShown(
    "progress",
    profile,
    "",
    () => listsOf(client, profile).progress.inProgress(),
    [],
  );
}

/** Titles that were watched to the end, the last watched first. */
export function useCompleted(profile?: string): readonly Progress[] {
  const client = useClient();
  return useShown("progress", profile, "", () => listsOf(client, profile).progress.completed(), []);
}

/** Every profile of the household, the default one first. */
export function useProfiles(): readonly Profile[] {
  const client = useClient();
  return useShown("profiles", undefined, "", () => client.profiles.list(), []);
}

/**
 * Every device that described itself, with whether it is online, in the order of their ids. Of one that
 * is online `lastSeen` is `undefined` here: it is now, at each look another one.
 */
export function useDevices(): readonly Device[] {
  const client = useClient();
  const list = () =>
    client.devices
      .list()
      .map((device) => (device.isOnline ? { ...device, lastSeen: undefined } : device));
  return useShown("devices", undefined, "", list, []);
}

/** What {@link useRecommendations} may be told. */
export interface UseRecommendationsOptions extends RecommendOptions {
  /** Whose taste; that of the profile given to `open` when left out. */
  profile?: string;
}

/**
 * Titles that the viewer will probably like, as {@link Taste.recommend} gives them; with a client of
 * `omega-sync/patterns`. Renders again when the list is another one: because something was watched or
 * learned, or because a title of it was begun elsewhere. A `title` function should stay the same one.
 */
export function useRecommendations(
  count: number,
  options: UseRecommendationsOptions = {},
): readonly Recommendation[] {
  const client = useClient<PatternsClient>();
  const { profile, genre, title, exclude = [] } = options;
  // Ids have no line breaks.
  const excluded = exclude.join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: `exclude` is new each time, its text is not.
  const snapshot = useMemo(() => {
    const taste = profile === undefined ? client.taste : client.taste.forProfile(profile);
    const wish: RecommendOptions = { exclude };
    if (genre !== undefined) wish.genre = genre;
    if (title !== undefined) wish.title = title;
    const told = (tell: () => void) => [
      taste.onChange((what) => {
        if (what !== "contributions") tell();
      }),
      client.on("change", ({ what }) => {
        if (what === "progress") tell();
      }),
      client.on("status", ({ state }) => {
        if (state === "stopped") tell();
      }),
    ];
    return new Snapshot<readonly Recommendation[]>(() => taste.recommend(count, wish), [], told);
  }, [client, count, profile, genre, title, excluded]);
  return useSyncExternalStore(snapshot.subscribe, snapshot.get);
}

/** Writes that the server refused, until they are taken with `takeRejected`. */
export function useRejected(): readonly Rejected[] {
  const client = useClient();
  const snapshot = useMemo(() => {
    const told = (tell: () => void) => [client.on("rejected", tell), client.on("status", tell)];
    return new Snapshot<readonly Rejected[]>(() => client.rejected(), [], told);
  }, [client]);
  return useSyncExternalStore(snapshot.subscribe, snapshot.get);
}

/** How things stand. It changes with every write and its acknowledgement: rather choose a part of it. */
export function useStatus(): Status;
/**
 * A part of how things stand: renders again when that part changes.
 *
 * @param select for instance `(status) => status.state`
 */
export function useStatus<S extends string | number | boolean>(select: (status: Status) => S): S;
export function useStatus(select?: (status: Status) => string | number | boolean) {
  const client = useClient();
  const snapshot = useMemo(() => {
    const told = (tell: () => void) => [client.on("status", tell)];
    return new Snapshot(() => client.status(), client.status(), told);
  }, [client]);
  const get = () => (select === undefined ? snapshot.get() : select(snapshot.get()));
  return useSyncExternalStore(snapshot.subscribe, get);
}

/** What a list of the household shows, read when that list has changed; `otherwise` after a logout. */
function useShown<T>(
  what: Change["what"],
  profile: string | undefined,
  content: string,
  read: () => T,
  otherwise: T,
): T {
  const client = useClient();
  // biome-ignore lint/correctness/useExhaustiveDependencies: `read` is made of these and nothing else.
  const snapshot = useMemo(() => {
    const told = (tell: () => void) => [
      client.on("change", (change) => {
        if (change.what !== what) return;
        // A change is told by the id as the engine writes it.
        if (profile === undefined || change.profile === profile.toLowerCase()) tell();
      }),
      client.on("status", ({ state }) => {
        if (state === "stopped") tell();
      }),
    ];
    return new Snapshot(read, otherwise, told);
  }, [client, what, profile, content]);
  return useSyncExternalStore(snapshot.subscribe, snapshot.get);
}

function listsOf(
  client: Client,
  profile: string | undefined,
): Pick<Client, "watchlist" | "progress"> {
  return profile === undefined ? client : client.forProfile(profile);
}
