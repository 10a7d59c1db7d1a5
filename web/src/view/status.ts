// The connection, always in sight. The countdown is for the eye; a screen reader is told of changes only.

import type { Connection } from '../connection.ts';
import { element, setText } from './dom.ts';

export class StatusLine {
  readonly #pill = element('status');
  readonly #text = element('status-text');
  readonly #spoken = element('status-spoken');
  readonly #why = element('status-why');
  readonly #now = element<HTMLButtonElement>('try-now');
  #shown: Connection = { is: 'idle' };
  #tick: ReturnType<typeof setInterval> | undefined;

  constructor(tryNow: () => void) {
    this.#now.addEventListener('click', () => {
      tryNow();
      element('say').focus();
    });
  }

  show(connection: Connection): void {
    if (connection === this.#shown) return;
    this.#shown = connection;
    clearInterval(this.#tick);
    this.#pill.dataset.is = connection.is;
    this.#now.hidden = connection.is !== 'waiting' && connection.is !== 'refused';
    this.#now.textContent = connection.is === 'refused' ? 'Try again' : 'Try now';
    const why = whyOf(connection);
    this.#why.hidden = why === '';
    setText(this.#why, why);
    setText(this.#spoken, `${SPOKEN[connection.is]} ${why}`.trim());
    this.#count();
    if (connection.is === 'waiting') this.#tick = setInterval(() => this.#count(), 250);
  }

  #count(): void {
    const shown = this.#shown;
    if (shown.is !== 'waiting') return setText(this.#text, LABEL[shown.is]);
    const seconds = Math.max(1, Math.ceil((shown.until - Date.now()) / 1_000));
    setText(this.#text, `Retry in ${seconds} s`);
  }
}

function whyOf(connection: Connection): string {
  if (connection.is === 'waiting') return connection.why;
  if (connection.is !== 'refused') return '';
  return connection.code === '' ? connection.why : `${connection.why} (${connection.code})`;
}

const LABEL = { idle: 'Not connected', connecting: 'Connecting…', online: 'Online', refused: 'Refused' };
const SPOKEN = {
  idle: 'Not connected.',
  connecting: 'Connecting.',
  online: 'Online.',
  waiting: 'Offline, reconnecting by itself.',
  refused: 'Refused.',
};
