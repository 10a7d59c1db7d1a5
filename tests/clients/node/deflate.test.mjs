// permessage-deflate with Node's ws, which inflates with zlib: alone and under stompjs.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { Broker } from '../broker.mjs';
import { connect, unique, within } from './peer.mjs';

const AGREED = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

/** Text that shrinks well, with characters of several bytes. */
const PRICES = Array.from({ length: 400 }, (_, n) => ({ symbol: `S${n}`, bid: n / 4, name: 'Börse Zürich' }));
const LONG = JSON.stringify(PRICES);

let broker;
before(async () => (broker = await Broker.start({ config: '[websocket]\ncompression = true\n' })));
after(() => broker?.stop());

/** Options of stompjs with which ws offers compression by `perMessageDeflate`. */
const offering = (perMessageDeflate, more = {}) => ({ socket: { perMessageDeflate }, ...more });

describe('whatever ws offers', () => {
  const offers = [
    ['by default', true, AGREED],
    ['for small messages too', { threshold: 0 }, AGREED],
    ['with a small window of its own', { threshold: 0, clientMaxWindowBits: 9 }, AGREED],
    ['without a window of its own', { threshold: 0, clientMaxWindowBits: undefined }, AGREED],
    ['with the largest window of the server', { serverMaxWindowBits: 15 }, `${AGREED}; server_max_window_bits=15`],
    ['without context takeover', { threshold: 0, clientNoContextTakeover: true, serverNoContextTakeover: true }, AGREED],
  ];
  for (const [how, perMessageDeflate, agreed] of offers) {
    test(`messages come back as they were sent: ${how}`, async (t) => {
      const peer = await connect(t, broker, offering(perMessageDeflate));
      assert.equal(peer.client.webSocket.extensions, 'permessage-deflate');
      assert.equal(await answer(perMessageDeflate), agreed);
      const destination = `/topic/${unique('deflate')}`;
      const inbox = await peer.subscribe(destination);
      const received = () => peer.client.webSocket._socket.bytesRead;
      for (const body of ['', 'short', LONG, '€'.repeat(100), LONG]) {
        const before = received();
        await peer.send(destination, body);
        const message = await inbox.next();
        assert.equal(message.body, body);
        if (body === LONG) assert.ok(received() - before < LONG.length / 4, `${received() - before} bytes`);
      }
      const binary = Buffer.from(LONG.repeat(4)).fill(0xff, 0, 10);
      await peer.send(destination, binary);
      assert.deepEqual(Buffer.from((await inbox.next()).binaryBody), binary);
      await peer.leave();
    });
  }

  test('a window that the broker cannot promise is declined, and the connection goes on without', async (t) => {
    const peer = await connect(t, broker, offering({ serverMaxWindowBits: 10 }));
    assert.equal(peer.client.webSocket.extensions, '');
    const inbox = await peer.subscribe('/topic/declined');
    await peer.send('/topic/declined', LONG);
    assert.equal((await inbox.next()).body, LONG);
  });
});

test('who compresses, who does not, and who wants binary messages read the same', async (t) => {
  const destination = `/topic/${unique('mixture')}`;
  const kinds = [
    offering(true),
    offering(false),
    offering(true, { forceBinaryWSFrames: true }),
    offering(false, { forceBinaryWSFrames: true }),
    offering(true, { version: '1.0' }),
    offering({ threshold: 0 }, { version: '1.1' }),
  ];
  const peers = await Promise.all(kinds.map((kind) => connect(t, broker, kind)));
  const inboxes = await Promise.all(peers.map((peer, n) => peer.subscribe(destination, n % 2 ? {} : { id: 'same' })));
  const acknowledging = await connect(t, broker, offering(true));
  inboxes.push(await acknowledging.subscribe(destination, { ack: 'client-individual' }));
  const bodies = Array.from({ length: 60 }, (_, n) => `${n} ${LONG.slice(0, (n * 997) % 9_000)}`);
  for (const [n, body] of bodies.entries()) await peers[n % peers.length].send(destination, body);
  for (const inbox of inboxes) assert.deepEqual(await inbox.bodies(bodies.length), bodies);
});

test('a work queue hands out compressed messages one by one', async (t) => {
  const queue = `/queue/${unique('deflate')}`;
  const peer = await connect(t, broker, offering(true));
  for (const n of [1, 2, 3]) await peer.send(queue, `${n}${LONG}`);
  const inbox = await peer.subscribe(queue, { ack: 'client-individual' });
  for (const n of [1, 2, 3]) {
    const message = await inbox.next();
    assert.equal(message.body, `${n}${LONG}`);
    message.ack();
  }
});

test('a compressed message may come in fragments, with a ping between', async () => {
  const socket = await opened();
  const answers = [];
  socket.on('message', (bytes) => answers.push(bytes.toString()));
  socket.on('pong', (bytes) => answers.push(`pong ${bytes}`));
  const connect = 'CONNECT\naccept-version:1.2\nhost:x\nlogin:alice\npasscode:guest\n\n\0';
  for (const [n, letter] of [...connect].entries()) {
    if (n === 9) socket.ping('here');
    socket.send(letter, { compress: true, fin: n + 1 === connect.length });
  }
  await within(once(socket, 'message'), 'CONNECTED');
  assert.equal(answers[0], 'pong here');
  assert.match(answers[1], /^CONNECTED\n/);
  socket.terminate();
});

test("a stranger's bomb is refused by its size inflated", async () => {
  const socket = await opened();
  const errors = [];
  socket.on('message', (bytes) => errors.push(bytes.toString()));
  const closed = within(once(socket, 'close'), 'the close');
  socket.send('\n'.repeat(4 << 20), { compress: true });
  const [code] = await closed;
  assert.equal(code, 1009);
  assert.match(errors[0], /error-code:too-large\n/);
});

test('a broker that is not configured for it compresses nothing', async (t) => {
  const plain = await Broker.start();
  t.after(() => plain.stop());
  const peer = await connect(t, plain, offering(true));
  assert.equal(peer.client.webSocket.extensions, '');
  const inbox = await peer.subscribe('/topic/plain');
  await peer.send('/topic/plain', LONG);
  assert.equal((await inbox.next()).body, LONG);
});

/** What the handshake answers to an offer. */
async function answer(perMessageDeflate) {
  const socket = new WebSocket(broker.url, { perMessageDeflate });
  const [response] = await within(once(socket, 'upgrade'), 'the handshake');
  socket.terminate();
  return response.headers['sec-websocket-extensions'];
}

/** A bare socket that compresses all it sends. */
async function opened() {
  const socket = new WebSocket(broker.url, 'v12.stomp', { perMessageDeflate: { threshold: 0 } });
  await within(once(socket, 'open'), 'the handshake');
  assert.equal(socket.extensions, 'permessage-deflate');
  return socket;
}
