// Where I write. Enter sends, Shift+Enter is a new line; a draft survives a reload.

import type { Keep } from '../settings.ts';
import { element } from './dom.ts';

export class Composer {
  readonly #field = element<HTMLTextAreaElement>('say');
  readonly #keep: Keep;
  readonly #send: (text: string) => void;

  constructor(keep: Keep, send: (text: string) => void) {
    this.#keep = keep;
    this.#send = send;
    this.#field.value = keep.getItem('draft') ?? '';
    this.#field.addEventListener('input', () => keep.setItem('draft', this.#field.value));
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

  /** Without moving the page: the composer is in sight where the page begins. */
  focus(): void {
    this.#field.focus({ preventScroll: true });
  }

  #submit(): void {
    const text = this.#field.value.trim();
    if (text === '') return;
    this.#field.value = '';
    this.#keep.removeItem('draft');
    this.#send(text);
  }
}
