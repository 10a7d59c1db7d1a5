// Who is here, and what each says of himself.

import type { Room } from '../room.ts';
import { avatar, element, make, setText } from './dom.ts';

export class MembersList {
  readonly #list = element('members');
  readonly #count = element('member-count');
  readonly #title = element('who-title');
  readonly #part = element<HTMLDetailsElement>('who');
  #shown = '';

  constructor() {
    // A side column has room for the list; a phone shows it when asked.
    const wide = matchMedia('(min-width: 60rem)');
    const fit = () => (this.#part.open = wide.matches);
    wide.addEventListener('change', fit);
    fit();
  }

  show(room: Room, online: boolean): void {
    const { hidden, count, members } = room.roster;
    const isMe = (userId: string) => Number(userId === room.me);
    const people = hidden ? [] : [...members].sort(([a], [b]) => isMe(b) - isMe(a) || a.localeCompare(b));
    const key = JSON.stringify([people, hidden, count, room.me, online]);
    if (key === this.#shown) return;
    this.#shown = key;
    setText(this.#count, hidden ? '?' : String(count ?? people.length));
    setText(this.#title, online ? 'Who is here' : 'Who was here');
    const items = people.map(([userId, status]) => memberItem(userId, status, userId === room.me));
    const more = (count ?? people.length) - people.length;
    if (more > 0 && !hidden) items.push(make('li', 'more', `and ${more} more`));
    if (items.length === 0) items.push(make('li', 'more', nobody(hidden, online)));
    this.#list.replaceChildren(...items);
  }
}

function nobody(hidden: boolean, online: boolean): string {
  if (hidden) return 'The broker does not tell you.';
  return online ? 'Nobody yet' : 'Known when online';
}

function memberItem(userId: string, status: string, isMe: boolean): HTMLLIElement {
  const item = make('li');
  const disc = make('span', 'disc');
  const dot = make('span', 'presence');
  dot.dataset.status = status;
  disc.append(avatar(userId), dot);
  item.append(disc, make('span', 'who-name', userId));
  if (isMe) item.append(make('span', 'tag', 'you'));
  // What everybody is need not be read, only heard.
  item.append(make('span', status === 'online' ? 'sr' : 'says', status));
  return item;
}
