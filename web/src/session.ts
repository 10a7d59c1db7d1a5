// One connection to the broker: stompjs and the page's three subscriptions. It is used once; reconnecting makes a new one.

import { Client, type IFrame } from '@stomp/stompjs';
import type { End } from './connection.ts';
import type { Settings } from './settings.ts';
import { ASK_MS, Silence } from './silence.ts';
import { outgoingBody, readError, readMembers, readRefusal, readRoomFrame } from './wire.ts';
import type { Member, Refusal, RoomFrame } from './wire.ts';

/** Whom a session tells. After `ended` nothing more comes. */
export interface Listener {
  /** The room's subscription is active; `me` is the name that the broker knows. */
  online(me: string): void;
  frame(frame: RoomFrame): void;
  members(members: Member[]): void;
  /** The broker has taken the SEND with this key. */
  receipt(key: string): void;
  refused(refusal: Refusal): void;
  /** `receiptId` names the frame that ended it, when one did. */
  ended(end: End, receiptId: string): void;
}

export class Session {
  readonly #client: Client;
  readonly #room: string;
  readonly #listener: Listener;
  #error: End | undefined;
  #receiptId = '';
  #over = false;
  #asking: ReturnType<typeof setInterval> | undefined;
  readonly #timeout: ReturnType<typeof setTimeout>;

  constructor(url: string, settings: Settings, listener: Listener) {
    this.#room = settings.room;
    this.#listener = listener;
    this.#client = new Client({
      brokerURL: url,
      connectHeaders:
        settings.token === ''
          ? { login: settings.name, passcode: DEVELOPMENT_PASSCODE }
          : { Authorization: `Bearer ${settings.token}` },
      // The page waits by itself, to show for how long.
      reconnectDelay: 0,
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 10_000,
      // stompjs counts the time in which the page was frozen; `Silence` judges instead.
      heartbeatToleranceMultiplier: Number.MAX_SAFE_INTEGER,
      onConnect: (frame) => this.#connected(frame),
      onStompError: (frame) => this.#refusedForGood(frame),
      onWebSocketClose: (event) => this.#closed(event as CloseEvent),
    });
    this.#client.activate();
    this.#timeout = setTimeout(() => this.#end({ why: 'The broker does not answer.', code: '' }), CONNECT_MS);
  }

  /** Sends a message of the room; `key` is its receipt too. */
  send(key: string, text: string): void {
    this.#client.publish({
      destination: `/app/chat/${this.#room}/send`,
      headers: { 'content-type': 'application/json', receipt: key, 'idempotency-key': key },
      body: outgoingBody(text, key),
    });
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
    const me = frame.headers['user-name'] ?? '';
    this.#client.onUnhandledReceipt = (receipt) => this.#receipt(receipt.headers['receipt-id'] ?? '', me);
    // First: while this one is open a refusal comes here and the session stays.
    this.#client.subscribe('/user/queue/errors', (message) => {
      const refusal = readRefusal(message.body);
      if (!refusal || this.#over) return;
      if (this.#isRooms(refusal)) this.#end(endOf(refusal));
      else this.#listener.refused(refusal);
    });
    this.#client.subscribe(
      `/topic/chat/${this.#room}`,
      (message) => {
        const read = readRoomFrame(message.body, Date.now());
        if (read && !this.#over) this.#listener.frame(read);
      },
      { receipt: ROOM_RECEIPT },
    );
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

  #receipt(id: string, me: string): void {
    if (this.#over) return;
    if (id !== ROOM_RECEIPT) return this.#listener.receipt(id);
    clearTimeout(this.#timeout);
    this.#listener.online(me);
    this.#client.subscribe(`/app/chat/${this.#room}/members`, (message) => {
      const members = readMembers(message.body);
      if (members && !this.#over) this.#listener.members(members);
    });
  }

  /** Whether it is the room itself that I may not have. */
  #isRooms(refusal: Refusal): boolean {
    return refusal.receiptId === ROOM_RECEIPT || refusal.destination === `/topic/chat/${this.#room}`;
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
}

function endOf({ message, code, retryAfter }: Refusal): End {
  return retryAfter === undefined ? { why: message, code } : { why: message, code, retryAfter };
}

function closedBecause(event: CloseEvent): string {
  if (event.code === RESTARTING) return 'The broker is restarting.';
  return event.reason || 'The broker cannot be reached.';
}

const DEVELOPMENT_PASSCODE = 'guest';
const ROOM_RECEIPT = 'room';
/** From opening the socket to being in the room, in milliseconds. */
const CONNECT_MS = 15_000;
/** WebSocket close code "service restart". */
const RESTARTING = 1012;
