// What the broker sends of rooms, as text, made into values. What the page does not show or cannot read is `undefined`.

import { isObject, millis, parseObject, text, whole } from './json.ts';

export type RoomFrame =
  | { kind: 'message'; message: ChatMessage }
  /** `version` grows by one with each who comes or goes. */
  | { kind: 'join' | 'leave'; userId: string; at: number; version?: number }
  | { kind: 'status'; userId: string; status: string }
  | { kind: 'typing'; userId: string }
  /** `offset` is that of the last message that was read. */
  | { kind: 'read'; userId: string; offset: number }
  | { kind: 'count'; count: number; version?: number };

export interface ChatMessage {
  messageId: string;
  senderId: string;
  text: string;
  /** Milliseconds since the epoch. */
  at: number;
  /** The how many-th of its room; missing where the broker keeps none. */
  offset?: number;
  /** What the sender's page called it, see `outgoingBody`. */
  clientMessageId?: string;
}

/** What stands around a message of a room: its headers. */
export interface Envelope {
  /** Where it stands in what the broker keeps. */
  position?: string;
  /** False: before this one some are missing. */
  recovered?: boolean;
}

export interface Member {
  userId: string;
  status: string;
}

/** Who is in a room, or the first of them. */
export interface MembersAnswer {
  members: Member[];
  /** How many there are, listed or not. */
  count?: number;
  /** Events with a version up to this are in it. */
  version?: number;
}

/** How many messages of a room I have not read. */
export interface Unread {
  room: string;
  count: number;
  /** There are more than were counted. */
  more: boolean;
}

/** The body of a SEND to `/app/chat/{room}/send`; the broker passes `clientMessageId` on, so the sender finds its own. */
export function outgoingBody(text: string, clientMessageId: string): string {
  return JSON.stringify({ type: 'TEXT', content: text, clientMessageId });
}

/** Reads a MESSAGE of `/topic/chat/{room}`. */
export function readRoomFrame(body: string, now: number): RoomFrame | undefined {
  const frame = parseObject(body);
  if (!frame) return undefined;
  switch (frame.type) {
    case 'PRESENCE_COUNT': {
      const count = whole(frame.count);
      return count === undefined ? undefined : { kind: 'count', count, ...versionOf(frame) };
    }
    case 'TEXT':
    case 'SYSTEM':
    case 'IMAGE':
    case 'VOICE':
      return readMessage(frame, now);
    default:
      return readPersons(frame, now);
  }
}

/** Reads the headers of a MESSAGE or RECEIPT. */
export function readEnvelope(headers: Record<string, string>): Envelope {
  const { 'stompede-position': position, 'stompede-recovered': recovered } = headers;
  return {
    ...(position === undefined ? {} : { position }),
    ...(recovered === 'true' || recovered === 'false' ? { recovered: recovered === 'true' } : {}),
  };
}

/** Reads the answer of `/app/chat/{room}/members`. */
export function readMembers(body: string): MembersAnswer | undefined {
  const answer = parseObject(body);
  if (!answer || !Array.isArray(answer.members)) return undefined;
  const members = answer.members.flatMap((member: unknown) => {
    if (!isObject(member)) return [];
    const userId = text(member.userId);
    return userId === '' ? [] : [{ userId, status: text(member.status) || 'online' }];
  });
  const count = whole(answer.count);
  return { members, ...(count === undefined ? {} : { count }), ...versionOf(answer) };
}

/** Reads the answer of `/app/chat/unread`, and what comes on `/user/queue/unread`. */
export function readUnread(body: string): Unread[] | undefined {
  const rooms = parseObject(body)?.rooms;
  if (!Array.isArray(rooms)) return undefined;
  return rooms.flatMap((each: unknown) => {
    if (!isObject(each)) return [];
    const [room, count] = [text(each.chatRoomId), whole(each.unread)];
    return room === '' || count === undefined ? [] : [{ room, count, more: each.more === true }];
  });
}

/** An event about one person. */
function readPersons(frame: Record<string, unknown>, now: number): RoomFrame | undefined {
  const userId = text(frame.userId);
  if (userId === '') return undefined;
  switch (frame.type) {
    case 'JOIN':
      return { kind: 'join', userId, at: millis(frame.timestamp, now), ...versionOf(frame) };
    case 'LEAVE':
      return { kind: 'leave', userId, at: millis(frame.timestamp, now), ...versionOf(frame) };
    case 'STATUS':
      return { kind: 'status', userId, status: text(frame.status) || 'online' };
    case 'TYPING':
      return { kind: 'typing', userId };
    case 'READ': {
      const offset = whole(frame.offset);
      return offset === undefined ? undefined : { kind: 'read', userId, offset };
    }
    default:
      return undefined;
  }
}

function readMessage(frame: Record<string, unknown>, now: number): RoomFrame | undefined {
  const messageId = text(frame.messageId);
  if (messageId === '') return undefined;
  const content = typeof frame.content === 'string' ? frame.content : JSON.stringify(frame.content ?? '');
  const clientMessageId = text(frame.clientMessageId);
  const offset = whole(frame.offset);
  return {
    kind: 'message',
    message: {
      messageId,
      senderId: text(frame.senderId) || 'unknown',
      text: frame.type === 'TEXT' ? content : `[${String(frame.type).toLowerCase()}] ${content}`,
      at: millis(frame.timestamp, now),
      ...(offset === undefined ? {} : { offset }),
      ...(clientMessageId === '' ? {} : { clientMessageId }),
    },
  };
}

function versionOf(value: Record<string, unknown>): { version?: number } {
  const version = whole(value.version);
  return version === undefined ? {} : { version };
}
