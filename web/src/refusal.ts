// How the broker says no: in a MESSAGE, or by ERROR and the end.

import type { End } from './connection.ts';
import { parseObject, text } from './json.ts';

/** A refusal as it comes on `/user/queue/errors`. */
export interface Refusal {
  code: string;
  message: string;
  destination: string;
  receiptId: string;
  retryAfter?: number | 'never';
}

/** Reads a MESSAGE of `/user/queue/errors`. */
export function readRefusal(body: string): Refusal | undefined {
  const refusal = parseObject(body);
  if (!refusal) return undefined;
  return {
    code: text(refusal.code),
    message: text(refusal.message) || 'The broker refused this.',
    destination: text(refusal.destination),
    receiptId: text(refusal.receiptId),
    ...retryAfter(refusal.retryAfter),
  };
}

/** Reads the headers of an ERROR frame. */
export function readError(headers: Record<string, string>): End {
  return {
    why: headers.message || 'The broker ended the connection.',
    code: headers['error-code'] ?? '',
    ...retryAfter(headers['retry-after']),
  };
}

/** The end of a connection that a refusal brings about. */
export function endOf({ message, code, retryAfter }: Refusal): End {
  return retryAfter === undefined ? { why: message, code } : { why: message, code, retryAfter };
}

function retryAfter(value: unknown): { retryAfter?: number | 'never' } {
  if (value === 'never') return { retryAfter: 'never' };
  const ms = typeof value === 'string' && value !== '' ? Number(value) : value;
  return typeof ms === 'number' && Number.isFinite(ms) && ms >= 0 ? { retryAfter: ms } : {};
}
