// One connection to the broker: stompjs, a subscription for each room, and what concerns me alone. It is used once;
// reconnecting makes a new one.

import { Client, type IFrame, type IMessage, type IPublishParams } from '@stomp/stompjs';
import { isFinal, type End } from './connection.ts';
import { Entrance, type Entered } from './entrance.ts';
import { endOf, readError, readRefusal, type Refusal } from './refusal.ts';
import { LISTED_MAX } from './roster.ts';
import type { Settings } from './settings.ts';
import { ASK_MS, Silence } from './silence.ts';
import { outgoingBody, readMembers, readUnread } from './wire.ts';
import type { Envelope, MembersAnswer, RoomFrame, Unread } from './wire.ts';

/** Whom a session tells. After `ended` nothing more comes. */
export interface Listener {
  /** The broker knows me as `me`; rooms may be entered. */
  connected(me: string): void;
  /** The room's subscription is active. */
  entered(room: string, how: Entered): void;
  /** Every room that was to be entered is, or I may not have it. */
  online(): void;
  frame(room: string, frame: RoomFrame, envelope: Envelope): void;
  /** Who is in the room; nothing if that is not told to me. */
  members(room: string, members: MembersAnswer | undefined): void;
  unread(unread: Unread[]): void;
  /** The broker has taken the SEND with this key. */
  receipt(key: string): void;
  refused(refusal: Refusal): void;
  /** The room is not for me. */
  shut(room: string, end: End): void;
  /** `receiptId` names the frame that ended it, when one did. */
  ended(end: End, receiptId: string): void;
}

export class Session {
  readonly #client: Client;
  readonly #listener: Listener;
  readonly #entrances = new Map<string, Entrance>();
  /** What is to be done when a frame is refused of which the page can do without, by its receipt. */
  readonly #dispensable = new Map<string, () => void>();
  #serial = 0;
  #isOnline = false;
  #error: End | undefined;
  #receiptId = '';
  #over = false;
  #asking: ReturnType<typeof setInterval> | undefined;
  readonly #timeout: ReturnType<typeof setTimeout>;

  constructor(url: string, { name, token }: Pick<Settings, 'name' | 'token'>, listener: Listener) {
    this.#listener = listener;
    this.#client = new Client({
      brokerURL: url,
      connectHeaders: token === '' ? { login: name, passcode: DEVELOPMENT_PASSCODE } : { Authorization: `Bearer ${token}` },
      // The page waits by itself, to show for how long.
      reconnectDelay: 0,
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 10_000,
      // stompjs counts the time in which the page was frozen; `Silence` judges instead.
      heartbeatToleranceMultiplier: Number.MAX_SAFE_INTEGER,
      onConnect: (frame) => this.#connected(frame),
      onUnhandledReceipt: (frame) => this.#receipt(frame),
      onStompError: (frame) => this.#refusedForGood(frame),
      onWebSocketClose: (event) => this.#closed(event as CloseEvent),
    });
    this.#client.activate();
    this.#timeout = setTimeout(() => this.#end({ why: 'The broker does not answer.', code: '' }), CONNECT_MS);
  }

  /** Subscribes the room: what came after `position`, or the last so many, then what comes. */
  enter(room: string, position: string | undefined): void {
    if (!this.#isOpen) return;
    const receipt = () => this.#nextReceipt('enter');
    const heard = (frame: RoomFrame, envelope: Envelope) => !this.#over && this.#listener.frame(room, frame, envelope);
    this.#entrances.set(room, new Entrance(this.#client, room, position, receipt, heard));
  }

  /** Ends presence and membership there. */
  leave(room: string): void {
    if (!this.#isOpen) return;
    this.#send(`/app/chat/${room}/leave`, '');
    const entrance = this.#entrances.get(room);
    entrance?.close();
    if (entrance?.isOpen) this.#entrances.delete(room);
  }

  /** Sends a message of the room; `key` is its receipt too. */
  say(room: string, key: string, text: string): void {
    this.#publish({
      destination: `/app/chat/${room}/send`,
      headers: { 'content-type': JSON_TYPE, receipt: key, 'idempotency-key': key },
      body: outgoingBody(text, key),
    });
  }

  typing(room: string): void {
    this.#send(`/app/chat/${room}/typing`, '');
  }

  /** Everything up to the message with this offset is read. */
  markRead(room: string, offset: number): void {
    this.#send(`/app/chat/${room}/read`, JSON.stringify({ offset }));
  }

  /** Says `online`, `away`, ... of me; a refusal is told. */
  setStatus(status: string): void {
    const headers = { 'content-type': JSON_TYPE, receipt: STATUS_RECEIPT };
    this.#publish({ destination: STATUS, headers, body: JSON.stringify({ status }) });
  }

  askMembers(room: string): void {
    const tell = (body: string) => this.#listener.members(room, readMembers(body));
    const headers = { 'stompede-limit': String(LISTED_MAX) };
    this.#ask(`/app/chat/${room}/members`, headers, tell, () => this.#listener.members(room, undefined));
  }

  /** Leaves with DISCONNECT and tells the listener nothing more. */
  close(): void {
    this.#stop();
    void this.#client.deactivate();
  }

  #stop(): void {
    this.#over = true;
    clearTimeout(this.#timeout);
    clearInterval(this.#asking);
  }

  #connected(frame: IFrame): void {
    if (this.#over) return;
    this.#listen();
    // First: while this one is open a refusal comes here and the session stays.
    this.#client.subscribe('/user/queue/errors', (message) => {
      const refusal = readRefusal(message.body);
      if (refusal && !this.#over) this.#refuse(refusal);
    });
    const receipt = this.#nextReceipt('unread');
    this.#dispensable.set(receipt, () => {});
    this.#client.subscribe('/user/queue/unread', (message) => this.#unread(message.body), { receipt });
    this.#listener.connected(frame.headers['user-name'] ?? '');
  }

  /** Ends the session when the broker has been silent for too long. */
  #listen(): void {
    const silence = new Silence(performance.now());
    const socket = this.#client.webSocket as WebSocket | undefined;
    socket?.addEventListener('message', () => silence.heard(performance.now()));
    this.#asking = setInterval(() => {
      if (silence.isTooLong(performance.now())) this.#end({ why: 'The broker fell silent.', code: '' });
    }, ASK_MS);
  }

  /** On a socket that is closing, of which stompjs does not know yet, nothing can be sent. */
  get #isOpen(): boolean {
    return this.#client.connected && this.#client.webSocket?.readyState === WebSocket.OPEN;
  }

  #publish(send: IPublishParams): void {
    if (this.#isOpen) this.#client.publish(send);
  }

  /** A SEND that may as well be refused. */
  #send(destination: string, body: string): void {
    const receipt = this.#nextReceipt('send');
    this.#dispensable.set(receipt, () => {});
    this.#publish({ destination, headers: { 'content-type': JSON_TYPE, receipt }, body });
  }

  /** A SUBSCRIBE that is one question, with one answer. */
  #ask(destination: string, headers: Record<string, string>, tell: (body: string) => void, refused: () => void): void {
    if (!this.#isOpen) return;
    const receipt = this.#nextReceipt('ask');
    this.#dispensable.set(receipt, refused);
    const answer = (message: IMessage) => {
      if (this.#isOpen) question.unsubscribe();
      if (!this.#over) tell(message.body);
    };
    const question = this.#client.subscribe(destination, answer, { ...headers, receipt });
  }

  #receipt(frame: IFrame): void {
    const id = frame.headers['receipt-id'] ?? '';
    if (this.#over || this.#dispensable.delete(id)) return;
    for (const [room, entrance] of this.#entrances) {
      const entered = entrance.receive(id, frame.headers);
      if (!entered) continue;
      if (entrance.isClosed) this.#entrances.delete(room);
      else this.#listener.entered(room, entered);
      return this.#mayBeOnline();
    }
    this.#listener.receipt(id);
  }

  #mayBeOnline(): void {
    if (this.#isOnline || this.#over || [...this.#entrances.values()].some((entrance) => !entrance.isOpen)) return;
    this.#isOnline = true;
    clearTimeout(this.#timeout);
    this.#listener.online();
    this.#ask('/app/chat/unread', {}, (body) => this.#unread(body), () => {});
  }

  #unread(body: string): void {
    const unread = readUnread(body);
    if (unread && !this.#over) this.#listener.unread(unread);
  }

  #refuse(refusal: Refusal): void {
    const dispensable = this.#dispensable.get(refusal.receiptId);
    if (dispensable) {
      this.#dispensable.delete(refusal.receiptId);
      return dispensable();
    }
    for (const [room, entrance] of this.#entrances) {
      if (!entrance.concerns(refusal)) continue;
      if (entrance.retry(refusal)) return;
      if (!isFinal(endOf(refusal))) return this.#end(endOf(refusal));
      this.#entrances.delete(room);
      if (!entrance.isClosed) this.#listener.shut(room, endOf(refusal));
      return this.#mayBeOnline();
    }
    this.#listener.refused(refusal);
  }

  #refusedForGood(frame: IFrame): void {
    this.#error = readError(frame.headers);
    this.#receiptId = frame.headers['receipt-id'] ?? '';
  }

  #closed(event: CloseEvent): void {
    this.#end(this.#error ?? { why: closedBecause(event), code: '' });
  }

  #end(end: End): void {
    if (this.#over) return;
    this.#stop();
    // Without a farewell, for which a dead connection would wait for ever.
    void this.#client.deactivate({ force: true });
    this.#listener.ended(end, this.#receiptId);
  }

  #nextReceipt(what: string): string {
    this.#serial += 1;
    return `${what}-${this.#serial}`;
  }
}

function closedBecause(event: CloseEvent): string {
  if (event.code === RESTARTING) return 'The broker is restarting.';
  return event.reason || 'The broker cannot be reached.';
}

/** Where a status is sent. */
export const STATUS = '/app/user/status';

const STATUS_RECEIPT = 'status';
const JSON_TYPE = 'application/json';
const DEVELOPMENT_PASSCODE = 'guest';
/** From opening the socket to being in the rooms, in milliseconds. */
const CONNECT_MS = 15_000;
/** WebSocket close code "service restart". */
const RESTARTING = 1012;
