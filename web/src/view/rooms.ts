// The rooms I am in, with what is unread in each, and the way into another one.

import { ROOMS_MAX, type Rooms } from '../rooms.ts';
import { faultOfRoom } from '../settings.ts';
import type { Unread } from '../wire.ts';
import { element, make, setText } from './dom.ts';

interface Row {
  item: HTMLLIElement;
  button: HTMLButtonElement;
  badge: HTMLSpanElement;
  spoken: HTMLSpanElement;
}

export class RoomsList {
  readonly #list = element('rooms');
  readonly #field = element<HTMLInputElement>('another');
  readonly #fault = element('another-fault');
  readonly #enter: (room: string) => void;
  readonly #rows = new Map<string, Row>();
  #count = 0;

  /** `enter` gets a room that is to be shown, joined or not. */
  constructor(enter: (room: string) => void) {
    this.#enter = enter;
    element<HTMLFormElement>('join-another').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener('input', () => this.fail(''));
  }

  /** `inSight`: what is unread in the current room is just being read. */
  show(rooms: Rooms, inSight: boolean): void {
    const names = rooms.names;
    this.#count = names.length;
    for (const [name, { item }] of this.#rows) {
      if (rooms.find(name)) continue;
      item.remove();
      this.#rows.delete(name);
    }
    for (const name of names) {
      const { button, badge, spoken } = this.#row(name);
      const isCurrent = name === rooms.current;
      button.ariaCurrent = isCurrent ? 'page' : null;
      const unread = isCurrent && inSight ? undefined : rooms.unread(name);
      badge.hidden = unread === undefined;
      setText(badge, badgeOf(unread));
      setText(spoken, unread ? ' unread' : '');
    }
  }

  /** Says what is wrong with the room that was to be joined. */
  fail(fault: string): void {
    setText(this.#fault, fault);
    if (fault === '') this.#field.removeAttribute('aria-invalid');
    else this.#field.setAttribute('aria-invalid', 'true');
  }

  #submit(): void {
    const name = this.#field.value.trim();
    const full = this.#count >= ROOMS_MAX && !this.#rows.has(name);
    const fault = full ? `At most ${ROOMS_MAX} rooms at a time.` : faultOfRoom(name);
    this.fail(fault ?? '');
    if (fault !== undefined) return;
    this.#field.value = '';
    this.#enter(name);
  }

  #row(name: string): Row {
    const known = this.#rows.get(name);
    if (known) return known;
    const [item, button, badge, spoken] = [make('li'), make('button', 'room'), make('span', 'badge'), make('span', 'sr')];
    button.type = 'button';
    button.title = name;
    const hash = make('span', 'hash', '#');
    hash.ariaHidden = 'true';
    button.append(hash, make('span', 'room-label', name), badge, spoken);
    button.addEventListener('click', () => this.#enter(name));
    item.append(button);
    this.#list.append(item);
    const row = { item, button, badge, spoken };
    this.#rows.set(name, row);
    return row;
  }
}

/** What is not counted to its end has a plus. */
function badgeOf(unread: Unread | undefined): string {
  if (unread === undefined) return '';
  return unread.more ? `${unread.count}+` : String(unread.count);
}
