/**
 * The way to the server: which of its addresses, and by socket or by single requests.
 *
 * An attempt that finds nobody is followed by the next one down this list: a socket to the present
 * address, one request to it (some proxies break WebSockets), the next address. What works is kept.
 * After a while a socket is tried again, and the first address once it answers. How long to wait between
 * attempts, and what travels, is the engine's decision.
 */

import { OmegaError } from "./errors.js";
import { Requests } from "./requests.js";
import {
  CLOSED_ABNORMALLY,
  Socket,
  type SocketEvents,
  socketUrl,
  type WebSocketConstructor,
} from "./socket.js";

/** How long requests do before a socket is tried again, in milliseconds; less up to a quarter. */
export const SOCKET_RETRY_MS = 300_000;
/** How long another address does before the first one is asked whether it is there; the same. */
export const FIRST_URL_RETRY_MS = 300_000;
/** How long the app's `token` function may take; the engine gives an attempt 15 seconds in all. */
export const TOKEN_TIMEOUT_MS = 10_000;
/** What the server means by a refused request, as the close code of a socket. */
const CODES: Record<string, number> = {
  unauthorized: 4010,
  forbidden: 4010,
  device_mismatch: 4010,
  stale_session: 4020,
  version_unsupported: 4501,
  household_mismatch: 4502,
  too_large: 4503,
  erased: 4504,
  rate_limited: 4007,
  overloaded: 4007,
  restart: 4000,
  storage_unavailable: 4004,
};
/** From here on a close code is the server's own word. */
export const CLOSE_CODES_FROM = 4_000;
/** What a token looks like, if there is one. */
const WORD = /^\S*$/;
const UNAUTHORIZED = 401;
/** Of requests and of their answers. */
const BINARY = "application/octet-stream";
const SERVER_ERRORS_FROM = 500;

/** What a transport needs. */
export interface TransportParts {
  /** Addresses of the server, the first one preferred. */
  urls: string[];
  WebSocket: WebSocketConstructor;
  /** The id that each token must be for. */
  device: string;
  token: () => Promise<string>;
  /** Whether there are to be requests only. */
  requestsOnly: boolean;
  socketRetryMs: number;
  firstUrlRetryMs: number;
  tokenTimeoutMs: number;
  /**
   * Sends what outlives the page, where this thread can't: a Worker ends with it. @returns whether the
   * browser has taken it
   */
  beacon?: (url: string, body: Uint8Array<ArrayBuffer>) => Promise<boolean>;
}

/** What the driver hears beside the events of a socket. */
export interface TransportEvents extends SocketEvents {
  /** There is no socket, but a token: one request, please. */
  asked(token: string): void;
  answered(number: number, answer: Uint8Array): void;
  /** A better way may be open now: connect anew. */
  better(): void;
}

/** One way at a time. */
export class Transport {
  private readonly sockets: Socket[];
  private readonly requestUrls: string[];
  private place = 0;
  private byRequest: boolean;
  /** Rises with each connection; what belongs to an earlier one is late. */
  private attempt = 0;
  /** How many ways are left to try, of all addresses, before nobody is there. */
  private left = 0;
  /** Whether the present attempt has reached the server. */
  private reached = false;
  /** Whether its socket has brought a frame. */
  private heard = false;
  /** Whether the present attempt has ended for want of a token: then it says nothing of the way. */
  tokenless = false;
  private socketAtMs = 0;
  private firstTimer: ReturnType<typeof setTimeout> | undefined;
  private lastToken = "";
  private closed = false;
  /** From {@link rest} until it is to connect. */
  private resting = false;
  /** Of the present attempt. */
  private readonly requests = new Requests();
  /** Whether the first address is there. */
  private readonly questions = new Requests();

  constructor(
    private readonly parts: TransportParts,
    private readonly events: TransportEvents,
  ) {
    this.byRequest = parts.requestsOnly;
    const token = () => this.askToken();
    this.sockets = parts.urls.map(
      (url) =>
        new Socket(socketUrl(url), parts.WebSocket, token, {
          ...events,
          frame: (bytes) => {
            this.heard = true;
            events.frame(bytes);
          },
          failed: (error) => this.noToken(error),
          closed: (code) => this.lost(code),
        }),
    );
    this.requestUrls = parts.urls.map((url) => httpUrl(url, "/api/v1/sync"));
  }

  /** The token that was used last, for a page that hides; empty before the first. */
  get token(): string {
    return this.lastToken;
  }

  /** Whether there is a way that was not tried since {@link begin}. */
  get goesOn(): boolean {
    return this.left > 0;
  }

  /** Somebody asks: every way to every address is tried before the answer is that nobody is there. */
  begin(): void {
    const { requestsOnly, urls } = this.parts;
    this.left = urls.length * (requestsOnly ? 1 : 2);
  }

  /** The engine got no answer, or none that it can use. */
  gaveUp(): void {
    // Somebody is there: the same way once more.
    if (this.heard) this.left -= 1;
    else this.failed(true);
  }

  /** The attempt ended; if nobody was there the next one goes another way. */
  lost(code: number): void {
    this.failed(code < CLOSE_CODES_FROM);
    this.disconnect();
    this.events.closed(code);
  }

  /** Opens a socket, or says that it must be a request. */
  connect(): void {
    if (this.closed) return;
    this.disconnect();
    this.reached = false;
    this.heard = false;
    this.tokenless = false;
    this.resting = false;
    const { attempt } = this;
    if (this.byRequest && !this.parts.requestsOnly && this.socketAtMs <= performance.now()) {
      this.byRequest = false;
    }
    if (!this.byRequest) {
      this.sockets[this.place]?.connect();
      return;
    }
    this.askToken().then(
      () => {
        if (attempt === this.attempt) this.events.asked("");
      },
      (error: OmegaError) => {
        if (attempt !== this.attempt) return;
        this.noToken(error);
        this.lost(CLOSED_ABNORMALLY);
      },
    );
  }

  /** Drops what is open, without a report. */
  disconnect(): void {
    this.attempt += 1;
    for (const socket of this.sockets) socket.disconnect();
    this.requests.end();
  }

  /** Writes a frame to the open socket. */
  send(frame: Uint8Array<ArrayBuffer>): void {
    this.sockets[this.place]?.send(frame);
  }

  /** Sends a request; one of a page that hides outlives it, and has its token inside. */
  exchange(number: number, body: Uint8Array<ArrayBuffer>, hides: boolean): void {
    // What a page that hides has to say leaves also when the app closes the client then.
    if (this.closed && !hides) return;
    this.disconnect();
    const { attempt } = this;
    const url = this.requestUrls[this.place] ?? "";
    const beacon = hides ? (this.parts.beacon ?? beaconOfPage()) : undefined;
    if (beacon !== undefined) {
      // Nobody hears the answer: the engine asks again, when the page comes back.
      const taken = beacon(url, body).catch(() => false);
      taken.then((isTaken) => {
        // The browser has no room for more of them: as after any connection that ends.
        if (!isTaken && attempt === this.attempt) this.events.closed(CLOSED_ABNORMALLY);
      });
      return;
    }
    const headers = {
      Authorization: `Bearer ${this.lastToken}`,
      "Content-Type": BINARY,
    };
    // Without headers of its own it needs no leave of another origin, for which there may be no time.
    const said = hides ? { keepalive: true } : { headers };
    // Nor does it end with this client.
    const requests = hides ? new Requests() : this.requests;
    requests.ask(url, { method: "POST", body, ...said }, readAnswer).then(
      (read) => {
        if (attempt !== this.attempt) return;
        if (typeof read === "number") this.lost(read);
        else this.events.answered(number, read);
      },
      () => {
        if (attempt === this.attempt) this.lost(CLOSED_ABNORMALLY);
      },
    );
  }

  /** All is exchanged by the present way. */
  succeeded(): void {
    if (this.reached || this.closed) return;
    this.reached = true;
    if (this.socketAtMs === Number.POSITIVE_INFINITY) {
      this.socketAtMs = performance.now() + jittered(this.parts.socketRetryMs);
    }
    this.askFirstLater();
  }

  /** The network may be another one now: sockets get another chance. */
  woke(): void {
    this.socketAtMs = 0;
  }

  /** Looks for no better way until it is to connect again. */
  rest(): void {
    this.resting = true;
    this.questions.end();
    clearTimeout(this.firstTimer);
    this.firstTimer = undefined;
  }

  /** Ends it. */
  close(): void {
    this.closed = true;
    this.disconnect();
    this.rest();
  }

  private async askToken(): Promise<string> {
    this.lastToken = await askToken(this.parts);
    return this.lastToken;
  }

  private noToken(error: OmegaError): void {
    this.tokenless = true;
    this.events.failed(error);
  }

  private failed(nobody: boolean): void {
    if (!nobody || this.reached || this.tokenless) {
      this.left = 0;
      return;
    }
    this.left -= 1;
    const { requestsOnly, urls } = this.parts;
    if (!this.byRequest) {
      this.byRequest = true;
      // Not before a request has got through.
      this.socketAtMs = Number.POSITIVE_INFINITY;
      return;
    }
    this.place = (this.place + 1) % urls.length;
    this.byRequest = requestsOnly;
    this.socketAtMs = 0;
  }

  private askFirstLater(): void {
    if (this.place === 0 || this.firstTimer !== undefined) return;
    this.firstTimer = setTimeout(() => this.askFirst(), jittered(this.parts.firstUrlRetryMs));
    release(this.firstTimer);
  }

  /** Goes back to the first address once it answers. */
  private askFirst(): void {
    this.firstTimer = undefined;
    // It may refuse to say how it is, which is an answer; what stands before it says so when it is away.
    const url = httpUrl(this.parts.urls[0] ?? "", "/health");
    this.questions
      .ask(url, {}, ({ status }) => status < SERVER_ERRORS_FROM)
      .catch(() => false)
      .then((ok) => {
        if (this.place === 0 || this.resting) return;
        if (!ok) {
          this.askFirstLater();
          return;
        }
        this.place = 0;
        this.byRequest = this.parts.requestsOnly;
        this.socketAtMs = 0;
        this.events.better();
      });
  }
}

/** Asks the app for a token, for so long. Rejects with `token_failed`, also for another device's. */
export function askToken({
  device,
  token,
  tokenTimeoutMs,
}: Pick<TransportParts, "device" | "token" | "tokenTimeoutMs">): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`no token within ${tokenTimeoutMs} ms`)),
      tokenTimeoutMs,
    );
    // The extra `then` turns a `token` that throws at once into a rejection.
    Promise.resolve()
      .then(token)
      .then(resolve, reject)
      .then(() => clearTimeout(timer));
  })
    .then((got: unknown) => {
      if (typeof got !== "string") throw new TypeError(`no text: ${typeof got}`);
      // A file, or what a program prints, ends in a new line.
      const trimmed = got.trim();
      if (!WORD.test(trimmed)) throw new TypeError("a token is one word, without `Bearer`");
      const named = deviceOf(trimmed);
      if (typeof named === "string" && named !== device) {
        throw new Error(`a token of the device "${named}", not of "${device}"`);
      }
      return trimmed;
    })
    .catch((cause: unknown) => {
      const message = `the app's token function failed (${cause}); it will be asked again`;
      throw new OmegaError("token_failed", message, cause);
    });
}

/**
 * The device that a token names. Of one that can't be read nothing: the server refuses it. It would
 * take one of another device, and that would then be here in this one's place: nobody could command
 * this one.
 */
function deviceOf(token: string): unknown {
  try {
    const [, claims = ""] = token.split(".");
    const text = atob(claims.replace(/-/g, "+").replace(/_/g, "/"));
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).did;
  } catch {
    return undefined;
  }
}

/** What a page sends with where a request does not outlive it, if there is anything. */
function beaconOfPage(): TransportParts["beacon"] {
  if ("keepalive" in Request.prototype || !("sendBeacon" in navigator)) return undefined;
  return async (url, body) => navigator.sendBeacon(url, body);
}

/**
 * The frame of an answer, or why there is none, as a socket's close code. An answer 401 is about the token
 * whoever gives it, a gateway before the server for instance. With any other that is not the server's own,
 * as a captive portal gives, nobody is there: it must not look like a refusal.
 */
async function readAnswer(answer: Response): Promise<Uint8Array | number> {
  if (answer.ok) {
    const bytes = new Uint8Array(await answer.arrayBuffer());
    // A page can be read as a frame: "<p>" and 58 bytes more is one of a version that is not ours.
    const isOurs = String(answer.headers.get("Content-Type")).startsWith(BINARY);
    return isOurs ? bytes : CLOSED_ABNORMALLY;
  }
  const problem: { code?: unknown } | null = await answer.json().catch(() => null);
  const name = answer.status === UNAUTHORIZED ? "unauthorized" : String(problem?.code);
  const code = CODES[name];
  // What every object has by inheritance is no code.
  return typeof code === "number" ? code : CLOSED_ABNORMALLY;
}

/** An address of the server by HTTP, whatever way it was given. */
export function httpUrl(address: string, path: string): string {
  return socketUrl(address)
    .replace(/^ws/, "http")
    .replace(/\/ws(\?.*)?$/, path);
}

function jittered(ms: number): number {
  return ms - Math.random() * (ms / 4);
}

/** In Node a timer that only looks must not keep the process alive. */
function release(timer: unknown): void {
  if (typeof timer === "object" && timer !== null && "unref" in timer) {
    (timer as { unref(): void }).unref();
  }
}
