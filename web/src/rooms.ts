// The rooms that I have joined in this page, one of them in sight. What is unsent in each, and which they are, outlives a
// reload.

import { Room, type Unsent } from './room.ts';
import type { Keep, Settings } from './settings.ts';
import type { Unread } from './wire.ts';

export class Rooms {
  /** The room in sight; it is one of those joined. */
  current: string;
  readonly #rooms = new Map<string, Room>();
  readonly #unread = new Map<string, Unread>();
  readonly #settings: Settings;
  readonly #keep: Keep;
  #me: string;

  /** Joins the rooms named, and that of the settings, which comes into sight. */
  constructor(settings: Settings, names: string[], keep: Keep) {
    this.#settings = settings;
    this.#keep = keep;
    this.#me = settings.name;
    this.current = settings.room;
    for (const name of [...names, settings.room]) this.join(name);
  }

  /** In the order in which they were joined. */
  get names(): string[] {
    return [...this.#rooms.keys()];
  }

  get all(): Room[] {
    return [...this.#rooms.values()];
  }

  /** The room in sight. */
  get room(): Room {
    return this.join(this.current);
  }

  /** Who I am; known for certain once CONNECTED said so. */
  set me(me: string) {
    this.#me = me;
    for (const room of this.all) room.me = me;
  }

  find(name: string): Room | undefined {
    return this.#rooms.get(name);
  }

  /** The room of this name, joined if it was not. */
  join(name: string): Room {
    const joined = this.#rooms.get(name);
    if (joined) return joined;
    const room = new Room(this.#me);
    room.restore(this.#kept(name));
    this.#rooms.set(name, room);
    this.#remember();
    return room;
  }

  /** Puts the room in sight. */
  show(name: string): void {
    this.join(name);
    this.current = name;
  }

  /** Out of it, and to a neighbour if it was in sight; the last one stays. */
  leave(name: string): void {
    if (this.#rooms.size === 1) return;
    this.save();
    const place = this.names.indexOf(name);
    this.#rooms.delete(name);
    this.#unread.delete(name);
    this.#remember();
    if (this.current === name) this.current = this.names[Math.max(0, place - 1)] ?? this.current;
  }

  count(unread: Unread[]): void {
    for (const each of unread) this.#unread.set(each.room, each);
  }

  unread(name: string): Unread | undefined {
    const unread = this.#unread.get(name);
    return unread && unread.count > 0 ? unread : undefined;
  }

  /** Keeps what is unsent over a reload. */
  save(): void {
    for (const [name, room] of this.#rooms) {
      const unsent = room.unsent();
      if (unsent.length > 0) this.#keep.setItem(this.#key(name), JSON.stringify(unsent));
      else this.#keep.removeItem(this.#key(name));
    }
  }

  #remember(): void {
    this.#keep.setItem(JOINED, JSON.stringify(this.names));
  }

  #kept(name: string): Unsent[] {
    return parseList(this.#keep.getItem(this.#key(name))) as Unsent[];
  }

  /** A message belongs to one person in one room; who a token is nobody knows before CONNECTED. */
  #key(room: string): string {
    const { name, token } = this.#settings;
    return `unsent ${JSON.stringify(token === '' ? [name, room] : [room])}`;
  }
}

/** The rooms that this tab was in before a reload, if it was as the same person. */
export function recallRooms({ name, token }: Settings, keep: Keep): string[] {
  const same = (keep.getItem('token') ?? '') === token && (token !== '' || keep.getItem('name') === name);
  if (!same || keep.getItem('joined') !== 'yes') return [];
  return parseList(keep.getItem(JOINED)).filter((each): each is string => typeof each === 'string').slice(0, ROOMS_MAX);
}

/** As many rooms one page may be in; the broker allows a connection 128 subscriptions. */
export const ROOMS_MAX = 20;

const JOINED = 'rooms';

function parseList(text: string | null): unknown[] {
  try {
    const list: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}
