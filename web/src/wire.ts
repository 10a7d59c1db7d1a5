// What the broker sends, as text, made into values. Nothing here is trusted: anything unexpected is `undefined`.

import type { End } from './connection.ts';

export type RoomFrame =
  | { kind: 'message'; message: ChatMessage }
  | { kind: 'join' | 'leave'; userId: string; at: number }
  | { kind: 'status'; userId: string; status: string }
  | { kind: 'count'; count: number };

export interface ChatMessage {
  messageId: string;
  senderId: string;
  text: string;
  /** Milliseconds since the epoch. */
  at: number;
  /** What the sender's page called it, see `outgoingBody`. */
  clientMessageId?: string;
}

export interface Member {
  userId: string;
  status: string;
}

/** A refusal as it comes on `/user/queue/errors`. */
export interface Refusal {
  code: string;
  message: string;
  destination: string;
  receiptId: string;
  retryAfter?: number | 'never';
}

/** The body of a SEND to `/app/chat/{room}/send`; the broker passes `clientMessageId` on, so the sender finds its own. */
export function outgoingBody(text: string, clientMessageId: string): string {
  return JSON.stringify({ type: 'TEXT', content: text, clientMessageId });
}

/** Reads a MESSAGE of `/topic/chat/{room}`; kinds that the page does not show are `undefined`. */
export function readRoomFrame(body: string, now: number): RoomFrame | undefined {
  const frame = parseObject(body);
  if (!frame) return undefined;
  const userId = text(frame.userId);
  switch (frame.type) {
    case 'JOIN':
      return userId === '' ? undefined : { kind: 'join', userId, at: millis(frame.timestamp, now) };
    case 'LEAVE':
      return userId === '' ? undefined : { kind: 'leave', userId, at: millis(frame.timestamp, now) };
    case 'STATUS':
      return userId === '' ? undefined : { kind: 'status', userId, status: text(frame.status) };
    case 'PRESENCE_COUNT':
      return typeof frame.count === 'number' ? { kind: 'count', count: frame.count } : undefined;
    case 'TEXT':
    case 'SYSTEM':
    case 'IMAGE':
    case 'VOICE':
      return readMessage(frame, now);
    default:
      return undefined;
  }
}

/** Reads the answer of `/app/chat/{room}/members`. */
export function readMembers(body: string): Member[] | undefined {
  const members = parseObject(body)?.members;
  if (!Array.isArray(members)) return undefined;
  return members.flatMap((member: unknown) => {
    if (!isObject(member)) return [];
    const userId = text(member.userId);
    return userId === '' ? [] : [{ userId, status: text(member.status) || 'online' }];
  });
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

function readMessage(frame: Record<string, unknown>, now: number): RoomFrame | undefined {
  const messageId = text(frame.messageId);
  if (messageId === '') return undefined;
  const content = typeof frame.content === 'string' ? frame.content : JSON.stringify(frame.content ?? '');
  const clientMessageId = text(frame.clientMessageId);
  return {
    kind: 'message',
    message: {
      messageId,
      senderId: text(frame.senderId) || 'unknown',
      text: frame.type === 'TEXT' ? content : `[${String(frame.type).toLowerCase()}] ${content}`,
      at: millis(frame.timestamp, now),
      ...(clientMessageId === '' ? {} : { clientMessageId }),
    },
  };
}

function retryAfter(value: unknown): { retryAfter?: number | 'never' } {
  if (value === 'never') return { retryAfter: 'never' };
  const ms = typeof value === 'string' && value !== '' ? Number(value) : value;
  return typeof ms === 'number' && Number.isFinite(ms) && ms >= 0 ? { retryAfter: ms } : {};
}

function millis(value: unknown, fallback: number): number {
  const ms = typeof value === 'string' ? Date.parse(value) : value;
  return typeof ms === 'number' && Number.isFinite(ms) ? ms : fallback;
}

/** An identifier may be a number on the wire. */
function text(value: unknown): string {
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' ? value : '';
}

function parseObject(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
