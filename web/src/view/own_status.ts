// What I say of myself.

import { element, make } from './dom.ts';

export class OwnStatus {
  readonly #field = element<HTMLSelectElement>('my-status');

  constructor(choose: (status: string) => void) {
    this.#field.addEventListener('change', () => choose(this.#field.value));
  }

  show(status: string): void {
    if (this.#field.value === status) return;
    // Another program of mine may have said anything.
    const known = [...this.#field.options].some(({ value }) => value === status);
    if (!known) this.#field.append(Object.assign(make('option', '', status), { value: status }));
    this.#field.value = status;
  }
}
