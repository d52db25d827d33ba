/**
 * The devices of the household: what each says of itself, which are online, and telling them what to
 * do.
 */

import type { Copy } from "./calls.js";
import {
  type Command,
  type CommandListener,
  type CommandStatus,
  type HandoffResult,
  type Presence,
  Remote,
  type RemoteOwner,
} from "./commands.js";
import { fieldsOf, OmegaError } from "./errors.js";

/** What kind of device it is; the engine's numbers are the places in this list. */
const DEVICE_TYPES = ["tv", "phone", "tablet", "computer", "other"] as const;
/** Pictures by the engine's numbers: less than 720 lines or not known, 720, 1080, 2160, 4320 lines. */
const RESOLUTIONS = ["sd", "hd", "full_hd", "4k", "8k"] as const;
/** Each list by the engine's bits, from the lowest. */
const HDR_FORMATS = ["hdr10", "hdr10_plus", "hlg", "dolby_vision"] as const;
const VIDEO_CODECS = ["h264", "hevc", "vp9", "av1", "vvc", "mpeg2"] as const;
const AUDIO_CODECS = ["aac", "ac3", "eac3", "atmos", "dts", "dts_x", "truehd", "opus"] as const;

/** What kind of device it is. */
export type DeviceType = (typeof DEVICE_TYPES)[number];
/** The largest picture: `sd` (or not known), `hd` 720, `full_hd` 1080, `4k` 2160, `8k` 4320 lines. */
export type Resolution = (typeof RESOLUTIONS)[number];
/** A format of high dynamic range. */
export type HdrFormat = (typeof HDR_FORMATS)[number];
/** A format of pictures. */
export type VideoCodec = (typeof VIDEO_CODECS)[number];
/** A format of sound; `atmos` is Dolby Atmos. */
export type AudioCodec = (typeof AUDIO_CODECS)[number];

/** What a device can show, play and be told. */
export interface Capabilities {
  /** The largest picture; `sd` also when not known. */
  resolution: Resolution;
  /** What it shows, in the order of {@link HdrFormat}. */
  hdrFormats: HdrFormat[];
  /** What it decodes, in the order of {@link VideoCodec}. */
  videoCodecs: VideoCodec[];
  /** What it decodes, in the order of {@link AudioCodec}. */
  audioCodecs: AudioCodec[];
  /** Takes commands of other devices. */
  remoteControllable: boolean;
  /** Can send what it plays to another device. */
  canCast: boolean;
  /** Diagonal in whole inches, 0 to 255; 0 when not known. */
  screenInches: number;
}

/** What a device says of itself. Texts have at most 64 bytes of UTF-8; left out means empty. */
export interface DeviceDescription {
  /** What people call it: "Living room"; left out means the name it has, perhaps given elsewhere. */
  name?: string | undefined;
  /** `other` when left out. */
  deviceType?: DeviceType | undefined;
  /** Operating system and model: "webOS 5 / OLED55CX". */
  platform?: string | undefined;
  /** Version of the app. */
  appVersion?: string | undefined;
  /** What is left out counts as: cannot, none, not known. */
  capabilities?: Partial<Capabilities> | undefined;
}

/** A title that is to go on on another device. */
export interface HandoffRequest {
  /** The title, 1 to 64 bytes without control characters. */
  contentId: string;
  /** On whose shelf its position is; the default profile's when left out. */
  profile?: string | undefined;
  /** From where, in seconds; left out: from where the household knows the title to be. */
  positionSeconds?: number | undefined;
}

/** A device that described itself. */
export interface Device extends Presence {
  /** Its id, the one in its token. */
  device: string;
  /** What people call it; empty when nobody said. */
  name: string;
  /** What kind of device it is; `other` when it did not say. */
  deviceType: DeviceType;
  /** Operating system and model, in the device's own words; empty when it did not say. */
  platform: string;
  /** Version of the app there; empty when it did not say. */
  appVersion: string;
  /** What it can show, play and be told. */
  capabilities: Capabilities;
}

/** The devices of the household. */
export class Devices {
  /** @internal */
  readonly remote: Remote;

  /** @internal */
  constructor(
    private readonly copy: Copy,
    private readonly device: string,
    owner: RemoteOwner,
  ) {
    this.remote = new Remote(copy, owner);
  }

  /**
   * Says what this device is, in place of what it said before; call it at each start, saying the same
   * again costs nothing. Resolves when that is durable on this device. Without a name, on a device that
   * has heard nothing of its household yet, that is said with the first answer of the server, which may
   * know the name; until then it counts as pending, in memory only: an app that ends before says it again.
   *
   * Rejects with `invalid_device` when a text is too long, a name is not in its list or the screen
   * is out of range, with `outbox_full`, and for the rest as a write of {@link Watchlist}. A household
   * has at most 64 devices: what the server refuses for that comes back as rejected, with
   * `household_full`.
   */
  async describe(description: DeviceDescription): Promise<void> {
    const {
      name = null,
      deviceType = "other",
      platform = "",
      appVersion = "",
      capabilities = {},
    } = fieldsOf(description, "invalid_device");
    const kind = placeOf(deviceType, DEVICE_TYPES);
    const bits = bitsOf(capabilities ?? {});
    const texts = [name ?? "", kind, platform, appVersion] as const;
    return this.copy.write("deviceDescribe", this.device, ...texts, bits, Number(name === null));
  }

  /**
   * Takes a device off the list, also another one; no error when it is not there. Resolves when that is
   * durable on this device; rejects with `invalid_device` or `outbox_full`, and for the rest as a write
   * of {@link Watchlist}.
   */
  remove(device: string): Promise<void> {
    return this.copy.write("deviceRemove", device);
  }

  /**
   * Tells another device what to do; it has 5 seconds. Resolves to what became of it, also when
   * offline: the command waits as long as it lives, and is not sent later. Whether the device takes
   * commands it says itself: {@link Capabilities.remoteControllable}.
   *
   * Rejects with `invalid_device` or `invalid_command`, with `closed`, or with what ended the client:
   * `superseded`, `storage_newer`, `destroyed` or `engine_failed`.
   */
  send(device: string, command: Command): Promise<CommandStatus> {
    return this.remote.send(device, command);
  }

  /**
   * Lets a title go on on another device: that one gets `load_content` with the position, and when it
   * has taken it, this one gets `pause`. Resolves and rejects as {@link Devices.send}.
   */
  async handoff(device: string, request: HandoffRequest): Promise<HandoffResult> {
    const { contentId, profile = "", positionSeconds } = fieldsOf(request, "invalid_command");
    return this.remote.handoff(device, contentId, profile, positionSeconds);
  }

  /**
   * Calls `listener` with each command for this device until the returned function is called.
   * Without a listener the sender is told `not_supported`. Of several tabs on one storage that listen
   * it is one whose listeners are called: one that is seen, if there is any.
   */
  onCommand(listener: CommandListener): () => void {
    return this.remote.onCommand(listener);
  }

  /**
   * Every device that described itself, in the order of their ids. From the first call on the server
   * tells which are online; a change of that is a `change` of `devices`.
   */
  list(): Device[] {
    return this.rows().map(([device, name, kind, platform, appVersion, bits]) => ({
      ...this.remote.presence(String(device)),
      device: String(device),
      name: String(name),
      deviceType: DEVICE_TYPES[Number(kind)] ?? "other",
      platform: String(platform),
      appVersion: String(appVersion),
      capabilities: capabilitiesOf(Number(bits)),
    }));
  }

  private rows(): (string | number)[][] {
    return this.copy.rows("devices");
  }
}

/** Where each field starts in the engine's 32 bits. */
const CAN_CAST = 1 << 4;
const REMOTE_CONTROLLABLE = 1 << 5;
const RESOLUTION_MASK = 15;
const HDR_AT = 6;
const VIDEO_AT = 10;
const AUDIO_AT = 16;
const INCHES_AT = 24;
const INCHES_MAX = 255;

function bitsOf(capabilities: Partial<Capabilities>): number {
  const { resolution = "sd", screenInches = 0 } = capabilities;
  const inches = Math.round(screenInches);
  if (!(inches >= 0 && inches <= INCHES_MAX)) {
    throw invalid(`a screen has 0 to ${INCHES_MAX} inches, not ${screenInches}`);
  }
  const bits =
    placeOf(resolution, RESOLUTIONS) |
    (capabilities.canCast === true ? CAN_CAST : 0) |
    (capabilities.remoteControllable === true ? REMOTE_CONTROLLABLE : 0) |
    (flagsOf(capabilities.hdrFormats, HDR_FORMATS) << HDR_AT) |
    (flagsOf(capabilities.videoCodecs, VIDEO_CODECS) << VIDEO_AT) |
    (flagsOf(capabilities.audioCodecs, AUDIO_CODECS) << AUDIO_AT) |
    (inches << INCHES_AT);
  // Operators of bits give a number with a sign.
  return bits >>> 0;
}

function capabilitiesOf(bits: number): Capabilities {
  return {
    resolution: RESOLUTIONS[bits & RESOLUTION_MASK] ?? "sd",
    hdrFormats: namesOf(bits >>> HDR_AT, HDR_FORMATS),
    videoCodecs: namesOf(bits >>> VIDEO_AT, VIDEO_CODECS),
    audioCodecs: namesOf(bits >>> AUDIO_AT, AUDIO_CODECS),
    remoteControllable: (bits & REMOTE_CONTROLLABLE) !== 0,
    canCast: (bits & CAN_CAST) !== 0,
    screenInches: bits >>> INCHES_AT,
  };
}

function placeOf(name: string, names: readonly string[]): number {
  const place = names.indexOf(name);
  if (place < 0) throw invalid(`"${name}" is none of ${names.join(", ")}`);
  return place;
}

function flagsOf(chosen: readonly string[] = [], names: readonly string[]): number {
  if (!Array.isArray(chosen)) throw invalid(`"${chosen}" is no list of ${names.join(", ")}`);
  return chosen.reduce((flags, name) => flags | (1 << placeOf(name, names)), 0);
}

function namesOf<Name>(flags: number, names: readonly Name[]): Name[] {
  return names.filter((_, place) => (flags & (1 << place)) !== 0);
}

function invalid(what: string): OmegaError {
  return new OmegaError("invalid_device", `this describes no device: ${what}`);
}
