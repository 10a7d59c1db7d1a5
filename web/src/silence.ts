// Whether the broker is still there, judged by a page whose timers the browser may stop.

export class Silence {
  #heardAt: number;
  #askedAt: number;

  /** `now` in milliseconds, of any clock that only goes forward. */
  constructor(now: number) {
    this.#heardAt = now;
    this.#askedAt = now;
  }

  /** Something came. */
  heard(now: number): void {
    this.#heardAt = now;
  }

  /**
   * To be asked every `ASK_MS`. An asking that comes late means that the page slept, and what came meanwhile may not be
   * read yet: the silence counts from then on.
   */
  isTooLong(now: number): boolean {
    const slept = now - this.#askedAt > 2 * ASK_MS;
    this.#askedAt = now;
    if (slept) this.#heardAt = now;
    return now - this.#heardAt > SILENT_MS;
  }
}

/** Milliseconds between two askings. */
export const ASK_MS = 5_000;

/** Twice the heart-beat that the broker offers, and a half more for the way. */
export const SILENT_MS = 25_000;
