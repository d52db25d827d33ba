/** What apps see of taste: record what was watched, read what follows from it. */

import type { Client } from "../api.js";
import { fieldsOf, listenerOf, OmegaError, refusal, textOf } from "../errors.js";
import type { TasteDriver } from "./driver.js";
import { callTaste, type TasteChange, type TasteSync } from "./engine.js";

export type { TasteChange, TasteSync } from "./engine.js";

/** Components of an embedding: those of all-MiniLM-L6-v2. */
export const DIMENSIONS = 384;
/** Titles that cross into the engine at once. */
const TITLES_AT_ONCE = 250;

/** A title and where it lies. */
export interface TasteTitle {
  /** Its content id. */
  content: string;
  /** Its first genre: 1 to 32 bytes, compared without regard to the case of ASCII letters. */
  genre: string;
  /** {@link DIMENSIONS} numbers of any norm but zero; only the direction counts. */
  embedding: ArrayLike<number>;
}

/** Somebody watched something. */
export interface Viewing {
  /** The title's content id. */
  content: string;
  /** How much of it, 0 to 1. Below 0.02 a viewing does not count, unless it is `finished`. */
  watched: number;
  /** Whether it was watched to its end; otherwise it was abandoned. Left out: from 0.9 on. */
  finished?: boolean;
  /** Needed only for a title that {@link Taste.learnTitles} has not been told; see {@link TasteTitle}. */
  genre?: string;
  /** The same. */
  embedding?: ArrayLike<number>;
}

/** A learned taste. */
export interface LearnedPattern {
  /** 16 hexadecimal digits. */
  id: string;
  /** Of the titles that it is the mean of. */
  genre: string;
  /** Titles that it is the mean of. */
  sampleCount: number;
  /** How many of them were watched to the end, or nearly. */
  successCount: number;
  /** The share of these, 0 to 1. */
  successRate: number;
  /** The last such title; empty when there is none. */
  example: string;
}

/** Why a title is recommended. */
export interface Reason {
  /** The viewer's `own` taste, that of other households (`global`), or a `trend` of the region. */
  kind: "own" | "global" | "trend";
  /** A title of the viewer's that it resembles; empty when there is none to name. */
  content: string;
  /** One line for the viewer, in English. */
  text: string;
}

/** A title for a viewer. */
export interface Recommendation {
  /** The title's content id. */
  content: string;
  /** The title's. */
  genre: string;
  /** How much speaks for it: above 0, at most 1. */
  score: number;
  /** What speaks for it most. */
  reason: Reason;
}

/** What {@link Taste.recommend} may be told. */
export interface RecommendOptions {
  /** Of this genre only. */
  genre?: string;
  /** Titles that are not wanted, beside those that were watched, are in progress or completed. */
  exclude?: readonly string[];
  /** The name of a title, for the reason's text; its id when left out. */
  title?: (content: string) => string | undefined;
}

/** A title that is watched more than usual in the region. */
export interface Trend {
  /** The title's content id. */
  content: string;
  /** The title's. */
  genre: string;
  /** Higher is stronger. */
  score: number;
}

/** A pattern that left this device and that the server has. */
export interface Contribution {
  /** 16 hexadecimal digits. */
  id: string;
  /** Of the titles that it is the mean of. */
  genre: string;
  /** Titles that it was the mean of when it left. */
  sampleCount: number;
  /** How many of them were watched to the end, or nearly. */
  successCount: number;
  /** When the server took it, in Unix milliseconds. */
  takenMs: number;
}

/** A title that was watched, as far as it is remembered. */
export interface ViewedTitle {
  /** Its content id. */
  content: string;
  /** Whether it was watched to its end, or nearly. */
  success: boolean;
}

/** What {@link PatternsClient.exportData} gives beside the household. */
export interface ExportedTaste {
  /** Of each profile of the household; patterns without their vectors, which are means of the titles'. */
  profiles: { id: string; patterns: LearnedPattern[]; viewed: ViewedTitle[] }[];
  /** What left this device and the server has. */
  contributions: Contribution[];
  /** Whether this device takes no part in learning across households. */
  optedOut: boolean;
}

/** How it stands with taste. */
export interface TasteStatus {
  /** Version of the global patterns that is here; 0 for none. */
  version: number;
  /** How many of them are here. */
  globalPatterns: number;
  /** Titles whose embeddings are known. */
  titles: number;
  /** Whether the tables are here without which no pattern can travel. */
  hasTables: boolean;
  /** Whether this device takes no part in learning across households. */
  optedOut: boolean;
  /** Whether the server releases without noise: one for development. */
  notPrivate: boolean;
  /** The region of the trends; empty when there are none. */
  region: string;
}

interface Waiting {
  resolve: (how: TasteSync) => void;
  reject: (error: OmegaError) => void;
}

/** What is learned on this device, of the profile given to `open`. */
export class Taste {
  private readonly listeners: Set<(what: TasteChange) => void>;
  private readonly waiting: Set<Waiting>;
  /** As the engine writes it. */
  private readonly profile: string;

  /** @internal */
  constructor(
    private readonly driver: TasteDriver,
    private readonly client: Client,
    profile: string,
    shared?: Taste,
  ) {
    this.profile = profile.toLowerCase();
    this.listeners = shared?.listeners ?? new Set();
    this.waiting = shared?.waiting ?? new Set();
  }

  /** The same for another profile. */
  forProfile(profile: string): Taste {
    return new Taste(this.driver, this.client, textOf(profile, "invalid_profile"), this);
  }

  /**
   * Records a viewing. Resolves when it is durable on this device; it leaves, if ever, only as part of
   * a pattern. Call it when a viewing ends, not while it goes on: an abandoned title that is watched to
   * its end later is corrected then.
   *
   * A title is one sample, however often it is watched.
   *
   * Rejects with an {@link OmegaError}: `unknown_title` (no embedding given, and none known),
   * `unknown_profile`, `invalid_title`, `invalid_content_id`, `invalid_option` for `watched`, or one of
   * the storage.
   */
  async record(viewing: Viewing): Promise<void> {
    const { content, watched, genre = "", embedding = [] } = fieldsOf(viewing, "invalid_title");
    const finished = viewing.finished ?? watched >= FINISHED_FROM;
    const vector = Float32Array.from(fieldsOf(embedding, "invalid_title"));
    return this.driver.write((engine, ...now) => {
      const title = textOf(content, "invalid_content_id");
      const known = textOf(genre, "invalid_title");
      if (!(typeof watched === "number" && watched >= 0 && watched <= 1)) {
        throw new OmegaError(
          "invalid_option",
          `\`watched\` must be a number, 0 to 1, not ${watched}`,
        );
      }
      if (!this.hasProfile()) throw refusal("unknown_profile");
      const values = [
        this.profile,
        title,
        known,
        bytesOf(vector),
        watched,
        Number(Boolean(finished)),
      ];
      return callTaste(engine, "record", values, ...now);
    });
  }

  /** Whether there is one to learn for. */
  private hasProfile(): boolean {
    const { profile, client } = this;
    return profile === "" || client.profiles.list().some(({ id }) => id === profile);
  }

  /**
   * Tells of titles that may be recommended, or watched. Resolves when they are durable on this device;
   * telling those that are known again costs nothing. The newest 5,000 are kept.
   *
   * Rejects with `invalid_title` or `invalid_content_id`; then none of a group of 250 was taken.
   */
  async learnTitles(titles: readonly TasteTitle[]): Promise<void> {
    const stored: Promise<void>[] = [];
    for (let from = 0; from < fieldsOf(titles, "invalid_title").length; from += TITLES_AT_ONCE) {
      const group = titles.slice(from, from + TITLES_AT_ONCE);
      stored.push(this.learnGroup(group));
    }
    await Promise.all(stored);
  }

  private async learnGroup(group: readonly TasteTitle[]): Promise<void> {
    const vectors = new Float32Array(group.length * DIMENSIONS);
    for (const [at, title] of group.entries()) {
      const { embedding, genre, content } = fieldsOf(title, "invalid_title");
      if (embedding?.length !== DIMENSIONS || /[\r\n]/.test(genre + content)) {
        const message = `"${content}" needs a genre and an embedding of ${DIMENSIONS} numbers`;
        throw new OmegaError("invalid_title", message);
      }
      vectors.set(embedding, at * DIMENSIONS);
    }
    const ids = group.map((title) => title.content).join("\n");
    const genres = group.map((title) => title.genre).join("\n");
    const values = [ids, genres, bytesOf(vectors)];
    return this.driver.write((engine, ...now) => callTaste(engine, "learnTitles", values, ...now));
  }

  /** What was learned, in the order in which it began. */
  patterns(): LearnedPattern[] {
    const list = this.driver.read("patterns", this.profile);
    return list.map(([id, genre, samples, successes, example]) => ({
      id: String(id),
      genre: String(genre),
      sampleCount: Number(samples),
      successCount: Number(successes),
      successRate: Number(successes) / Number(samples),
      example: String(example),
    }));
  }

  /** The titles that were watched here, oldest first; of the whole device the last 2,048 are kept. */
  viewed(): ViewedTitle[] {
    const list = this.driver.read("viewed", this.profile);
    return list.map(([content, success]) => ({
      content: String(content),
      success: success === 1,
    }));
  }

  /** @internal */
  exported(profiles: readonly string[]): ExportedTaste {
    const of = (id: string) => {
      const taste = this.forProfile(id);
      return { id, patterns: taste.patterns(), viewed: taste.viewed() };
    };
    const { optedOut } = this.status();
    return { profiles: profiles.map(of), contributions: this.contributions(), optedOut };
  }

  /**
   * Known titles that the viewer will probably like, best first, at most 100: ranked by this device's
   * own patterns, the global ones and the trends, without the network. Titles that were watched, are in
   * progress or completed are left out, and so are near-copies of a title in the list. Empty while
   * nothing is known of anybody's taste.
   */
  recommend(count: number, options: RecommendOptions = {}): Recommendation[] {
    const { genre = "", exclude = [], title = () => undefined } = options ?? {};
    const { progress } = this.client.forProfile(this.profile);
    const begun = progress.inProgress().concat(progress.completed());
    const excluded = begun.map((item) => item.content).concat(exclude);
    const { region } = this.status();
    const only = textOf(genre, "invalid_title");
    const wish = [this.profile, Number(count), only, excluded.join("\n")];
    const list = this.driver.read("recommend", ...wish);
    return list.map(([content, ofGenre, score, kind, example]) => {
      const because = String(example);
      const reason = {
        kind: KINDS[Number(kind)] ?? "own",
        content: because,
        text: reasonText(Number(kind), because === "" ? "" : (title(because) ?? because), region),
      };
      return { content: String(content), genre: String(ofGenre), score: Number(score), reason };
    });
  }

  /** The trends of the region, strongest first; empty when they are older than a day. */
  trends(): Trend[] {
    const list = this.driver.read("trends");
    return list.map(([content, genre, score]) => ({
      content: String(content),
      genre: String(genre),
      score: Number(score),
    }));
  }

  /**
   * Exchanges patterns with the server now, or as soon as there is a connection; resolves when that is
   * over, with how it ended. In a tab that follows that is when it leads.
   *
   * Rejects with `sync_failed` when the client has stopped, `tables_failed`, what the storage failed
   * with, `closed`, or what ended the client.
   */
  sync(): Promise<TasteSync> {
    const { obstacle } = this.driver;
    if (obstacle !== undefined) return Promise.reject(obstacle);
    return new Promise((resolve, reject) => {
      this.waiting.add({ resolve, reject });
      this.driver.feed("syncNow");
      // A server that wants to be left alone is: nothing leaves, so nothing would end.
      if (this.client.status().state === "live" && this.timeUntilNextSync() > 0) {
        this.ended("rate_limited");
      }
    });
  }

  /** Whether the next sync is due; it comes by itself when there is a connection. */
  shouldSync(): boolean {
    return this.timeUntilNextSync() === 0;
  }

  /** Milliseconds until the next sync is due: it comes every 5 to 15 minutes unless set otherwise. */
  timeUntilNextSync(): number {
    return this.about()[0];
  }

  /** What left this device and the server has. */
  contributions(): Contribution[] {
    const list = this.driver.read("contributions");
    return list.map(([id, genre, samples, successes, at]) => ({
      id: String(id),
      genre: String(genre),
      sampleCount: Number(samples),
      successCount: Number(successes),
      takenMs: Number(at),
    }));
  }

  /**
   * Takes no part in learning across households (true), or does again (false). Resolves when that is
   * durable on this device; the server is told at once, or with the next connection, and then erases
   * what it has. Recommendations go on, from what is learned here and from what others share. Rejects
   * with `storage_full` or `storage_failed`, with `closed`, or with what ended the client; with
   * `invalid_option` for what is neither.
   */
  async optOut(optedOut: boolean): Promise<void> {
    if (typeof optedOut !== "boolean") {
      throw new OmegaError("invalid_option", "`optOut` takes true or false");
    }
    const values = [Number(optedOut)];
    return this.driver.write((engine, ...now) => callTaste(engine, "optOut", values, ...now));
  }

  /** How things stand now. */
  status(): TasteStatus {
    const [, version, globalPatterns, titles, tables, optedOut, notPrivate, region] = this.about();
    return {
      version,
      globalPatterns,
      titles,
      hasTables: tables !== 0,
      optedOut: optedOut === 1,
      notPrivate: notPrivate === 1,
      region,
    };
  }

  /** Calls `listener` at every change until the returned function is called. */
  onChange(listener: (what: TasteChange) => void): () => void {
    const call = listenerOf(listener);
    const entry = (what: TasteChange) => call(what);
    this.listeners.add(entry);
    return () => this.listeners.delete(entry);
  }

  /** @internal */
  changed(what: TasteChange): void {
    for (const listener of Array.from(this.listeners)) {
      try {
        if (this.listeners.has(listener)) listener(what);
      } catch (thrown) {
        // A listener's mistake belongs to the app: shown as uncaught.
        setTimeout(() => {
          throw thrown;
        }, 0);
      }
    }
  }

  /** @internal */
  ended(how: TasteSync): void {
    // Tables that are on their way lead to another sync, which is what was asked for.
    if (how === "no_tables") return;
    for (const { resolve } of Array.from(this.waiting)) resolve(how);
    this.waiting.clear();
  }

  /** @internal */
  stuck(error: OmegaError): void {
    for (const { reject } of Array.from(this.waiting)) reject(error);
    this.waiting.clear();
  }

  private about(): [number, number, number, number, number, number, number, string] {
    const [cells = []] = this.driver.read("about");
    const [due, version, globals, titles, tables, optedOut, notPrivate, region] = cells;
    const [a, b, c, d] = [Number(due), Number(version), Number(globals), Number(titles)];
    return [a, b, c, d, Number(tables), Number(optedOut), Number(notPrivate), String(region)];
  }
}

/** From which part on a viewing without word of its end counts as finished. */
const FINISHED_FROM = 0.9;
const KINDS = ["own", "global", "trend"] as const;

function bytesOf(vector: Float32Array): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
}

function reasonText(kind: number, because: string, region: string): string {
  if (kind === 1) return "Liked in households with a taste like yours";
  if (kind === 2) return region === "" ? "Popular right now" : `Popular right now in ${region}`;
  return because === "" ? "Close to what you like" : `Because you watched ${because}`;
}
