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

/** Lets something through once in a while: at once, or when it is time. */
export class Pace {
  #next = 0;
  #due: ReturnType<typeof setTimeout> | undefined;
  readonly #everyMs: number;

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** Does it, unless it is to be done already. */
  run(act: () => void): void {
    if (this.#due !== undefined) return;
    const waitMs = this.#next - Date.now();
    if (waitMs > 0) {
      this.#due = setTimeout(() => this.#act(act), waitMs);
    } else {
      this.#act(act);
    }
  }

  /** What waits is not to be done any more. */
  cancel(): void {
    clearTimeout(this.#due);
    this.#due = undefined;
  }

  #act(act: () => void): void {
    this.#due = undefined;
    this.#next = Date.now() + this.#everyMs;
    act();
  }
}

/** So long somebody counts as typing, in milliseconds. */
export const SHOWN_MS = 3_000;

/** The broker passes on one in a second; a little more, so that what comes early on its way is not the one that it drops. */
export const TYPING_EVERY_MS = 1_200;
