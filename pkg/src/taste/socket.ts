/**
 * Frames about taste go over the household's socket, beside its own: this takes them out of what
 * arrives and puts them into what leaves. Where there is no socket each is a request of its own. The
 * rest of the package knows nothing of them.
 */

import { Requests } from "../requests.js";
import type { WebSocketConstructor, WebSocketLike } from "../socket.js";

/** First byte of the server's frames about taste; see `docs/protocol.md`, "Taste". */
const ANSWER_TAG = 8;
const OPEN = 1;
/** Ends a sync as failed: the next one comes after its interval. */
const NO_ANSWER = new Uint8Array();

/** The socket that is in use, with a way in and out beside the household's. */
export class Tap {
  /** What `open` gets in place of the platform's constructor. */
  readonly WebSocket: WebSocketConstructor;
  /** Those about taste, which end with it. */
  readonly requests = new Requests();
  private current: WebSocketLike | undefined;
  /** What the last frame left by: a socket, or a request of its own. The others' answers are late. */
  private way: object | undefined;

  /** @param request sends a frame where there is no socket, and gives the answer */
  constructor(
    Inner: WebSocketConstructor,
    private readonly request: (frame: Uint8Array<ArrayBuffer>) => Promise<Uint8Array>,
    private readonly frame: (bytes: Uint8Array) => void,
  ) {
    const use = (socket: WebSocketLike) => {
      this.current = socket;
    };
    const answered = (way: object, bytes: Uint8Array) => this.answered(way, bytes);
    this.WebSocket = class implements WebSocketLike {
      private readonly inner: WebSocketLike;

      constructor(url: string, protocols: string[]) {
        this.inner = new Inner(url, protocols);
        use(this.inner);
      }

      get binaryType(): string {
        return this.inner.binaryType;
      }

      set binaryType(type: string) {
        this.inner.binaryType = type;
      }

      get readyState(): number {
        return this.inner.readyState;
      }

      set onopen(listener: ((event: never) => void) | null) {
        this.inner.onopen = listener;
      }

      set onmessage(listener: ((event: never) => void) | null) {
        this.inner.onmessage = (event: { data: unknown }) => {
          const bytes = event.data instanceof ArrayBuffer ? new Uint8Array(event.data) : undefined;
          if (bytes !== undefined && bytes[0] === ANSWER_TAG) answered(this.inner, bytes);
          else listener?.(event as never);
        };
      }

      set onclose(listener: ((event: never) => void) | null) {
        this.inner.onclose = listener;
      }

      set onerror(listener: ((event: never) => void) | null) {
        this.inner.onerror = listener;
      }

      send(data: Uint8Array<ArrayBuffer>): void {
        this.inner.send(data);
      }

      close(code?: number, reason?: string): void {
        this.inner.close(code, reason);
      }
    };
  }

  /** Whether this tab has a socket that frames can leave by. */
  get isOpen(): boolean {
    return this.current?.readyState === OPEN;
  }

  /** Sends a frame by the socket, or as a request when it is not open; a lost one is asked for again. */
  send(frame: Uint8Array<ArrayBuffer>): void {
    const { current } = this;
    if (current?.readyState !== OPEN) {
      const way = {};
      this.way = way;
      this.request(frame).then(
        (bytes) => this.answered(way, bytes),
        () => this.answered(way, NO_ANSWER),
      );
      return;
    }
    this.way = current;
    try {
      current.send(frame);
    } catch {
      // The household's driver hears of it with its own next frame.
      this.frame(NO_ANSWER);
    }
  }

  private answered(way: object, bytes: Uint8Array): void {
    if (way === this.way) this.frame(bytes);
  }
}
