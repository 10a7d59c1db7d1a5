// What is stompede's own, and how sessions end, told by `@stomp/stompjs`.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { connect, open, unique } from './peer.mjs';

let broker;
before(async () => (broker = await Broker.start()));
after(() => broker?.stop());

describe('requests', () => {
  const worker = (t) => connect(t, broker, { login: 'guest' });

  test('a worker answers to a temp-queue that was never subscribed', async (t) => {
    const [service, alice] = [await worker(t), await connect(t, broker)];
    const app = `/app/${unique('quote')}`;
    const work = await service.subscribe(app);
    await alice.send(app, 'price?', { 'reply-to': '/temp-queue/answers' });
    const request = await work.next();
    assert.equal(request.headers['user-name'], 'alice');
    assert.ok(request.headers.session);
    assert.match(request.headers['reply-to'], /^\/reply-queue\//);
    await service.send(request.headers['reply-to'], '42');
    const answer = await alice.strays.next();
    assert.equal(answer.body, '42');
    assert.equal(answer.headers.subscription, '/temp-queue/answers');
  });

  test('a worker answers to a temp-queue that was subscribed', async (t) => {
    const [service, alice] = [await worker(t), await connect(t, broker)];
    const app = `/app/${unique('quote')}`;
    const work = await service.subscribe(app);
    const answers = await alice.subscribe('/temp-queue/mine');
    await alice.send(app, 'price?', { 'reply-to': '/temp-queue/mine' });
    await service.send((await work.next()).headers['reply-to'], '43');
    assert.equal((await answers.next()).body, '43');
  });

  test('each request goes to one worker', async (t) => {
    const services = [await worker(t), await worker(t)];
    const alice = await connect(t, broker);
    const app = `/app/${unique('shared')}`;
    const seen = [];
    for (const service of services) {
      service.client.subscribe(app, (message) => {
        seen.push(message.body);
        service.client.publish({ destination: message.headers['reply-to'], body: message.body });
      });
      await service.send(`/topic/${unique('fence')}`, '');
    }
    const requests = Array.from({ length: 20 }, (_, n) => String(n));
    for (const body of requests) alice.client.publish({ destination: app, body, headers: { 'reply-to': '/temp-queue/a' } });
    const answers = await alice.strays.bodies(requests.length);
    const byNumber = (a, b) => a - b;
    assert.deepEqual(answers.sort(byNumber), requests);
    assert.deepEqual(seen.sort(byNumber), requests);
  });

  test('SUBSCRIBE to /app is one request with one answer', async (t) => {
    const [service, alice] = [await worker(t), await connect(t, broker)];
    const app = `/app/${unique('snapshot')}`;
    const work = await service.subscribe(app);
    const answer = new Promise((resume) => alice.client.subscribe(app, resume));
    const request = await work.next();
    assert.equal(request.headers.command, 'SUBSCRIBE');
    await service.send(request.headers['reply-to'], 'the state');
    assert.equal((await answer).body, 'the state');
  });

  test('nobody answers a reply-queue by guessing', async (t) => {
    const alice = await connect(t, broker);
    alice.client.publish({ destination: '/reply-queue/guess', body: 'x', headers: { receipt: 'r' } });
    const end = await alice.ended();
    assert.equal(end['error-code'], 'no-such-reply');
    assert.equal(end['receipt-id'], 'r');
  });
});

describe('rooms', () => {
  test('a message is enriched, whoever sends it, and the sender cannot be forged', async (t) => {
    const [alice, bob] = [await connect(t, broker), await connect(t, broker, { login: 'bob' })];
    const room = unique('room');
    const inbox = await alice.subscribe(`/topic/chat/${room}`);
    const body = { type: 'TEXT', content: 'hi', senderId: 'root', messageId: 'forged', clientMessageId: 'c1' };
    await bob.send(`/app/chat/${room}/send`, JSON.stringify(body));
    let message;
    do message = JSON.parse((await inbox.next()).body);
    while (message.type !== 'TEXT');
    assert.equal(message.senderId, 'bob');
    assert.equal(message.chatRoomId, room);
    assert.equal(message.content, 'hi');
    assert.equal(message.clientMessageId, 'c1');
    assert.notEqual(message.messageId, 'forged');
    assert.ok(message.timestamp);
  });

  test('coming and going is told, and who is here is answered', async (t) => {
    const [alice, bob] = [await connect(t, broker), await connect(t, broker, { login: 'bob' })];
    const room = unique('room');
    const inbox = await alice.subscribe(`/topic/chat/${room}`);
    const event = async (type, userId) => {
      for (;;) {
        const read = JSON.parse((await inbox.next()).body);
        if (read.type === type && read.userId === userId) return read;
      }
    };
    await bob.subscribe(`/topic/chat/${room}`);
    assert.equal((await event('JOIN', 'bob')).chatRoomId, room);
    const answer = await new Promise((resume) => alice.client.subscribe(`/app/chat/${room}/members`, resume));
    const { chatRoomId, members } = JSON.parse(answer.body);
    assert.equal(chatRoomId, room);
    assert.deepEqual(members.map(({ userId, status }) => [userId, status]).sort(), [['alice', 'online'], ['bob', 'online']]);
    await bob.leave();
    await event('LEAVE', 'bob');
  });

  test('a repeat with the same idempotency-key is accepted and not published again', async (t) => {
    const alice = await connect(t, broker);
    const topic = `/topic/${unique('repeat')}`;
    const inbox = await alice.subscribe(topic);
    for (const body of ['first', 'second']) await alice.send(topic, body, { 'idempotency-key': 'same' });
    await alice.send(topic, 'third');
    assert.deepEqual(await inbox.bodies(2), ['first', 'third']);
  });
});

describe('refusals', () => {
  test('a wrong passcode is refused before CONNECTED', async (t) => {
    const mallory = open(t, broker, { passcode: 'wrong' });
    const end = await mallory.ended();
    assert.equal(end['error-code'], 'unauthorized');
    assert.equal(end.close, 1008);
    assert.equal(mallory.connected, undefined);
  });

  test('a refusal is an ERROR that names the frame, and the end', async (t) => {
    const alice = await connect(t, broker);
    alice.client.publish({ destination: '/topic/a//b', body: 'x', headers: { receipt: 'mine' } });
    const end = await alice.ended();
    assert.equal(end['error-code'], 'bad-destination');
    assert.equal(end['receipt-id'], 'mine');
    assert.ok(end.message);
  });

  test('with /user/queue/errors open a refusal comes there and the session stays', async (t) => {
    const alice = await connect(t, broker);
    const errors = await alice.subscribe('/user/queue/errors');
    alice.client.publish({ destination: '/reply-queue/guess', body: 'x', headers: { receipt: 'mine' } });
    const refusal = JSON.parse((await errors.next()).body);
    assert.equal(refusal.code, 'no-such-reply');
    assert.equal(refusal.receiptId, 'mine');
    assert.equal(refusal.destination, '/reply-queue/guess');
    assert.ok(refusal.message);
    await alice.send(`/topic/${unique('still')}`, 'here');
  });

  test('a protocol fault ends the session even then', async (t) => {
    const alice = await connect(t, broker);
    await alice.subscribe('/user/queue/errors');
    alice.write('JUMP', {});
    assert.equal((await alice.ended())['error-code'], 'bad-frame');
  });

  const faults = {
    'a subscription id that is open already': (peer) => {
      peer.write('SUBSCRIBE', { id: 's', destination: '/topic/a' });
      peer.write('SUBSCRIBE', { id: 's', destination: '/topic/b' });
    },
    'UNSUBSCRIBE of an unknown id': (peer) => peer.write('UNSUBSCRIBE', { id: 'none' }),
    'ACK of an unknown id': (peer) => peer.write('ACK', { id: 'none' }),
    'COMMIT of an unknown transaction': (peer) => peer.write('COMMIT', { transaction: 'none' }),
    'SEND without destination': (peer) => peer.write('SEND', {}, 'x'),
    'a wildcard in SEND': (peer) => peer.write('SEND', { destination: '/topic/*' }, 'x'),
    'a second CONNECT': (peer) => peer.write('CONNECT', { 'accept-version': '1.2', host: 'h' }),
    'a body above the limit': (peer) => peer.write('SEND', { destination: '/topic/a', 'content-length': 9_000_000 }, 'x'),
  };
  for (const [fault, commit] of Object.entries(faults)) {
    test(`${fault}: ERROR, then the close`, async (t) => {
      const alice = await connect(t, broker);
      commit(alice);
      const end = await alice.ended();
      assert.ok(end.message);
      assert.ok(end['error-code']);
      assert.ok(end.close >= 1002, `closed with ${end.close}`);
    });
  }
});

describe('the WebSocket', () => {
  test('the latest version wins whatever the order of the subprotocols', async (t) => {
    const alice = await connect(t, broker, { protocols: ['v10.stomp', 'v12.stomp', 'v11.stomp'] });
    assert.equal(alice.client.webSocket.protocol, 'v12.stomp');
  });

  test('no subprotocol offered, none answered', async (t) => {
    const alice = await connect(t, broker, { protocols: [] });
    assert.equal(alice.client.webSocket.protocol, '');
  });

  test('a client that sends binary gets binary', async (t) => {
    const alice = await connect(t, broker, { forceBinaryWSFrames: true });
    const kinds = new Set();
    alice.client.webSocket.on('message', (_, isBinary) => kinds.add(isBinary));
    const inbox = await alice.subscribe(`/topic/${unique('bin')}`);
    await alice.send(inbox.what, 'text');
    assert.equal((await inbox.next()).body, 'text');
    assert.deepEqual([...kinds], [true]);
  });

  test('an Origin that is not allowed is refused, one of this machine is not', async (t) => {
    await connect(t, broker, { socket: { origin: 'http://localhost:3000' } });
    const evil = open(t, broker, { socket: { origin: 'http://evil.example' }, onWebSocketError: () => {} });
    await evil.closes.next();
    assert.equal(evil.connected, undefined);
  });
});
