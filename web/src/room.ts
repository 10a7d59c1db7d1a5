// What the page knows of a room: a bounded list of entries, who is there, types and has read, and what of mine is not yet
// sent.
//
// A message of mine goes  queued -> sending -> sent  (RECEIPT or its own echo), or  sending -> failed -> queued.
// A lost connection takes `sending` back to `queued`; the key stays, so the broker drops what it had already taken.

import { Readers } from './readers.ts';
import type { Refusal } from './refusal.ts';
import { Roster } from './roster.ts';
import { Pace, TYPING_EVERY_MS, Typists } from './typing.ts';
import type { ChatMessage, Envelope, RoomFrame } from './wire.ts';

export type Entry = MessageEntry | NoteEntry | GapEntry;

export interface MessageEntry {
  kind: 'message';
  /** Names the entry in the page; for mine also the SEND's `idempotency-key` and receipt. */
  id: string;
  sender: string;
  mine: boolean;
  text: string;
  /** Milliseconds since the epoch. */
  at: number;
  /** The how many-th of the room; missing until the broker has said it. */
  offset?: number;
  state: 'queued' | 'sending' | 'sent' | 'failed';
  /** Why it failed. */
  why?: string;
}

/** A line of the page's own: who came and went, what happened to the connection. */
export interface NoteEntry {
  kind: 'note';
  id: string;
  text: string;
  at: number;
}

/** Here messages are missing. */
export interface GapEntry {
  kind: 'gap';
  id: string;
}

/** One of mine that the broker has not confirmed, as kept over a reload. */
export type Unsent = Pick<MessageEntry, 'id' | 'text' | 'at' | 'why'>;

export class Room {
  /** Who I am; known for certain once CONNECTED said so. */
  me: string;
  entries: Entry[] = [];
  readonly roster = new Roster();
  readonly typists = new Typists();
  readonly readers = new Readers();
  /** How often others are told that I type. */
  readonly typing = new Pace(TYPING_EVERY_MS);
  /** Where I stand in what the broker keeps: after this I want everything. */
  position: string | undefined;
  /** The offset up to which I have told that I have read. */
  marked = 0;

  #seen = new Set<string>();
  #serial = 0;
  /** Whether something came since it was last said that something is missing. */
  #heard = false;
  readonly #limit: number;

  /** Keeps at most `limit` entries, the latest; what is unsent is kept whatever the limit. */
  constructor(me: string, limit = 1_000) {
    this.me = me;
    this.#limit = limit;
  }

  get members(): ReadonlyMap<string, string> {
    return this.roster.members;
  }

  /** The subscription is active; from `position` on it tells all, or has said that something is missing. */
  entered({ position, recovered }: Envelope): void {
    this.roster.renew();
    this.marked = 0;
    if (recovered === false) this.#begin(position);
    else this.position ??= position;
  }

  /** Takes what came on the room's topic. */
  receive(frame: RoomFrame, { position, recovered }: Envelope = {}, now = 0): void {
    if (recovered === false) this.gap();
    this.position = position ?? this.position;
    switch (frame.kind) {
      case 'message':
        return this.#message(frame.message);
      case 'join':
        if (this.roster.change(frame)) this.note(`${this.#name(frame.userId)} joined`, frame.at);
        return;
      case 'leave':
        this.typists.stopped(frame.userId);
        if (this.roster.change(frame)) this.note(`${this.#name(frame.userId)} left`, frame.at);
        return;
      case 'status':
        return this.roster.setStatus(frame.userId, frame.status);
      case 'typing':
        if (frame.userId !== this.me) this.typists.typed(frame.userId, now);
        return;
      case 'read':
        return this.readers.read(frame.userId, frame.offset);
      case 'count':
        return this.roster.counted(frame.count, frame.version);
    }
  }

  /** Marks that messages are missing here, if any came before. */
  gap(): void {
    if (!this.#heard) return;
    this.#heard = false;
    this.#append({ kind: 'gap', id: this.#nextId('gap') });
  }

  /** My last message, and which others have read it. */
  readOfMine(): { id: string; readers: string[] } | undefined {
    const last = this.entries.findLast((entry) => entry.kind === 'message' && entry.mine) as MessageEntry | undefined;
    if (last?.offset === undefined) return undefined;
    const readers = this.readers.of(last.offset).filter((userId) => userId !== this.me);
    return readers.length > 0 ? { id: last.id, readers } : undefined;
  }

  /** The offset of the last message that others wrote, unless I have told that I have read it. */
  toMark(): number | undefined {
    const isOthers = (entry: Entry) => entry.kind === 'message' && !entry.mine && entry.offset !== undefined;
    const last = this.entries.findLast(isOthers) as MessageEntry | undefined;
    return last?.offset !== undefined && last.offset > this.marked ? last.offset : undefined;
  }

  /** Adds a message of mine; it waits to be sent. */
  write(id: string, text: string, at: number): void {
    this.#append({ kind: 'message', id, sender: this.me, mine: true, text, at, state: 'queued' });
  }

  /** Takes back what was unsent before a reload; what had failed waits to be retried. */
  restore(unsent: Unsent[]): void {
    for (const kept of unsent) {
      this.write(kept.id, kept.text, kept.at);
      if (kept.why !== undefined) this.refuse({ receiptId: kept.id, message: kept.why });
    }
  }

  /** Adds a line of the page's own. */
  note(text: string, at: number): void {
    this.#append({ kind: 'note', id: this.#nextId('note'), text, at });
  }

  /** Everything that waits to be sent, in order; it counts as being sent from now on. */
  takeQueued(): MessageEntry[] {
    const queued = this.entries.filter((entry) => entry.kind === 'message' && entry.state === 'queued');
    return (queued as MessageEntry[]).map((entry) => this.#set({ ...entry, state: 'sending' }));
  }

  /** The broker took it. */
  confirm(id: string): void {
    const entry = this.#unsettled(id);
    if (entry) this.#set({ ...entry, state: 'sent' });
  }

  /** The broker refused it. Tells whether there was such a message. */
  refuse(refusal: Pick<Refusal, 'receiptId' | 'message'>): boolean {
    const entry = this.#unsettled(refusal.receiptId);
    if (entry) this.#set({ ...entry, state: 'failed', why: refusal.message });
    return entry !== undefined;
  }

  /** A failed one is to be sent again. */
  retry(id: string): void {
    const entry = this.#unsettled(id);
    if (!entry) return;
    const { why: _, ...rest } = entry;
    this.#set({ ...rest, state: 'queued' });
  }

  /** The connection is gone: nobody knows what became of that which was being sent. */
  disconnected(): void {
    for (const entry of this.entries) {
      if (entry.kind === 'message' && entry.state === 'sending') this.#set({ ...entry, state: 'queued' });
    }
  }

  /** What must survive a reload of the page. */
  unsent(): Unsent[] {
    return this.entries.flatMap((entry) => {
      if (entry.kind !== 'message' || entry.state === 'sent') return [];
      const { id, text, at, why } = entry;
      return [{ id, text, at, ...(why === undefined ? {} : { why }) }];
    });
  }

  #message(message: ChatMessage): void {
    if (this.#seen.has(message.messageId)) return;
    this.#seen.add(message.messageId);
    this.#heard = true;
    this.typists.stopped(message.senderId);
    const mine = message.senderId === this.me;
    if (mine && message.clientMessageId !== undefined) {
      // The echo of one of mine takes its place in the order that everybody sees.
      this.entries = this.entries.filter((entry) => entry.id !== message.clientMessageId);
    }
    this.#append({
      kind: 'message',
      id: (mine && message.clientMessageId) || message.messageId,
      sender: message.senderId,
      mine,
      text: message.text,
      at: message.at,
      ...(message.offset === undefined ? {} : { offset: message.offset }),
      state: 'sent',
    });
  }

  /** The broker counts anew: offsets and positions of before mean nothing any more. */
  #begin(position: string | undefined): void {
    this.gap();
    this.position = position;
    this.readers.clear();
    this.entries = this.entries.map((entry) => {
      if (entry.kind !== 'message' || entry.offset === undefined) return entry;
      const { offset: _, ...rest } = entry;
      return rest;
    });
  }

  #append(entry: Entry): void {
    const end = entry.kind === 'message' && entry.state === 'sent' ? this.#endBefore(entry.at) : this.entries.length;
    this.entries = [...this.entries.slice(0, end), entry, ...this.entries.slice(end)];
    const excess = this.entries.length - this.#limit;
    if (excess <= 0) return;
    let dropped = 0;
    this.entries = this.entries.filter((old) => {
      const settled = old.kind !== 'message' || old.state === 'sent';
      if (!settled || dropped === excess) return true;
      dropped += 1;
      return false;
    });
    // Twice the list is enough to know a repeat that can still arrive.
    if (this.#seen.size > 2 * this.#limit) this.#seen = new Set([...this.#seen].slice(-this.#limit));
  }

  /** What was said before I wrote what still waits stands before that. */
  #endBefore(at: number): number {
    const last = this.entries.findLastIndex((entry) => entry.kind !== 'message' || entry.state === 'sent' || entry.at <= at);
    return last + 1;
  }

  #unsettled(id: string): MessageEntry | undefined {
    const found = this.entries.find((entry) => entry.id === id);
    return found?.kind === 'message' && found.state !== 'sent' ? found : undefined;
  }

  /** Entries are replaced, never changed, so that the view sees a change by identity. */
  #set(changed: MessageEntry): MessageEntry {
    this.entries = this.entries.map((entry) => (entry.id === changed.id ? changed : entry));
    return changed;
  }

  #nextId(kind: string): string {
    this.#serial += 1;
    return `${kind}-${this.#serial}`;
  }

  #name(userId: string): string {
    return userId === this.me ? 'You' : userId;
  }
}

/** Whether `entry` begins a group of its own: another sender, a note between, or a pause. */
export function startsGroup(previous: Entry | undefined, entry: Entry): boolean {
  if (entry.kind !== 'message' || previous?.kind !== 'message') return true;
  return previous.sender !== entry.sender || Math.abs(entry.at - previous.at) > GROUP_PAUSE_MS;
}

const GROUP_PAUSE_MS = 5 * 60_000;
