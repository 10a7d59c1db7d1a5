// What the page knows of a room: a bounded list of entries, who is there, and what of mine is not yet sent.
//
// A message of mine goes  queued -> sending -> sent  (RECEIPT or its own echo), or  sending -> failed -> queued.
// A lost connection takes `sending` back to `queued`; the key stays, so the broker drops what it had already taken.

import type { ChatMessage, Member, Refusal, RoomFrame } from './wire.ts';

export type Entry = MessageEntry | NoteEntry;

export interface MessageEntry {
  kind: 'message';
  /** Names the entry in the page; for mine also the SEND's `idempotency-key` and receipt. */
  id: string;
  sender: string;
  mine: boolean;
  text: string;
  /** Milliseconds since the epoch. */
  at: number;
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

/** One of mine that the broker has not confirmed, as kept over a reload. */
export type Unsent = Pick<MessageEntry, 'id' | 'text' | 'at' | 'why'>;

export class Room {
  /** Who I am; known for certain once CONNECTED said so. */
  me: string;
  entries: Entry[] = [];
  /** User id to status. */
  readonly members = new Map<string, string>();
  /** How many are here, when the room is too large for single events. */
  count: number | undefined;

  #seen = new Set<string>();
  #notes = 0;
  readonly #limit: number;

  /** Keeps at most `limit` entries, the latest; what is unsent is kept whatever the limit. */
  constructor(me: string, limit = 1_000) {
    this.me = me;
    this.#limit = limit;
  }

  /** Takes what came on the room's topic. */
  receive(frame: RoomFrame): void {
    switch (frame.kind) {
      case 'message':
        return this.#message(frame.message);
      case 'join':
        if (!this.members.has(frame.userId)) this.note(`${this.#name(frame.userId)} joined`, frame.at);
        this.members.set(frame.userId, 'online');
        return;
      case 'leave':
        if (this.members.delete(frame.userId)) this.note(`${this.#name(frame.userId)} left`, frame.at);
        return;
      case 'status':
        if (this.members.has(frame.userId)) this.members.set(frame.userId, frame.status);
        return;
      case 'count':
        this.count = frame.count;
    }
  }

  /** Takes the answer of who is there. */
  seat(members: Member[]): void {
    this.members.clear();
    this.count = undefined;
    for (const { userId, status } of members) this.members.set(userId, status);
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
    this.#notes += 1;
    this.#append({ kind: 'note', id: `note-${this.#notes}`, text, at });
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
      if (entry.kind === 'note' || entry.state === 'sent') return [];
      const { id, text, at, why } = entry;
      return [{ id, text, at, ...(why === undefined ? {} : { why }) }];
    });
  }

  #message(message: ChatMessage): void {
    if (this.#seen.has(message.messageId)) return;
    this.#seen.add(message.messageId);
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
      state: 'sent',
    });
  }

  #append(entry: Entry): void {
    this.entries = [...this.entries, entry];
    const excess = this.entries.length - this.#limit;
    if (excess <= 0) return;
    let dropped = 0;
    this.entries = this.entries.filter((old) => {
      const settled = old.kind === 'note' || old.state === 'sent';
      if (!settled || dropped === excess) return true;
      dropped += 1;
      return false;
    });
    // Twice the list is enough to know a repeat that can still arrive.
    if (this.#seen.size > 2 * this.#limit) this.#seen = new Set([...this.#seen].slice(-this.#limit));
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

  #name(userId: string): string {
    return userId === this.me ? 'You' : userId;
  }
}

/** Whether `entry` begins a group of its own: another sender, a note between, or a pause. */
export function startsGroup(previous: Entry | undefined, entry: Entry): boolean {
  if (entry.kind === 'note' || previous === undefined || previous.kind === 'note') return true;
  return previous.sender !== entry.sender || Math.abs(entry.at - previous.at) > GROUP_PAUSE_MS;
}

const GROUP_PAUSE_MS = 5 * 60_000;
