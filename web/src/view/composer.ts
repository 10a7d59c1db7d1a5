// Where I write. Enter sends, Shift+Enter is a new line; each room has a draft, which survives a reload.

import type { Keep } from '../settings.ts';
import { element } from './dom.ts';

export class Composer {
  readonly #field = element<HTMLTextAreaElement>('say');
  readonly #keep: Keep;
  readonly #send: (text: string) => void;
  #room = '';

  /** `typed` is called while something is being written. */
  constructor(keep: Keep, send: (text: string) => void, typed: () => void) {
    this.#keep = keep;
    this.#send = send;
    this.#field.addEventListener('input', () => {
      keep.setItem(this.#draft(), this.#field.value);
      if (this.#field.value.trim() !== '') typed();
    });
    this.#field.addEventListener('keydown', (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    element<HTMLFormElement>('compose').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
      this.#field.focus();
    });
  }

  /** Goes on with what was begun in this room. */
  turnTo(room: string): void {
    this.#room = room;
    this.#field.value = this.#keep.getItem(this.#draft()) ?? '';
  }

  /** Without moving the page: the composer is in sight where the page begins. */
  focus(): void {
    this.#field.focus({ preventScroll: true });
  }

  #submit(): void {
    const text = this.#field.value.trim();
    if (text === '') return;
    this.#field.value = '';
    this.#keep.removeItem(this.#draft());
    this.#send(text);
  }

  #draft(): string {
    return `draft ${this.#room}`;
  }
}
