// Joins the parts: the connection's state, the room, and one session after another.

import { next, type Connection, type End, type Happening } from './connection.ts';
import { Room, type Unsent } from './room.ts';
import { Session, type Listener } from './session.ts';
import type { Keep, Settings } from './settings.ts';
import type { Refusal } from './wire.ts';

export class Chat {
  readonly room: Room;
  readonly settings: Settings;
  connection: Connection = { is: 'idle' };

  readonly #url: string;
  readonly #keep: Keep;
  readonly #changed: () => void;
  #session: Session | undefined;
  #due: ReturnType<typeof setTimeout> | undefined;
  #saving: ReturnType<typeof setTimeout> | undefined;
  #wasOnline = false;

  /** `changed` is called after every change of what there is to show. */
  constructor(url: string, settings: Settings, keep: Keep, changed: () => void) {
    this.#url = url;
    this.settings = settings;
    this.#keep = keep;
    this.#changed = changed;
    this.room = new Room(settings.name);
    this.room.restore(this.#kept());
    // The system knows first when the network is back.
    addEventListener('online', this.#tryNow);
  }

  /** Connects, or tries again at once. */
  start(): void {
    this.#happen({ kind: 'start' });
    this.#open();
  }

  /** Leaves the room for good. */
  stop(): void {
    removeEventListener('online', this.#tryNow);
    clearTimeout(this.#due);
    this.#session?.close();
    this.#session = undefined;
    this.#happen({ kind: 'stop' });
    this.#save();
  }

  /** Sends `text` now, or as soon as there is a connection. */
  say(text: string): void {
    this.room.write(crypto.randomUUID(), text, Date.now());
    this.#save();
    this.#flush();
  }

  /** Sends a failed message again. */
  retry(id: string): void {
    this.room.retry(id);
    this.#flush();
  }

  readonly #tryNow = (): void => {
    if (this.connection.is === 'waiting') this.start();
  };

  #open(): void {
    clearTimeout(this.#due);
    this.#session?.close();
    this.#session = new Session(this.#url, this.settings, this.#listener());
  }

  #listener(): Listener {
    return {
      online: (me) => {
        if (me !== '') this.room.me = me;
        if (this.#wasOnline) this.room.note('Back online. What others wrote meanwhile is not shown.', Date.now());
        this.#wasOnline = true;
        this.#happen({ kind: 'connected' });
        this.#flush();
      },
      frame: (frame) => {
        this.room.receive(frame);
        this.#show();
      },
      members: (members) => {
        this.room.seat(members);
        this.#show();
      },
      receipt: (key) => {
        this.room.confirm(key);
        this.#show();
      },
      refused: (refusal) => this.#refused(refusal),
      ended: (end, receiptId) => this.#ended(end, receiptId),
    };
  }

  #refused(refusal: Refusal): void {
    if (!this.room.refuse(refusal)) this.room.note(`Refused: ${refusal.message}`, Date.now());
    this.#show();
  }

  #ended(end: End, receiptId: string): void {
    this.#session = undefined;
    this.room.refuse({ receiptId, message: end.why });
    this.room.disconnected();
    this.#happen({ kind: 'lost', end, now: Date.now(), random: Math.random() });
    if (this.connection.is !== 'waiting') return;
    this.#due = setTimeout(() => {
      this.#happen({ kind: 'due' });
      this.#open();
    }, this.connection.until - Date.now());
  }

  #flush(): void {
    if (this.#session && this.connection.is === 'online') {
      for (const { id, text } of this.room.takeQueued()) this.#session.send(id, text);
    }
    this.#show();
  }

  #happen(happening: Happening): void {
    this.connection = next(this.connection, happening);
    this.#show();
  }

  #show(): void {
    // What is confirmed may be forgotten a little later: sent twice, it has the same key.
    this.#saving ??= setTimeout(() => this.#save(), SAVE_MS);
    this.#changed();
  }

  #save(): void {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    const unsent = this.room.unsent();
    if (unsent.length > 0) this.#keep.setItem(this.#key(), JSON.stringify(unsent));
    else this.#keep.removeItem(this.#key());
  }

  #kept(): Unsent[] {
    try {
      const kept: unknown = JSON.parse(this.#keep.getItem(this.#key()) ?? '[]');
      return Array.isArray(kept) ? (kept as Unsent[]) : [];
    } catch {
      return [];
    }
  }

  /** A message belongs to one person in one room; who a token is nobody knows before CONNECTED. */
  #key(): string {
    const { name, room, token } = this.settings;
    return `unsent ${JSON.stringify(token === '' ? [name, room] : [room])}`;
  }
}

const SAVE_MS = 200;
