// People who talk in rooms whatever happens to the line: each resumes where he was, repeats what was not confirmed, and writes
// down what he sees for the oracle.

import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { pause, until } from '../cluster.mjs';
import { gapsTold, judge } from './oracle.mjs';

/** One of them, with one connection at a time. */
class Member {
  /** Of each room, the position of what he saw last. */
  #positions = new Map();
  /** Of each key that is not confirmed, its room. */
  #unconfirmed = new Map();
  /** Rooms of which the subscription on this connection is confirmed. */
  #active = new Set();
  #serial = 0;
  /** `server` header of the latest CONNECTED. */
  server;
  connections = 0;
  /** Codes of refusals and of ends. */
  refusals = [];

  constructor(company, login, rooms, { isSignalled = false } = {}) {
    Object.assign(this, { company, login, rooms, isSignalled });
    this.client = new Client({
      webSocketFactory: () => new WebSocket(company.url, ['v12.stomp']),
      connectHeaders: { login, passcode: 'guest' },
      reconnectDelay: RECONNECT_MS,
      connectionTimeout: CONNECT_MS,
      heartbeatIncoming: HEART_BEAT_MS,
      heartbeatOutgoing: HEART_BEAT_MS,
      onConnect: (frame) => this.#begin(frame),
      onStompError: (frame) => this.refusals.push(frame.headers['error-code']),
      onWebSocketClose: () => this.#active.clear(),
      onWebSocketError: () => {},
    });
  }

  /** Whether he is connected, and hears all his rooms. */
  get isThere() {
    return this.client.connected && this.#active.size === this.rooms.length;
  }

  /** How many of his messages are not confirmed. */
  get waiting() {
    return this.#unconfirmed.size;
  }

  /** Says something in a room; gives its key. */
  say(room) {
    const key = `${this.login}-${(this.#serial += 1)}`;
    this.#unconfirmed.set(key, room);
    this.#send(room, key);
    return key;
  }

  /** Loses the connection as on a failing network, and comes back by himself. */
  cut() {
    this.client.webSocket?.terminate();
  }

  #begin({ headers }) {
    this.server = headers.server;
    this.connections += 1;
    this.client.subscribe('/user/queue/errors', (message) => this.#refused(JSON.parse(message.body)));
    for (const room of this.rooms) this.#enter(room);
    for (const [key, room] of this.#unconfirmed) this.#send(room, key);
  }

  #enter(room) {
    const { webSocket } = this.client;
    const position = this.#positions.get(room);
    const receipt = `enter ${room} ${(this.#serial += 1)}`;
    let isFirst = true;
    this.client.watchForReceipt(receipt, ({ headers }) => {
      const recovered = position ? headers['stompede-recovered'] === 'true' : undefined;
      this.company.record({ kind: 'subscribed', room, reader: this.login, recovered });
      this.#active.add(room);
      if (isFirst) this.#positions.set(room, headers['stompede-position'] ?? position);
    });
    const hear = ({ headers, body }) => {
      // What still came on a connection that he has given up.
      if (webSocket !== this.client.webSocket) return;
      isFirst = false;
      this.#hear(room, headers, body);
    };
    const from = position ? { 'stompede-since': position } : { 'stompede-history': '0' };
    const signals = this.isSignalled ? { 'stompede-signals': 'message' } : {};
    this.client.subscribe(`/topic/chat/${room}`, hear, { receipt, ...from, ...signals });
  }

  #hear(room, headers, body) {
    if (headers['stompede-event'] === 'gap') return this.company.record({ kind: 'gap', room, reader: this.login });
    // Of events nothing is promised but that a gap before them is told.
    const recovered = headers['stompede-recovered'] === 'false' ? false : undefined;
    if (headers.event) {
      if (recovered === false) this.company.record({ kind: 'gap', room, reader: this.login });
      return;
    }
    const position = headers['stompede-position'];
    this.#positions.set(room, position);
    this.company.record({ kind: 'message', room, reader: this.login, key: JSON.parse(body).content, position, recovered });
  }

  #send(room, key) {
    if (!this.client.connected) return;
    this.client.watchForReceipt(key, () => {
      if (this.#unconfirmed.delete(key)) this.company.record({ kind: 'receipt', room, by: this.login, key });
    });
    this.company.record({ kind: 'sent', room, by: this.login, key });
    const headers = { receipt: key, 'idempotency-key': key };
    this.client.publish({ destination: `/app/chat/${room}/send`, body: JSON.stringify({ type: 'TEXT', content: key }), headers });
  }

  /** A refusal on the errors queue: what may be tried again is. */
  #refused({ code, receiptId, retryAfter }) {
    this.refusals.push(code);
    const again = () => {
      if (!this.client.connected) return;
      const room = this.#unconfirmed.get(receiptId);
      if (room !== undefined) this.#send(room, receiptId);
      else if (receiptId?.startsWith('enter ')) this.#enter(receiptId.split(' ')[1]);
    };
    if (typeof retryAfter === 'number') setTimeout(again, Math.min(retryAfter, 500));
  }
}

/** All of them, and what they have seen. */
export class Company {
  members = [];
  events = [];
  /** Messages that were confirmed. */
  confirmed = 0;
  /** Of each key, who heard it. */
  #heard = new Map();

  constructor(url) {
    this.url = url;
  }

  /** Somebody comes; the test `t` sends him away at its end. */
  come(t, login, rooms, options) {
    const member = new Member(this, login, rooms, options);
    this.members.push(member);
    member.client.activate();
    t.after(() => member.client.deactivate({ force: true }));
    return member;
  }

  record(event) {
    this.events.push(event);
    if (event.kind === 'receipt') this.confirmed += 1;
    if (event.kind !== 'message') return;
    if (!this.#heard.has(event.key)) this.#heard.set(event.key, new Set());
    this.#heard.get(event.key).add(event.reader);
  }

  /** Waits until all are connected and hear their rooms. */
  async gathered(ms) {
    const missing = () => this.members.filter((member) => !member.isThere).map(({ login }) => login);
    await until(() => missing().length === 0, () => `${missing().slice(0, 5)} to be back`, ms);
  }

  /**
   * Waits until everything that was said is confirmed and everybody has heard the last of each room. Nothing that was sent
   * before a gap was told is waited for, but that there is an end to what is.
   */
  async settled(ms = 30_000) {
    const deadline = performance.now() + ms;
    const left = () => Math.max(0, deadline - performance.now());
    await this.gathered(left());
    const waiting = () => this.members.filter((member) => member.waiting > 0).map(({ login, waiting }) => `${login}: ${waiting}`);
    await until(() => waiting().length === 0, () => `receipts (${waiting().slice(0, 5)})`, left());
    const rooms = new Set(this.members.flatMap((member) => member.rooms));
    await Promise.all([...rooms].map((room) => this.#finished(room, left())));
  }

  /** Says last words in a room until all there have heard some. */
  async #finished(room, ms) {
    const here = this.members.filter((member) => member.rooms.includes(room));
    const deadline = performance.now() + ms;
    for (;;) {
      const key = here[0].say(room);
      const lacking = () => here.map(({ login }) => login).filter((login) => !this.#heard.get(key)?.has(login));
      const heard = await until(() => lacking().length === 0, 'all', LAST_WORD_MS).catch(() => false);
      if (heard) return;
      if (performance.now() > deadline) throw new Error(`${lacking().slice(0, 5)} did not hear the last word in ${room}`);
    }
  }

  /** What is wrong with what they have seen. */
  faults() {
    return judge(this.events);
  }

  /** How often one of them was told that something is missing. */
  get gaps() {
    return gapsTold(this.events);
  }
}

/** Numbers from 0 to 1 that follow from a seed alone (mulberry32). */
export function chances(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Has everybody talk, each at moments of his own; gives what ends it. */
export function talk(company, chance, perSecond) {
  let isOver = false;
  const talking = company.members.map(async (member) => {
    while (!isOver) {
      await pause((2_000 * chance()) / perSecond);
      if (!isOver) member.say(member.rooms[Math.floor(chance() * member.rooms.length)]);
    }
  });
  return async () => {
    isOver = true;
    await Promise.all(talking);
  };
}

const RECONNECT_MS = 100;
const CONNECT_MS = 5_000;
const HEART_BEAT_MS = 4_000;
const LAST_WORD_MS = 5_000;
