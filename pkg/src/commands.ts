/**
 * Commands between the devices of a household, and which of them are online.
 *
 * Invariant: a command of another device reaches the app once, while it matters, or never; each
 * command of this one gets one status.
 */

import { type Attention, type Copy, HIDDEN, SEEN, UNHEARD } from "./calls.js";
import type { RemoteOutput } from "./engine.js";
import { failure, fieldsOf, listenerOf, OmegaError } from "./errors.js";
import { wholeSeconds } from "./household.js";
import { watchVisibility } from "./lifecycle.js";

/** What a device is to do. Positions are whole seconds. */
export type Command =
  | { type: "play" | "pause" | "stop" | "volume_mute" | "volume_unmute" }
  /** Go to a position. */
  | { type: "seek"; positionSeconds: number }
  /** Set the volume, 0 to 100 percent. */
  | { type: "volume_set"; level: number }
  /** Open a title, at a position if there is one. */
  | { type: "load_content"; contentId: string; startPosition?: number }
  /** Let what is playing go on on that device. */
  | { type: "cast_to"; targetDeviceId: string };

/** The engine's numbers are the places in this list. */
const COMMANDS = [
  "play",
  "pause",
  "stop",
  "seek",
  "volume_set",
  "volume_mute",
  "volume_unmute",
  "load_content",
  "cast_to",
] as const;
const HANDOFF = 9;
const STATUSES = [
  "delivered",
  "expired",
  "offline",
  "not_supported",
  "invalid",
  "device_unknown",
  "forbidden",
  "rate_limited",
] as const;
const REPLIES = ["done", "not_supported", "invalid"] as const;
const NONE = -1;
const LEVEL_MAX = 100;
/** A command lives 5 seconds. */
const LONGEST_MS = 6_000;

/**
 * What became of a command: `delivered`: the other device has taken it. `expired`: its 5 seconds
 * were over before that was known, and it is not carried out any more. `offline`: the device is not
 * connected. `not_supported`, `invalid`: it does not do this, or can't make sense of it.
 * `device_unknown`: the household has no such device. `forbidden`: this device's token does not
 * allow commands. `rate_limited`: too many are on their way.
 */
export type CommandStatus = (typeof STATUSES)[number];

/** How a handoff went. */
export interface HandoffResult {
  /** What became of the `load_content` that the other device got. */
  status: CommandStatus;
  /** Where the title goes on, in seconds; only when `delivered`. */
  positionSeconds?: number;
}

/** A command that came for this device. */
export interface ReceivedCommand {
  /** What this device is to do. */
  command: Command;
  /** The device that sent it. */
  from: string;
}

/**
 * Carries out a command. What it returns, or its promise resolves to, is the answer: `"not_supported"`
 * and `"invalid"` tell the sender so, anything else means that it is done. Throwing, or rejecting, is
 * `"invalid"`.
 */
export type CommandListener = (received: ReceivedCommand) => CommandReply | Promise<CommandReply>;
/** A listener's answer; nothing means that the command is carried out. */
// biome-ignore lint/suspicious/noConfusingVoidType: a listener that returns nothing is the usual one.
export type CommandReply = void | undefined | "not_supported" | "invalid";

/** Whether a device is online, and when it was heard of last. */
export interface Presence {
  /** Whether it is connected; false also while this device is not, because nobody knows then. */
  isOnline: boolean;
  /** When it was heard of last, Unix milliseconds by the server's clock; `undefined`: not known. */
  lastSeen: number | undefined;
}

/** Whose commands they are. */
export interface RemoteOwner {
  /** Devices came or went. */
  changed(): void;
  /** Whether the server tells who is here. */
  isConnected(): boolean;
  /** Somebody begins or ceases to listen, or the page shows or hides while somebody does. */
  attend(attention: Attention): void;
}

/** What other devices want, what becomes of what they are told, and who is here. */
export class Remote {
  private readonly listeners = new Set<CommandListener>();
  private readonly waiting = new Map<number, Waiting>();
  /** Of each device when it was seen, by the server's clock; 0: it is here. */
  private readonly seen = new Map<string, number>();
  private watches = false;
  private stopWatching: (() => void) | undefined;

  constructor(
    private readonly copy: Copy,
    private readonly owner: RemoteOwner,
  ) {}

  async send(device: string, command: Command): Promise<CommandStatus> {
    const [kind, number, text] = partsOf(fieldsOf(command, "invalid_command"));
    return (await this.ask(device, kind, "", number, text)).status;
  }

  handoff(device: string, content: string, profile: string, position?: number) {
    return this.ask(device, HANDOFF, profile, secondsOf(position), content);
  }

  onCommand(listener: CommandListener): () => void {
    const call = listenerOf(listener);
    const entry: CommandListener = (received) => call(received);
    this.listeners.add(entry);
    this.stopWatching ??= watchVisibility(() => this.attend());
    this.attend();
    return () => {
      if (this.listeners.delete(entry)) this.attend();
    };
  }

  private attend(): void {
    const isHidden = typeof document !== "undefined" && document.hidden;
    const attention = isHidden ? HIDDEN : SEEN;
    this.owner.attend(this.listeners.size === 0 ? UNHEARD : attention);
  }

  /** What is known of a device; asks the server to tell from the first call on. */
  presence(device: string): Presence {
    if (!this.watches) {
      this.watches = true;
      this.led();
    }
    const seen = this.seen.get(device);
    const here = seen === 0 && this.owner.isConnected();
    return { isOnline: here, lastSeen: seen === 0 ? serverNow(this.copy) : seen };
  }

  /** Another engine is at work now, which does not know what was wished. */
  led(): void {
    // A client that is closed wishes for nothing.
    if (this.watches) this.copy.write("deviceWatch").catch(() => undefined);
  }

  /** Takes what the engine says of other devices. */
  take(output: RemoteOutput): void {
    if (output.kind === "order") void this.carryOut(output);
    else if (output.kind === "presence") this.see(output);
    else {
      const status = STATUSES[output.status] ?? "invalid";
      const { position } = output;
      this.end(output.ticket)?.resolve(
        position < 0 ? { status } : { status, positionSeconds: position },
      );
    }
  }

  /** Nothing more will come. */
  close(): void {
    for (const ticket of Array.from(this.waiting.keys())) {
      this.end(ticket)?.reject(failure("closed"));
    }
    this.listeners.clear();
    this.stopWatching?.();
    this.attend();
  }

  private ask(device: string, kind: number, profile: string, number: number, text: string) {
    return new Promise<HandoffResult>((resolve, reject) => {
      // Of all tabs on one storage only the one that asked knows the ticket.
      const ticket = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
      // The engine says so itself, unless the tab that it runs in is gone.
      const timer = setTimeout(() => this.end(ticket)?.resolve({ status: "expired" }), LONGEST_MS);
      this.waiting.set(ticket, { resolve, reject, timer });
      this.copy
        .write("deviceAsk", ticket, device, kind, profile, number, text)
        .catch((error: OmegaError) => {
          // Of a storage that fails nothing leaves; the command waits as it does offline.
          if (!/^storage_f/.test(error.code)) this.end(ticket)?.reject(error);
        });
    });
  }

  private end(ticket: number): Waiting | undefined {
    const waiting = this.waiting.get(ticket);
    this.waiting.delete(ticket);
    clearTimeout(waiting?.timer);
    return waiting;
  }

  private async carryOut(order: Extract<RemoteOutput, { kind: "order" }>): Promise<void> {
    const received = { command: commandOf(order), from: order.from };
    const reply = await new Promise<(typeof REPLIES)[number]>((resolve) => {
      const replies = Array.from(this.listeners, async (listener) => {
        try {
          const answer = await listener(received);
          if (answer === "not_supported" || answer === "invalid") return answer;
        } catch {
          return "invalid";
        }
        // Whatever the others still do, and if they never answer.
        resolve("done");
        return "done";
      });
      Promise.all(replies).then(([first = "not_supported"]) => resolve(first));
    });
    const number = REPLIES.indexOf(reply);
    // A client that is closed meanwhile answers nobody.
    await this.copy.write("deviceReply", order.high, order.low, number).catch(() => undefined);
  }

  private see({ all, devices }: Extract<RemoteOutput, { kind: "presence" }>): void {
    if (all) this.seen.clear();
    const now = serverNow(this.copy);
    for (const [device, gone] of devices) this.seen.set(device, gone < 0 ? 0 : now - gone * 1_000);
    this.owner.changed();
  }
}

/** Whoever has asked for something. */
interface Waiting {
  resolve: (result: HandoffResult) => void;
  reject: (error: OmegaError) => void;
  timer: ReturnType<typeof setTimeout>;
}

function serverNow(copy: Copy): number {
  return Date.now() + Number(copy.rows("about")[0]?.[1] ?? 0);
}

function partsOf(command: Command): [kind: number, number: number, text: string] {
  const kind = COMMANDS.indexOf(command.type);
  switch (command.type) {
    case "seek":
      return [kind, secondsOf(command.positionSeconds ?? Number.NaN), ""];
    case "volume_set":
      return [kind, levelOf(command.level), ""];
    case "load_content":
      return [kind, secondsOf(command.startPosition), command.contentId];
    case "cast_to":
      return [kind, NONE, command.targetDeviceId];
    default:
      if (kind >= 0) return [kind, NONE, ""];
      throw new OmegaError("invalid_command", `a command's type is one of ${COMMANDS.join(", ")}`);
  }
}

function levelOf(level: number): number {
  if (level >= 0 && level <= LEVEL_MAX) return Math.round(level);
  throw new OmegaError("invalid_command", `a level is 0 to ${LEVEL_MAX}`);
}

function secondsOf(position: number | undefined): number {
  return position === undefined ? NONE : wholeSeconds(position, "invalid_command");
}

function commandOf({ command, number, text }: Extract<RemoteOutput, { kind: "order" }>): Command {
  const type = COMMANDS[command] ?? "stop";
  switch (type) {
    case "seek":
      return { type, positionSeconds: number };
    case "volume_set":
      return { type, level: number };
    case "load_content":
      return number < 0
        ? { type, contentId: text }
        : { type, contentId: text, startPosition: number };
    case "cast_to":
      return { type, targetDeviceId: text };
    default:
      return { type };
  }
}
