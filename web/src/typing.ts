// Who types.

/** The others who have lately said that they type. */
export class Typists {
  /** User id to the time, in milliseconds, when it is over. */
  readonly #until = new Map<string, number>();

  typed(userId: string, now: number): void {
    this.#until.set(userId, now + SHOWN_MS);
  }

  /** Has sent it, or is gone. */
  stopped(userId: string): void {
    this.#until.delete(userId);
  }

  /** Who types, longest first. */
  who(now: number): string[] {
    for (const [userId, until] of this.#until) if (until <= now) this.#until.delete(userId);
    return [...this.#until.keys()];
  }
}

/** Lets something through once in a while. */
export class Pace {
  #next = 0;
  readonly #everyMs: number;

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  admits(now: number): boolean {
    if (now < this.#next) return false;
    this.#next = now + this.#everyMs;
    return true;
  }
}

/** So long somebody counts as typing, in milliseconds. */
export const SHOWN_MS = 3_000;

/** The broker passes on no more. */
export const TYPING_EVERY_MS = 1_000;
