// The messages. Entries are immutable, so a row is painted again only when its entry, or whether it begins a group, differs.

import { listed } from '../names.ts';
import { startsGroup, type Entry, type MessageEntry, type Room } from '../room.ts';
import { avatar, clock, element, make, setText } from './dom.ts';

interface Row {
  entry: Entry;
  first: boolean;
  item: HTMLLIElement;
}

export class Log {
  readonly #scroll = element('log');
  readonly #list = element('messages');
  readonly #latest = element<HTMLButtonElement>('latest');
  readonly #empty = element('empty');
  readonly #retry: (id: string) => void;
  #rows = new Map<string, Row>();
  #room: Room | undefined;
  #shown: Entry[] = [];
  #following = true;
  readonly #readers = make('p', 'readers');

  /** `moved` is called when the end comes into sight or leaves it. */
  constructor(retry: (id: string) => void, moved: () => void) {
    this.#retry = retry;
    // For the eye: who has read something is not worth an interruption.
    this.#readers.setAttribute('aria-live', 'off');
    this.#scroll.addEventListener('scroll', () => {
      const below = this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight;
      const following = below < NEAR_END_PX;
      if (following === this.#following) return;
      this.#following = following;
      if (following) this.#latest.hidden = true;
      moved();
    });
    this.#latest.addEventListener('click', () => {
      this.follow();
      element('say').focus();
    });
    // What was at the end stays at the end when the window or the keyboard takes room.
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(this.#scroll);
  }

  /** To the end, and stay there. */
  follow(): void {
    this.#following = true;
    this.#latest.hidden = true;
    this.#toEnd();
  }

  /** Whether the latest message is in sight. */
  get isAtEnd(): boolean {
    return this.#following;
  }

  show(room: Room, online: boolean): void {
    if (room !== this.#room) this.#turnTo(room);
    this.#empty.hidden = !online || !isQuiet(room.entries);
    if (room.entries !== this.#shown) this.#showEntries(room.entries);
    this.#showReaders(room);
    if (this.#following) this.#toEnd();
  }

  /** Another room: what was said there is not read out. */
  #turnTo(room: Room): void {
    this.#room = room;
    this.#scroll.setAttribute('aria-live', 'off');
    setTimeout(() => this.#scroll.setAttribute('aria-live', 'polite'), QUIET_MS);
    this.follow();
  }

  #showEntries(entries: Entry[]): void {
    const news = entries.at(-1)?.id !== this.#shown.at(-1)?.id;
    this.#shown = entries;
    const rows = new Map(
      entries.map((entry, index) => [entry.id, this.#row(entry, startsGroup(entries[index - 1], entry))]),
    );
    for (const { entry, item } of this.#rows.values()) if (rows.get(entry.id)?.item !== item) item.remove();
    this.#rows = rows;
    this.#arrange([...rows.values()].map(({ item }) => item));
    if (news && !this.#following) this.#latest.hidden = false;
  }

  /** Under my last message stands who has read it. */
  #showReaders(room: Room): void {
    const read = room.readOfMine();
    const item = read && this.#rows.get(read.id)?.item;
    if (!read || !item) return this.#readers.remove();
    setText(this.#readers, `Read by ${listed(read.readers)}`);
    if (this.#readers.parentElement !== item) item.append(this.#readers);
  }

  /** Puts the items in order. Entries move towards the end only, so what stands too early is passed by, not around. */
  #arrange(items: Element[]): void {
    const rank = new Map(items.map((item, index) => [item, index]));
    let place = this.#list.firstElementChild;
    items.forEach((item, index) => {
      while (item.isConnected && place && place !== item && (rank.get(place) ?? -1) > index) {
        place = place.nextElementSibling;
      }
      if (item === place) place = place.nextElementSibling;
      else this.#list.insertBefore(item, place);
    });
  }

  #row(entry: Entry, first: boolean): Row {
    const old = this.#rows.get(entry.id);
    if (old?.entry === entry && old.first === first) return old;
    if (entry.kind === 'note') return { entry, first, item: noteItem(entry.text, entry.at) };
    if (entry.kind === 'gap') return { entry, first, item: gapItem() };
    const item = old?.item ?? messageItem(entry);
    this.#paint(item, entry, first);
    return { entry, first, item };
  }

  /** Changes only what can differ: a text that is already there must not be read out again. */
  #paint(item: HTMLLIElement, entry: MessageEntry, first: boolean): void {
    item.className = `message${entry.mine ? ' mine' : ''}${first ? ' first' : ''} ${entry.state}`;
    item.querySelector('.head')?.remove();
    item.querySelector('.fate')?.remove();
    if (first) item.prepend(headOf(entry));
    if (entry.state !== 'sent') item.append(this.#fate(entry));
  }

  #fate(entry: MessageEntry): HTMLElement {
    const fate = make('p', 'fate');
    if (entry.state === 'failed') {
      fate.append(`Not sent: ${entry.why ?? 'refused'} `);
      const again = make('button', 'link', 'Send again');
      again.type = 'button';
      again.addEventListener('click', () => {
        this.#retry(entry.id);
        // The button goes; the keyboard must not be lost with it.
        element('say').focus();
      });
      fate.append(again);
    } else {
      fate.append(entry.state === 'sending' ? 'Sending…' : 'Waiting for the connection…');
    }
    return fate;
  }

  #toEnd(): void {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}

/** Nobody has said anything, and few came or went. */
function isQuiet(entries: Entry[]): boolean {
  return entries.length <= QUIET_ENTRIES && entries.every((entry) => entry.kind === 'note');
}

function messageItem(entry: MessageEntry): HTMLLIElement {
  const item = make('li');
  const body = make('p', 'body', entry.text);
  body.dir = 'auto';
  item.append(body);
  return item;
}

function headOf({ sender, mine, at }: MessageEntry): HTMLElement {
  const head = make('p', 'head');
  const name = make('strong', 'sender', sender);
  if (mine) name.append(make('span', 'tag', 'you'));
  head.append(avatar(sender), name, timeOf(at));
  return head;
}

function noteItem(text: string, at: number): HTMLLIElement {
  const item = make('li', 'note');
  item.append(make('span', '', text), timeOf(at));
  return item;
}

function gapItem(): HTMLLIElement {
  const item = make('li', 'gap');
  item.append(make('span', '', 'Some messages are missing here'));
  return item;
}

function timeOf(at: number): HTMLTimeElement {
  const time = make('time', '', clock(at));
  time.dateTime = new Date(at).toISOString();
  return time;
}

/** So near to the end counts as reading the latest. */
const NEAR_END_PX = 80;

const QUIET_ENTRIES = 5;

/** A room that has just come into sight is not read out for so long, in milliseconds. */
const QUIET_MS = 1_000;
