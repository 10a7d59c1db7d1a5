// Joins the parts: the connection's state, the rooms, and one session after another.

import { next, type Connection, type End, type Happening } from './connection.ts';
import type { Refusal } from './refusal.ts';
import type { Room } from './room.ts';
import { Rooms } from './rooms.ts';
import { Session, STATUS, type Listener } from './session.ts';
import type { Keep, Settings } from './settings.ts';
import { SHOWN_MS } from './typing.ts';

export class Chat {
  readonly rooms: Rooms;
  connection: Connection = { is: 'idle' };
  /** What I want to be said of me, until the broker says it; empty when I have no wish. */
  status = '';
  /** A room that was not for me, and why. */
  shut: { room: string; why: string } | undefined;

  readonly #url: string;
  readonly #settings: Settings;
  readonly #changed: () => void;
  #me: string;
  #session: Session | undefined;
  #due: ReturnType<typeof setTimeout> | undefined;
  #saving: ReturnType<typeof setTimeout> | undefined;
  readonly #asking = new Map<string, ReturnType<typeof setTimeout>>();
  /** The broker knows me: rooms can be entered and left. */
  #connected = false;
  #wasOnline = false;

  /** Joins `rooms` beside that of the settings. `changed` is called after every change of what there is to show. */
  constructor(url: string, settings: Settings, rooms: string[], keep: Keep, changed: () => void) {
    this.#url = url;
    this.#settings = settings;
    this.#changed = changed;
    this.#me = settings.name;
    this.rooms = new Rooms(settings, rooms, keep);
    // The system knows first when the network is back.
    addEventListener('online', this.#tryNow);
  }

  get isOnline(): boolean {
    return this.connection.is === 'online';
  }

  /** My status as others see it, or soon will. */
  get myStatus(): string {
    return this.status || (this.rooms.room.members.get(this.#me) ?? 'online');
  }

  /** Connects, or tries again at once. */
  start(): void {
    this.#happen({ kind: 'start' });
    this.#open();
  }

  /** Leaves all rooms for good. */
  stop(): void {
    removeEventListener('online', this.#tryNow);
    clearTimeout(this.#due);
    this.#forgetAsking();
    if (this.isOnline) for (const name of this.rooms.names) this.#session?.leave(name);
    this.#session?.close();
    this.#session = undefined;
    this.#happen({ kind: 'stop' });
    this.#save();
  }

  /** Puts a room in sight, and joins it first if need be. */
  enter(name: string): void {
    const isNew = this.rooms.find(name) === undefined;
    this.shut = undefined;
    this.rooms.show(name);
    if (isNew && this.#connected) this.#session?.enter(name, undefined);
    this.#flush();
  }

  /** Leaves one of several rooms. */
  leave(name: string): void {
    if (this.#connected) this.#session?.leave(name);
    this.#drop(name);
  }

  /** Sends `text` to the room in sight, now or as soon as there is a connection. */
  say(text: string): void {
    this.rooms.room.typing.cancel();
    this.rooms.room.write(crypto.randomUUID(), text, Date.now());
    this.#save();
    this.#flush();
  }

  /** Sends a failed message again. */
  retry(id: string): void {
    this.rooms.room.retry(id);
    this.#flush();
  }

  /** Tells others that I type in the room in sight. */
  type(): void {
    const { room, current } = this.rooms;
    room.typing.run(() => this.isOnline && this.rooms.room === room && this.#session?.typing(current));
  }

  setStatus(status: string): void {
    this.status = status;
    if (this.isOnline) this.#session?.setStatus(status);
    this.#show();
  }

  /** I have seen the room in sight to its end. */
  read(): void {
    const { room, current } = this.rooms;
    const offset = room.toMark();
    if (offset === undefined || !this.isOnline) return;
    room.marked = offset;
    this.#session?.markRead(current, offset);
  }

  readonly #tryNow = (): void => {
    if (this.connection.is === 'waiting') this.start();
  };

  #open(): void {
    clearTimeout(this.#due);
    this.#session?.close();
    this.#connected = false;
    this.#session = new Session(this.#url, this.#settings, this.#listener());
  }

  #listener(): Listener {
    return {
      connected: (me) => {
        this.#connected = true;
        if (me !== '') this.#me = this.rooms.me = me;
        for (const name of this.rooms.names) this.#session?.enter(name, this.rooms.find(name)?.position);
      },
      entered: (name, how) => {
        const room = this.rooms.find(name);
        if (!room) return;
        if (this.#wasOnline && !how.history) room.note('Back online. What others wrote meanwhile is not shown.', Date.now());
        room.entered(how);
        this.#keepRoster(name, room);
      },
      online: () => {
        this.#wasOnline = true;
        this.#happen({ kind: 'connected' });
        if (this.status !== '') this.#session?.setStatus(this.status);
        this.#flush();
      },
      frame: (name, frame, envelope) => {
        const room = this.rooms.find(name);
        if (!room) return;
        room.receive(frame, envelope, Date.now());
        if (frame.kind === 'typing') setTimeout(this.#changed, SHOWN_MS);
        if (frame.kind === 'status' && frame.userId === this.#me) this.status = '';
        this.#keepRoster(name, room);
        this.#show();
      },
      members: (name, members) => {
        const room = this.rooms.find(name);
        if (members) room?.roster.seat(members);
        else room?.roster.hide();
        if (room) this.#keepRoster(name, room);
        this.#show();
      },
      unread: (unread) => {
        this.rooms.count(unread);
        this.#show();
      },
      receipt: (key) => {
        for (const room of this.rooms.all) room.confirm(key);
        this.#show();
      },
      refused: (refusal) => this.#refused(refusal),
      shut: (name, end) => this.#shut(name, end),
      ended: (end, receiptId) => this.#ended(end, receiptId),
    };
  }

  /** Asks who is in the room when its list may be wrong. */
  #keepRoster(name: string, room: Room): void {
    const wants = room.roster.wants;
    if (wants === undefined || (wants === 'soon' && this.#asking.has(name))) return;
    clearTimeout(this.#asking.get(name));
    const ask = () => {
      this.#asking.delete(name);
      if (room.roster.wants === undefined || this.rooms.find(name) !== room) return;
      room.roster.asked();
      this.#session?.askMembers(name);
    };
    if (wants === 'now') ask();
    else this.#asking.set(name, setTimeout(ask, SOON_MS));
  }

  #forgetAsking(): void {
    this.#asking.forEach(clearTimeout);
    this.#asking.clear();
  }

  #refused(refusal: Refusal): void {
    if (refusal.destination === STATUS) this.status = '';
    const known = this.rooms.all.some((room) => room.refuse(refusal));
    if (!known) this.rooms.room.note(`Refused: ${refusal.message}`, Date.now());
    this.#show();
  }

  /** Of several rooms one goes; without the last there is nothing to be connected for. */
  #shut(name: string, end: End): void {
    if (this.rooms.names.length > 1) {
      this.shut = { room: name, why: end.code === '' ? end.why : `${end.why} (${end.code})` };
      return this.#drop(name);
    }
    this.#session?.close();
    this.#ended(end, '');
  }

  #drop(name: string): void {
    this.rooms.leave(name);
    this.#show();
  }

  #ended(end: End, receiptId: string): void {
    this.#session = undefined;
    this.#connected = false;
    this.#forgetAsking();
    // The broker forgets it with my last session.
    this.status = this.myStatus === 'online' ? '' : this.myStatus;
    for (const room of this.rooms.all) {
      room.refuse({ receiptId, message: end.why });
      room.disconnected();
    }
    this.#happen({ kind: 'lost', end, now: Date.now(), random: Math.random() });
    if (this.connection.is !== 'waiting') return;
    this.#due = setTimeout(() => {
      this.#happen({ kind: 'due' });
      this.#open();
    }, this.connection.until - Date.now());
  }

  #flush(): void {
    for (const name of this.isOnline ? this.rooms.names : []) {
      for (const { id, text } of this.rooms.find(name)?.takeQueued() ?? []) this.#session?.say(name, id, text);
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
    this.rooms.save();
  }
}

const SAVE_MS = 200;
/** When many come at once the list is asked for once. */
const SOON_MS = 1_000;
