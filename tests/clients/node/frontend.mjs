// A frontend as teams have them, with stompjs 2.3.3 or with @stomp/stompjs 7, behind one set of words; and what really came
// over its socket.

import { request } from 'node:http';
import { createRequire } from 'node:module';
import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { DEADLINE_MS, Inbox, within } from './peer.mjs';

const { Stomp } = createRequire(import.meta.url)('stompjs/lib/stomp.js');
// Where there is no `window` the library is told how time passes.
Stomp.setInterval = (ms, tick) => setInterval(tick, ms);
Stomp.clearInterval = (timer) => clearInterval(timer);

/** stompjs 2.3.3, as most tutorials on Spring have it. */
export const OLD = {
  name: 'stompjs 2.3.3',
  version: '1.1',
  /** What `Stomp.client(url)` offers. */
  protocols: ['v10.stomp', 'v11.stomp'],
  begin(front, socket, headers, heartBeat) {
    const client = Stomp.over(socket);
    client.debug = () => {};
    client.heartbeat = { outgoing: heartBeat, incoming: heartBeat };
    client.onreceipt = ({ headers }) => front.receipts.put(headers['receipt-id']);
    client.onreceive = (message) => front.strays.put(message);
    const connected = (frame) => front.connections.put(frame);
    // The library says by the same callback that the connection is lost, as a text.
    client.connect(headers, connected, (fault) => fault.command === 'ERROR' && front.errors.put(fault));
    return {
      subscribe: (destination, take, more) => client.subscribe(destination, take, more),
      send: (destination, more, body) => client.send(destination, more, body),
      end: () => client.connected && client.disconnect(),
    };
  },
};

/** @stomp/stompjs 7. */
export const NEW = {
  name: '@stomp/stompjs 7',
  version: '1.2',
  protocols: ['v12.stomp', 'v11.stomp', 'v10.stomp'],
  begin(front, socket, connectHeaders, heartBeat) {
    const client = new Client({
      webSocketFactory: () => socket,
      connectHeaders,
      reconnectDelay: 0,
      heartbeatIncoming: heartBeat,
      heartbeatOutgoing: heartBeat,
      onConnect: (frame) => front.connections.put(frame),
      onStompError: (frame) => front.errors.put(frame),
      onUnhandledMessage: (message) => front.strays.put(message),
      onUnhandledReceipt: ({ headers }) => front.receipts.put(headers['receipt-id']),
    });
    client.activate();
    return {
      subscribe: (destination, take, more) => client.subscribe(destination, take, more),
      send: (destination, headers, body) => client.publish({ destination, headers, body }),
      end: () => client.deactivate(),
    };
  },
};

/** What came over a socket, frame by frame; a heart-beat is a line feed. */
export class Log {
  #texts = [];
  #waiting = new Set();

  put(data) {
    const pieces = String(data).split('\0').filter((text) => text !== '');
    for (const text of pieces) {
      this.#texts.push(text);
      for (const look of this.#waiting) look();
    }
  }

  /** Whether such a frame has come and was not taken. */
  has(command) {
    return this.#texts.some((text) => text.startsWith(`${command}\n`));
  }

  /** The first for which `wanted` holds, a word of the beginning or a function, now or later; it is then taken out. */
  next(wanted) {
    const fits = typeof wanted === 'string' ? (text) => text.startsWith(`${wanted}\n`) : wanted;
    const found = new Promise((resume) => {
      const look = () => {
        const at = this.#texts.findIndex(fits);
        if (at < 0) return;
        this.#waiting.delete(look);
        resume(this.#texts.splice(at, 1)[0]);
      };
      this.#waiting.add(look);
      look();
    });
    return within(found, `${wanted} among ${JSON.stringify(this.#texts)}`);
  }
}

export class Frontend {
  connections = new Inbox('CONNECTED');
  errors = new Inbox('ERROR');
  receipts = new Inbox('RECEIPT');
  strays = new Inbox('no subscription');
  closes = new Inbox('close');
  wire = new Log();
  #kind;
  #client;
  #serial = 0;

  constructor(kind, socket, headers, heartBeat = 0) {
    this.#kind = kind;
    this.socket = socket;
    this.#client = kind.begin(this, socket, headers, heartBeat);
    // stompjs 2.3.3 sets the handlers of the socket; listeners stand beside them.
    socket.addEventListener('message', ({ data }) => this.wire.put(data));
    socket.addEventListener('close', ({ code }) => this.closes.put(code));
    socket.addEventListener('error', () => {});
  }

  /** Subscribes as a frontend does, and waits until that is active. */
  async subscribe(destination, headers = {}) {
    const receipt = this.#name();
    const inbox = this.listen(destination, { receipt, ...headers });
    await this.receipted(receipt);
    return inbox;
  }

  /** Subscribes without waiting for anything. */
  listen(destination, headers = {}) {
    const inbox = Object.assign(new Inbox(`${destination} (${this.#kind.name})`), { destination });
    inbox.subscription = this.#client.subscribe(destination, (message) => inbox.put(message), headers);
    return inbox;
  }

  /** Sends, and waits until that is accepted. */
  async send(destination, body = '', headers = {}) {
    const receipt = this.#name();
    this.post(destination, body, { receipt, ...headers });
    await this.receipted(receipt);
  }

  /** Sends without waiting for anything. */
  post(destination, body = '', headers = {}) {
    this.#client.send(destination, headers, body);
  }

  /** Writes a frame as it stands, a NUL behind it. */
  write(frame) {
    this.socket.send(`${frame}\0`);
  }

  async receipted(receipt) {
    for (;;) if ((await this.receipts.next()) === receipt) return;
  }

  /** Everything that was sent before is done. */
  async settled() {
    await this.send('/topic/fence');
  }

  /** The ERROR and the code of the close that follows. */
  async ended() {
    const { headers, body } = await this.errors.next();
    return { ...headers, body, close: await this.closes.next() };
  }

  end() {
    return this.#client.end();
  }

  #name() {
    return `receipt-${(this.#serial += 1)}`;
  }
}

/** A frontend that is connected; the test `t` closes it at its end. */
export async function frontend(t, kind, broker, { headers, socket, heartBeat, options } = {}) {
  const front = new Frontend(kind, socket ?? new WebSocket(broker.url, kind.protocols, options), headers, heartBeat);
  t.after(async () => {
    await front.end();
    front.socket.close();
  });
  return front;
}

/** As `frontend`, with CONNECTED. */
export async function connected(t, kind, broker, more) {
  const front = await frontend(t, kind, broker, more);
  front.connected = (await front.connections.next()).headers;
  return front;
}

/** A socket on which frames are written by hand. */
export class Bare {
  wire = new Log();
  closes = new Inbox('close');
  /** Whether each message was binary. */
  kinds = [];

  static async open(t, url, options = {}) {
    const bare = new Bare();
    bare.socket = new WebSocket(url, options.protocols ?? [], options);
    bare.socket.on('message', (data, isBinary) => {
      bare.kinds.push(isBinary);
      bare.wire.put(data);
    });
    bare.socket.on('close', (code) => bare.closes.put(code));
    bare.socket.on('error', () => {});
    t.after(() => bare.socket.terminate());
    await within(new Promise((resume) => bare.socket.once('open', resume)), 'the WebSocket');
    return bare;
  }

  /** Writes frames, each with its NUL, as one message. */
  write(...frames) {
    this.socket.send(frames.map((frame) => `${frame}\0`).join(''));
  }

  /** Says CONNECT, with these lines, and waits for CONNECTED. */
  async connect(...lines) {
    this.write(['CONNECT', ...lines, '', ''].join('\n'));
    return headersOf(await this.wire.next('CONNECTED'));
  }

  /** The headers of the ERROR, and the code of the close behind it. */
  async ended() {
    const error = headersOf(await this.wire.next('ERROR'));
    return { ...error, close: await this.closes.next(DEADLINE_MS) };
  }
}

/** The header lines of a frame, as they stand on the wire; of repeated ones the first. */
export function headersOf(frame) {
  const [head] = frame.split('\n\n');
  const lines = head.split('\n').slice(1);
  return Object.fromEntries(lines.reverse().map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

/** A request as it stands, over a connection of its own. */
export function ask(broker, method, path, headers = {}) {
  const [host, port] = broker.http.split(':');
  const answered = new Promise((resume, fail) => {
    const asked = request({ host, port, path, method, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text) => (body += text));
      response.on('end', () => resume({ status: response.statusCode, headers: response.headers, body }));
    });
    asked.on('error', fail);
    asked.end();
  });
  return within(answered, `an answer to ${method} ${path}`);
}
