// The state of the connection as the person at the page sees it.
//
//           start              connected
//   idle ----------> connecting ----------> online
//                     ^      |  lost           | lost
//                     | due  v                 |
//                     +-- waiting <------------+
//   any: refused by the broker -> refused (start leaves it); stop -> idle

import { backoffMs } from './backoff.ts';

export type Connection =
  | { is: 'idle' }
  | { is: 'connecting'; attempt: number }
  | { is: 'online' }
  /** `until` is in milliseconds since the epoch. */
  | { is: 'waiting'; attempt: number; until: number; why: string }
  | { is: 'refused'; why: string; code: string };

export type Happening =
  | { kind: 'start' }
  | { kind: 'connected' }
  /** `now` in milliseconds since the epoch, `random` in 0..1 for the jitter. */
  | { kind: 'lost'; end: End; now: number; random: number }
  | { kind: 'due' }
  | { kind: 'stop' };

/** Why a connection ended: what the ERROR frame said, or that there was none. */
export interface End {
  why: string;
  /** The ERROR's `error-code`; empty when the connection ended without one. */
  code: string;
  /** The ERROR's `retry-after`: milliseconds, `never`, or nothing said. */
  retryAfter?: number | 'never';
}

/** The state after `happening`; a happening that does not concern the state leaves it as it is. */
export function next(state: Connection, happening: Happening): Connection {
  switch (happening.kind) {
    case 'start':
      return { is: 'connecting', attempt: 0 };
    case 'stop':
      return { is: 'idle' };
    case 'connected':
      return state.is === 'connecting' ? { is: 'online' } : state;
    case 'due':
      return state.is === 'waiting' ? { is: 'connecting', attempt: state.attempt } : state;
    case 'lost':
      return lost(state, happening);
  }
}

function lost(state: Connection, { end, now, random }: Happening & { kind: 'lost' }): Connection {
  if (state.is !== 'connecting' && state.is !== 'online') return state;
  if (isFinal(end)) return { is: 'refused', why: end.why, code: end.code };
  const attempt = (state.is === 'connecting' ? state.attempt : 0) + 1;
  const asked = typeof end.retryAfter === 'number' ? end.retryAfter : 0;
  return { is: 'waiting', attempt, until: now + Math.max(asked, backoffMs(attempt, random)), why: end.why };
}

/** Whether trying again unasked is pointless: the broker said so, or the code says it. */
export function isFinal(end: End): boolean {
  if (end.retryAfter !== undefined) return end.retryAfter === 'never';
  return FINAL_CODES.has(end.code);
}

const FINAL_CODES = new Set([
  'bad-frame',
  'unsupported-version',
  'unauthorized',
  'token-expired',
  'token-revoked',
  'forbidden',
  'bad-destination',
  'kicked',
]);
