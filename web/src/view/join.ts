// The form that asks who and where.

import { faultsOf, type Settings } from '../settings.ts';
import { element, setText } from './dom.ts';

export class JoinForm {
  readonly #name = element<HTMLInputElement>('name');
  readonly #room = element<HTMLInputElement>('room');
  readonly #token = element<HTMLTextAreaElement>('token');
  readonly #join: (settings: Settings) => void;

  /** `join` gets a form without fault; `typed` whatever stands in it, at each key. */
  constructor(join: (settings: Settings) => void, typed: (settings: Settings) => void) {
    this.#join = join;
    const form = element<HTMLFormElement>('join');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.submit();
    });
    form.addEventListener('input', () => typed(this.#read()));
  }

  fill({ name, room, token }: Settings): void {
    this.#name.value = name;
    this.#room.value = room;
    this.#token.value = token;
    element<HTMLDetailsElement>('token-part').open = token !== '';
  }

  /** Joins, or shows what is wrong; tells which. */
  submit(): boolean {
    const settings = this.#read();
    const faults = faultsOf(settings);
    let first: HTMLElement | undefined;
    for (const field of [this.#name, this.#room, this.#token]) {
      const fault = faults[field.id as keyof Settings] ?? '';
      setText(element(`${field.id}-fault`), fault);
      if (fault === '') field.removeAttribute('aria-invalid');
      else field.setAttribute('aria-invalid', 'true');
      if (fault !== '') first ??= field;
    }
    first?.focus();
    if (first) return false;
    this.#join(settings);
    return true;
  }

  /** To the first field that wants something. */
  focus(): void {
    (this.#name.value === '' ? this.#name : this.#room).focus();
  }

  #read(): Settings {
    return { name: this.#name.value.trim(), room: this.#room.value.trim(), token: this.#token.value.trim() };
  }
}
