/**
 * What an app can ask of its copy: reads at once, and writes by name.
 *
 * A write is the name of one of the engine's calls and plain values, so that one tab can ask another
 * to make it, and it can be made again after the tab that was asked has died.
 */

import type { Replica } from "./engine.js";

/** Each write of the engine with its arguments, without the two clocks that end them all. */
export interface Writes {
  watchlistAdd: [profile: string, content: string];
  watchlistRemove: [profile: string, content: string];
  progressSet: [
    profile: string,
    content: string,
    position: number,
    duration: number,
    state: number,
  ];
  progressRemove: [profile: string, content: string];
  profileName: [profile: string, name: string];
  profileDelete: [profile: string];
  deviceDescribe: [
    device: string,
    name: string,
    kind: number,
    platform: string,
    appVersion: string,
    capabilities: number,
  ];
  deviceRemove: [device: string];
  deviceAsk: [
    ticket: number,
    target: string,
    kind: number,
    profile: string,
    number: number,
    text: string,
  ];
  deviceReply: [high: number, low: number, reply: number];
  deviceWatch: [];
  rejectedTaken: [];
}

/** The name of a write. */
export type WriteName = keyof Writes;

/** A copy of the household that can be read and written; which tab's engine does it is not said. */
export interface Copy {
  /** Runs a read at once; throws what the engine refuses it for. */
  read<T>(query: (replica: Replica) => T): T;
  /** Makes a write; resolves when it is durable on this device. */
  write<Name extends WriteName>(name: Name, ...values: Writes[Name]): Promise<void>;
}

/** Calls the engine. @returns the address of its answer */
export function callWrite(
  replica: Replica,
  name: WriteName,
  values: readonly (string | number)[],
  unix: number,
  steady: number,
): number {
  // The engine's calls take what `Writes` says, which the type of a name chosen at run time can't.
  const call = replica[name] as (...values: (string | number)[]) => number;
  return call.apply(replica, [...values, unix, steady]);
}
