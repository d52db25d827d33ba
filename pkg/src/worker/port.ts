/**
 * Calls across the border of two threads: each side calls the other's functions by name.
 *
 * Messages keep their order, and so do the calls: what is told before an answer is there before it.
 */

import { type ErrorCode, fromEngine, OmegaError } from "../errors.js";

/** A Worker, what a Worker has instead, or an end of a MessageChannel. */
export interface PortLike {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
}

/** Functions that can be called from the other side. */
type Calls<T> = { [Name in keyof T]: (...values: never[]) => unknown };
type Values<T extends Calls<T>, Name extends keyof T> = Parameters<T[Name]>;

interface Refused {
  code: ErrorCode;
  message: string;
}

type Message =
  /** With a number it wants an answer. */
  | { name: string; values: unknown[]; call: number }
  | { answer: number; value: unknown; refused?: Refused };

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: OmegaError) => void;
}

const NO_ANSWER = 0;
/** Nobody waits for this one. */
const PING = -1;
/** So often the other side is asked whether it is there, in milliseconds. */
const PING_MS = 5_000;
/**
 * A side that was silent for so many of these times is gone. They are counted, not measured: in standby
 * both sides stand still, and a slow TV may take long to compile or to load.
 */
const SILENT_MAX = 6;

/** One end. `Theirs` are the functions of the other side. */
export class Port<Theirs extends Calls<Theirs>> {
  private last = NO_ANSWER;
  private readonly waiting = new Map<number, Waiting>();
  private ended: OmegaError | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private silent = 0;

  /** @param gone told when the other side is not there any more; left out where it can't go */
  constructor(
    private readonly inner: PortLike,
    private readonly ours: Record<string, (...values: never[]) => unknown>,
    gone?: () => void,
  ) {
    inner.onmessage = ({ data }: MessageEvent<Message>) => this.hear(data);
    if (gone !== undefined) this.watch(gone);
  }

  /** Calls without waiting for an answer. */
  tell<Name extends keyof Theirs & string>(name: Name, ...values: Values<Theirs, Name>): void {
    this.post({ name, values, call: NO_ANSWER });
  }

  /** Calls; rejects with an {@link OmegaError}. */
  call<Name extends keyof Theirs & string>(
    name: Name,
    ...values: Values<Theirs, Name>
  ): Promise<Awaited<ReturnType<Theirs[Name]>>> {
    this.last += 1;
    const call = this.last;
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) throw this.ended;
      this.waiting.set(call, { resolve, reject });
      this.post({ name, values, call });
    });
  }

  private watch(gone: () => void): void {
    this.timer = setTimeout(() => {
      this.silent += 1;
      if (this.silent > SILENT_MAX) {
        gone();
        return;
      }
      // Whatever it says to this is an answer.
      this.post({ name: "", values: [], call: PING });
      this.watch(gone);
    }, PING_MS);
  }

  /** No answer will come any more, and nothing that still comes is heard. */
  end(error: OmegaError): void {
    this.ended = error;
    clearTimeout(this.timer);
    for (const { reject } of Array.from(this.waiting.values())) reject(error);
    this.waiting.clear();
  }

  private hear(message: Message): void {
    if (this.ended !== undefined) return;
    this.silent = 0;
    if ("answer" in message) {
      const waiting = this.waiting.get(message.answer);
      this.waiting.delete(message.answer);
      const { refused } = message;
      if (refused === undefined) waiting?.resolve(message.value as never);
      else waiting?.reject(new OmegaError(refused.code, refused.message));
      return;
    }
    const { name, values, call } = message;
    // The extra `then` turns what throws at once into a rejection.
    const done = Promise.resolve().then(() => {
      const ours = this.ours[name];
      if (ours === undefined) throw new OmegaError("engine_failed", `there is no call "${name}"`);
      return ours(...(values as never[]));
    });
    if (call === NO_ANSWER) {
      done.catch((thrown: unknown) => {
        // Nobody waits for it: shown as uncaught.
        setTimeout(() => {
          throw thrown;
        }, 0);
      });
      return;
    }
    done.then(
      (value) => this.post({ answer: call, value }),
      (thrown: unknown) => {
        const { code, message: text } = fromEngine(thrown);
        this.post({ answer: call, value: undefined, refused: { code, message: text } });
      },
    );
  }

  private post(message: Message): void {
    this.inner.postMessage(message);
  }
}
