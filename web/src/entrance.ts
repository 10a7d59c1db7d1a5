// The subscription of one room on one connection. It wants what was said before, and does without where that is refused.

import type { Client, StompSubscription } from '@stomp/stompjs';
import type { Refusal } from './refusal.ts';
import { readEnvelope, readRoomFrame, type Envelope, type RoomFrame } from './wire.ts';

/** How a room was entered. */
export interface Entered extends Envelope {
  /** What was said before is shown to me. */
  history: boolean;
}

export class Entrance {
  readonly #client: Client;
  readonly #topic: string;
  readonly #nextReceipt: () => string;
  readonly #heard: (frame: RoomFrame, envelope: Envelope) => void;
  #history = true;
  #receipt: string;
  #open = false;
  #closed = false;
  #subscription: StompSubscription;

  /** Subscribes from `position` on, or with the last messages. */
  constructor(
    client: Client,
    room: string,
    position: string | undefined,
    nextReceipt: () => string,
    heard: (frame: RoomFrame, envelope: Envelope) => void,
  ) {
    this.#client = client;
    this.#topic = `/topic/chat/${room}`;
    this.#nextReceipt = nextReceipt;
    this.#heard = heard;
    this.#receipt = nextReceipt();
    // Where the position is not known any more, the last ones come all the same.
    const since: Record<string, string> = position === undefined ? {} : { 'stompede-since': position };
    this.#subscription = this.#subscribe({ ...since, 'stompede-history': String(HISTORY) });
  }

  get isOpen(): boolean {
    return this.#open;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Takes a RECEIPT; tells how the room was entered if it is the one of this subscription. */
  receive(receiptId: string, headers: Record<string, string>): Entered | undefined {
    if (receiptId !== this.#receipt) return undefined;
    this.#open = true;
    if (this.#closed) this.#subscription.unsubscribe();
    return { ...readEnvelope(headers), history: this.#history };
  }

  /** Whether it is this room that I may not have. */
  concerns({ receiptId, destination }: Refusal): boolean {
    return receiptId === this.#receipt || destination === this.#topic;
  }

  /** Tries once more, without what was said before. Tells whether it does. */
  retry(refusal: Refusal): boolean {
    if (refusal.code !== 'forbidden' || this.#open || this.#closed || !this.#history) return false;
    this.#history = false;
    this.#receipt = this.#nextReceipt();
    this.#subscription = this.#subscribe({});
    return true;
  }

  /** Ends the subscription, or sees to it that it ends: what may be refused yet must not be ended. */
  close(): void {
    this.#closed = true;
    if (this.#open) this.#subscription.unsubscribe();
  }

  #subscribe(headers: Record<string, string>): StompSubscription {
    return this.#client.subscribe(
      this.#topic,
      (message) => {
        const frame = readRoomFrame(message.body, Date.now());
        if (frame && !this.#closed) this.#heard(frame, readEnvelope(message.headers));
      },
      { ...headers, receipt: this.#receipt },
    );
  }
}

/** So many messages are shown of what was said before. */
const HISTORY = 50;
