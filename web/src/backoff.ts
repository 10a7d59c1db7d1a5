// How long to wait before the next attempt to connect.

/**
 * Milliseconds before attempt number `attempt` (the first retry is 1): a base that doubles from half a second up to
 * ten, of which the upper half is random, so that the pages of a restarted broker do not come back in one instant.
 * `random` is in 0..1.
 */
export function backoffMs(attempt: number, random: number): number {
  const base = Math.min(MAX_MS, FIRST_MS * 2 ** Math.max(0, attempt - 1));
  return Math.round(base / 2 + (base / 2) * random);
}

const FIRST_MS = 1_000;
const MAX_MS = 10_000;
