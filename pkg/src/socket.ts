/**
 * One WebSocket at a time, speaking the binary subprotocol `omega.v1`.
 *
 * Invariant: events of a socket that was replaced or closed by us are never reported, so the
 * engine hears of the current connection only. How long an attempt may take is the engine's
 * decision: it asks to disconnect.
 */

import { OmegaError } from "./errors.js";

/** The part of the WebSocket interface that is used; browsers and npm `ws` both have it. */
export interface WebSocketLike {
  /** Set to `arraybuffer`: what messages have for data. */
  binaryType: string;
  /** 1 while it is open. */
  readonly readyState: number;
  /** Called once when it is open. */
  onopen: ((event: never) => void) | null;
  /** Called with each message, whose `data` is an `ArrayBuffer`. */
  onmessage: ((event: never) => void) | null;
  /** Called once when it has ended or could not be opened, with the `code`. */
  onclose: ((event: never) => void) | null;
  /** Called before `onclose` where something went wrong. */
  onerror: ((event: never) => void) | null;
  /** Sends one message. */
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Ends it. */
  close(code?: number, reason?: string): void;
}

/** A constructor of WebSockets. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** What the driver wants to hear from a connection. */
export interface SocketEvents {
  opened(token: string): void;
  frame(bytes: Uint8Array): void;
  closed(code: number): void;
  failed(error: OmegaError): void;
}

/** Subprotocol asked for: binary frames of protocol version 1. */
const SUBPROTOCOL = "omega.v1";
/** Before the token, as another subprotocol: a browser's only place for it outside our frames. */
const TOKEN_SUBPROTOCOL = "omega.token.";
/** What may stand in that header (RFC 9110, section 5.6.2); a JWT always may. */
const HEADER_TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/** No close frame came, or there was no socket at all. */
export const CLOSED_ABNORMALLY = 1006;
const CLOSED_NOT_BINARY = 1003;
const OPEN = 1;

/** Opens, writes and drops connections at the driver's word. */
export class Socket {
  private current: WebSocketLike | undefined;
  /** Rises with each attempt; a callback of an earlier attempt sees that it is late. */
  private attempt = 0;

  constructor(
    private readonly url: string,
    private readonly Constructor: WebSocketConstructor,
    /** Rejects with an {@link OmegaError}. */
    private readonly token: () => Promise<string>,
    private readonly events: SocketEvents,
  ) {}

  /** Asks the app for a token, then opens a socket. Replaces an earlier one. */
  connect(): void {
    this.disconnect();
    const attempt = this.attempt;
    this.token().then(
      (token) => this.openWith(attempt, token),
      (error: OmegaError) => this.tokenFailed(attempt, error),
    );
  }

  /** Drops the current socket, if any, without a report. */
  disconnect(): void {
    this.attempt += 1;
    const socket = this.current;
    this.current = undefined;
    if (socket === undefined) return;
    // Listeners stay as they are, so that a late error of the dying socket has someone to hear it.
    try {
      socket.close();
    } catch {
      // A socket that cannot be closed is gone already.
    }
  }

  /** Writes a frame if the socket is open; a frame for a dead socket is of no use to anyone. */
  send(frame: Uint8Array<ArrayBuffer>): void {
    if (this.current !== undefined && this.current.readyState === OPEN) this.current.send(frame);
  }

  private openWith(attempt: number, token: string): void {
    if (attempt !== this.attempt) return;
    let socket: WebSocketLike;
    const fits = HEADER_TOKEN.test(token);
    const protocols = fits ? [SUBPROTOCOL, TOKEN_SUBPROTOCOL + token] : [SUBPROTOCOL];
    try {
      socket = new this.Constructor(this.url, protocols);
    } catch {
      // For instance ws:// from an https page. The engine backs off as from any lost connection.
      this.lost(attempt, CLOSED_ABNORMALLY);
      return;
    }
    socket.binaryType = "arraybuffer";
    this.current = socket;
    socket.onopen = () => {
      if (attempt === this.attempt) this.events.opened(fits ? "" : token);
    };
    socket.onmessage = (event: { data: unknown }) => {
      if (attempt !== this.attempt) return;
      if (event.data instanceof ArrayBuffer) this.events.frame(new Uint8Array(event.data));
      else this.lost(attempt, CLOSED_NOT_BINARY);
    };
    socket.onclose = (event: { code: number }) => this.lost(attempt, event.code);
    // An error is always followed by `close`, which carries the code.
    socket.onerror = () => undefined;
  }

  private lost(attempt: number, code: number): void {
    if (attempt !== this.attempt) return;
    this.disconnect();
    this.events.closed(code);
  }

  private tokenFailed(attempt: number, error: OmegaError): void {
    if (attempt !== this.attempt) return;
    this.events.failed(error);
    this.lost(attempt, CLOSED_ABNORMALLY);
  }
}

/**
 * The address of the edge server's socket: http becomes ws. A path is where the server is mounted, its
 * `/ws` may stand there or not. Throws `invalid_url`.
 */
export function socketUrl(address: string): string {
  const match = /^(ws|http)(s?):\/\/([^/?#]+)([^?#]*)(\?[^#]*)?$/i.exec(String(address));
  // By place: a pattern costs old engines more than the rest.
  const part = (place: number) => match?.[place] ?? "";
  const path = part(4).replace(/(\/ws)?\/*$/, "/ws");
  const url = `ws${part(2).toLowerCase()}://${part(3)}${path}${part(5)}`;
  try {
    // For ports and hosts that are none.
    if (match !== null && new URL(url)) return url;
  } catch {
    // Told as any other.
  }
  const message = `"${String(address)}" is no address of an edge server: use wss://host or https://host`;
  throw new OmegaError("invalid_url", message);
}

/** The platform's own class; who makes requests only never constructs one, and can do without. */
export function platformWebSocket(isNeeded = true): WebSocketConstructor {
  if (typeof WebSocket !== "undefined") return WebSocket;
  if (!isNeeded) return undefined as never;
  const message = "no WebSocket here; pass one, for instance the npm package ws: { WebSocket }";
  throw new OmegaError("websocket_missing", message);
}
