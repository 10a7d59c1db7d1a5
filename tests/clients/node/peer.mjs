// A stompjs client as the tests use it: everything is awaited, with a deadline.

import { Client, Versions } from '@stomp/stompjs';
import WebSocket from 'ws';

/** Longest wait for anything that is to come, in milliseconds. */
export const DEADLINE_MS = 8_000;

/** `promise`, or an error that says what did not happen. */
export function within(promise, what, ms = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A queue of what arrives. */
export class Inbox {
  #waiting = [];
  #arrived = [];

  constructor(what) {
    this.what = what;
  }

  put(item) {
    const next = this.#waiting.shift();
    if (next) next(item);
    else this.#arrived.push(item);
  }

  /** The oldest that nobody took yet. */
  next(ms) {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return within(new Promise((resume) => this.#waiting.push(resume)), `a message of ${this.what}`, ms);
  }

  /** The bodies of the next `count`. */
  async bodies(count) {
    const bodies = [];
    while (bodies.length < count) bodies.push((await this.next()).body);
    return bodies;
  }

  /** How many have arrived and were not taken. */
  get size() {
    return this.#arrived.length;
  }
}

export class Peer {
  client;
  /** Headers of the latest CONNECTED. */
  connected;
  /** Each CONNECTED, the first included. */
  connections = new Inbox('CONNECTED');
  errors = new Inbox('ERROR');
  closes = new Inbox('close');
  /** MESSAGEs of subscriptions that stompjs does not know. */
  strays = new Inbox('no subscription');
  #serial = 0;
  /** Called at each CONNECTED, before anybody else is told. */
  onConnect = () => {};

  constructor(broker, options) {
    const { version = '1.2', login = 'alice', passcode = 'guest', headers = {}, socket = {}, protocols, ...config } = options;
    const versions = new Versions([version]);
    this.client = new Client({
      stompVersions: versions,
      webSocketFactory: () =>
        new WebSocket(broker.url, protocols ?? versions.protocolVersions(), { rejectUnauthorized: false, ...socket }),
      connectHeaders: login === undefined ? headers : { login, passcode, ...headers },
      reconnectDelay: 0,
      heartbeatIncoming: 0,
      heartbeatOutgoing: 0,
      onConnect: (frame) => {
        this.connected = frame.headers;
        this.onConnect();
        this.connections.put(frame);
      },
      onStompError: (frame) => this.errors.put(frame),
      onWebSocketClose: (event) => this.closes.put(event),
      onUnhandledMessage: (message) => this.strays.put(message),
      ...config,
    });
  }

  /** Subscribes and waits for the RECEIPT. */
  async subscribe(destination, headers = {}) {
    const inbox = new Inbox(destination);
    const receipt = this.receipt();
    inbox.subscription = this.client.subscribe(destination, (message) => inbox.put(message), { receipt: receipt.id, ...headers });
    await receipt;
    return inbox;
  }

  /** Sends and waits for the RECEIPT. */
  async send(destination, body, headers = {}) {
    const receipt = this.receipt();
    const content = typeof body === 'string' ? { body } : { binaryBody: body };
    this.client.publish({ destination, ...content, headers: { receipt: receipt.id, ...headers } });
    await receipt;
  }

  /** Writes a frame that stompjs has no call for, or none that takes headers, and waits for the RECEIPT. */
  async frame(command, headers, body = '') {
    const receipt = this.receipt();
    this.write(command, { ...headers, receipt: receipt.id }, body);
    await receipt;
  }

  /** Writes a frame as it stands. */
  write(command, headers, body = '') {
    const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
    this.client.webSocket.send(`${command}\n${lines.join('')}\n${body}\0`);
  }

  /** A promise of a RECEIPT, with the `id` to ask for it. */
  receipt() {
    const id = `r-${++this.#serial}`;
    const promise = within(new Promise((resume) => this.client.watchForReceipt(id, resume)), `RECEIPT ${id}`);
    promise.id = id;
    // An ERROR may come instead: the test that expects it does not await this.
    promise.catch(() => {});
    return promise;
  }

  /** The ERROR and then the close that follows it. */
  async ended() {
    const error = await this.errors.next();
    const close = await this.closes.next();
    return { ...error.headers, body: error.body, close: close.code };
  }

  /** DISCONNECT, its RECEIPT, and the close. */
  async leave() {
    await within(this.client.deactivate(), 'the end of DISCONNECT');
  }

  /** What is in a work queue, without taking any of it. */
  async look(queue) {
    const shown = new Inbox(`a look at ${queue}`);
    const looking = this.client.subscribe(queue, (message) => shown.put(message), { browser: 'true' });
    const messages = [];
    for (;;) {
      const message = await shown.next();
      if (message.headers.browser === 'end') break;
      messages.push(message);
    }
    looking.unsubscribe();
    return messages;
  }

  /** Breaks the connection as a failing network does. */
  async drop() {
    this.client.reconnectDelay = 0;
    const closed = this.closes.next();
    this.client.webSocket.terminate();
    await closed;
  }
}

/** Connects and waits for CONNECTED; the test `t` closes it at its end. */
export async function connect(t, broker, options = {}) {
  const peer = open(t, broker, options);
  await peer.connections.next();
  return peer;
}

/** Begins to connect, for tests in which CONNECTED may not come. */
export function open(t, broker, options = {}) {
  const peer = new Peer(broker, options);
  peer.client.activate();
  t.after(() => peer.client.deactivate({ force: true }));
  return peer;
}

/** A name that no other test uses. */
export function unique(prefix) {
  return `${prefix}-${process.pid}-${++names}`;
}

let names = 0;
