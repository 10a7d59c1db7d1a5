// Who is in a room, kept right by events and by asking.
//
// Each who comes or goes makes the version one more. A version that jumps tells of an event that did not come, and the list
// is asked for anew. What comes between asking and the answer is shown at once, and put again over the answer.

import type { MembersAnswer } from './wire.ts';

export class Roster {
  /** User id to status. */
  readonly members = new Map<string, string>();
  /** How many there are, when they are more than are listed. */
  count: number | undefined;
  /** The broker does not tell who is there. */
  hidden = false;

  #wants: Want | undefined;
  /** Of the last event or answer. */
  #version: number | undefined;
  /** Events since the list was asked for; `undefined` while it is not. */
  #since: Change[] | undefined;
  /** Whether all who came since the last answer are listed. */
  #whole = true;

  /** Whether the list should be asked for, and how soon. */
  get wants(): Want | undefined {
    return this.#since === undefined && !this.hidden ? this.#wants : undefined;
  }

  /** The list is being asked for. */
  asked(): void {
    this.#wants = undefined;
    this.#since = [];
  }

  /** A new connection: nobody knows what happened before it. */
  renew(): void {
    this.#since = undefined;
    this.#version = undefined;
    this.#wants = 'now';
    this.hidden = false;
  }

  /** Takes the answer. */
  seat({ members, count, version }: MembersAnswer): void {
    const since = this.#since ?? [];
    this.#since = undefined;
    this.#wants = undefined;
    this.#version = version;
    this.#whole = true;
    this.hidden = false;
    this.members.clear();
    for (const { userId, status } of members) this.members.set(userId, status);
    this.count = count !== undefined && count > members.length ? count : undefined;
    for (const change of since) this.change(change);
  }

  /** Somebody comes or goes. Tells whether that is new. */
  change(change: Change): boolean {
    this.#since?.push(change);
    if (!this.#isNext(change.version)) return false;
    if (!this.#whole) this.#wants = 'now';
    return change.kind === 'join' ? this.#come(change.userId) : this.#go(change.userId);
  }

  /** There are too many to tell of each. */
  counted(count: number, version?: number): void {
    if (this.#version !== undefined && version !== undefined && version < this.#version) return;
    this.#version = version;
    this.count = count;
    this.#whole = false;
  }

  setStatus(userId: string, status: string): void {
    if (this.members.has(userId)) this.members.set(userId, status);
  }

  /** The broker refuses to say who is there. */
  hide(): void {
    this.#since = undefined;
    this.hidden = true;
  }

  /** False for an event that is in the answer already. */
  #isNext(version: number | undefined): boolean {
    if (version === undefined || this.#version === undefined) return true;
    if (version <= this.#version) return false;
    if (version > this.#version + 1) this.#wants = 'now';
    this.#version = version;
    return true;
  }

  #come(userId: string): boolean {
    if (this.members.has(userId)) return false;
    if (this.count !== undefined) this.count += 1;
    if (this.members.size < LISTED_MAX) this.members.set(userId, 'online');
    // JOIN does not say whether he is away.
    this.#wants ??= 'soon';
    return true;
  }

  #go(userId: string): boolean {
    const was = this.members.delete(userId);
    if (this.count === undefined) return was;
    this.count -= 1;
    // Of those who are not listed some could be by now.
    if (this.members.size < Math.min(this.count, LISTED_MAX / 2)) this.#wants ??= 'soon';
    return was;
  }
}

export type Want = 'now' | 'soon';

interface Change {
  kind: 'join' | 'leave';
  userId: string;
  version?: number;
}

/** As many are asked for, and shown. */
export const LISTED_MAX = 100;
