// Up to where others have read.

export class Readers {
  /** User id to offset. */
  readonly #offsets = new Map<string, number>();

  read(userId: string, offset: number): void {
    const before = this.#offsets.get(userId) ?? 0;
    // To the end of the list: the one that was not heard of for longest goes first.
    this.#offsets.delete(userId);
    this.#offsets.set(userId, Math.max(offset, before));
    const [oldest] = this.#offsets.keys();
    if (this.#offsets.size > READERS_MAX && oldest !== undefined) this.#offsets.delete(oldest);
  }

  /** Who has read the message with this offset, the latest reader last. */
  of(offset: number): string[] {
    return [...this.#offsets].filter(([, read]) => read >= offset).map(([userId]) => userId);
  }

  clear(): void {
    this.#offsets.clear();
  }
}

const READERS_MAX = 1_000;
