// Who is here.

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
    const people = [...room.members].sort(([a], [b]) => Number(b === room.me) - Number(a === room.me) || a.localeCompare(b));
    const key = JSON.stringify([people, room.count, room.me, online]);
    if (key === this.#shown) return;
    this.#shown = key;
    setText(this.#count, String(room.count ?? people.length));
    setText(this.#title, online ? 'Who is here' : 'Who was here');
    const listed = people.slice(0, LISTED_MAX).map(([userId, status]) => {
      const item = make('li');
      item.append(avatar(userId), make('span', 'who-name', userId));
      if (userId === room.me) item.append(make('span', 'tag', 'you'));
      if (status !== 'online') item.append(make('span', 'tag', status));
      return item;
    });
    const more = (room.count ?? people.length) - listed.length;
    if (more > 0) listed.push(make('li', 'more', `and ${more} more`));
    if (listed.length === 0) listed.push(make('li', 'more', online ? 'Nobody yet' : 'Known when online'));
    this.#list.replaceChildren(...listed);
  }
}

const LISTED_MAX = 100;
