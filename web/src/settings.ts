// Who joins which room, from the address bar and this tab's storage, and what is allowed as a name.

/** What the join form holds. */
export interface Settings {
  name: string;
  room: string;
  /** A JWT; empty in development mode. */
  token: string;
}

/** What is wrong with the form, by field; empty when nothing is. */
export type Faults = Partial<Record<keyof Settings, string>>;

/** The part of `Storage` that is used here. */
export interface Keep {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** The address bar first, then what this tab remembers. */
export function recall(query: string, keep: Keep): Settings {
  const asked = new URLSearchParams(query);
  return {
    name: (asked.get('name') ?? keep.getItem('name') ?? '').trim(),
    room: (asked.get('room') ?? keep.getItem('room') ?? 'lobby').trim(),
    token: keep.getItem('token') ?? '',
  };
}

/** Whether the page joins without being asked: the address names both, or this tab was in the room before a reload. */
export function joinsAtOnce(query: string, keep: Keep): boolean {
  const asked = new URLSearchParams(query);
  return keep.getItem('joined') === 'yes' || (!!asked.get('name')?.trim() && !!asked.get('room')?.trim());
}

/** Remembers for a reload; the token stays in this tab and never enters the address. */
export function remember(settings: Settings, keep: Keep): void {
  keep.setItem('name', settings.name);
  keep.setItem('room', settings.room);
  keep.setItem('joined', 'yes');
  if (settings.token === '') keep.removeItem('token');
  else keep.setItem('token', settings.token);
}

/** The query that brings the same person to the same room. */
export function queryOf({ name, room }: Pick<Settings, 'name' | 'room'>): string {
  const query = new URLSearchParams();
  if (name !== '') query.set('name', name);
  query.set('room', room);
  return `?${query}`;
}

/** Says what the broker would refuse anyway, before it is sent there. */
export function faultsOf(settings: Settings): Faults {
  const faults: Faults = {};
  if (settings.token === '') {
    if (settings.name === '') faults.name = 'Choose a name.';
    else if (settings.name.length > NAME_MAX) faults.name = `At most ${NAME_MAX} characters.`;
    else if (CONTROL.test(settings.name)) faults.name = 'Only visible characters.';
  } else if (/\s/.test(settings.token)) {
    faults.token = 'A token has no spaces.';
  }
  const room = faultOfRoom(settings.room);
  if (room !== undefined) faults.room = room;
  return faults;
}

/** What is wrong with the name of a room, if anything is. */
export function faultOfRoom(room: string): string | undefined {
  if (room === '') return 'Choose a room.';
  if (room.length > NAME_MAX) return `At most ${NAME_MAX} characters.`;
  return CONTROL.test(room) || /[/*#>{}%]/.test(room) ? 'Without / * # > { } %, please.' : undefined;
}

/** The broker's WebSocket endpoint, seen from the page it served. */
export function brokerUrl(location: Pick<Location, 'protocol' | 'host'>): string {
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
}

const NAME_MAX = 64;
const CONTROL = /\p{Cc}/u;
