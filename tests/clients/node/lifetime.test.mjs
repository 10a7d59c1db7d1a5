// Restarts and TLS: each test has a broker of its own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Broker, WITH_TOKENS } from '../broker.mjs';
import { connect, Inbox, open, unique } from './peer.mjs';

test('SIGTERM tells every client why, closes with 1012 and ends with 0', async (t) => {
  const broker = await Broker.start();
  t.after(() => broker.stop());
  const alice = await connect(t, broker);
  const code = broker.end('SIGTERM');
  const end = await alice.ended();
  assert.equal(end['error-code'], 'shutting-down');
  assert.notEqual(end['retry-after'], 'never');
  assert.equal(end.close, 1012);
  assert.equal(await code, 0);
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`a client is back by itself after ${signal} and a restart`, async (t) => {
    const broker = await Broker.start();
    t.after(() => broker.stop());
    const topic = `/topic/${unique('back')}`;
    const inbox = new Inbox(topic);
    const alice = await connect(t, broker, { reconnectDelay: 100, onWebSocketError: () => {} });
    await broker.end(signal);
    await alice.closes.next();
    alice.onConnect = () => alice.client.subscribe(topic, (message) => inbox.put(message));
    await broker.again();
    await alice.connections.next();
    await alice.send(topic, 'back');
    assert.equal((await inbox.next()).body, 'back');
  });
}

test('wss with a self-signed certificate', async (t) => {
  const broker = await Broker.start({ args: ['--tls-self-signed'] });
  t.after(() => broker.stop());
  assert.match(broker.url, /^wss:/);
  assert.ok(broker.ports.stomp_tls);
  const alice = await connect(t, broker);
  const topic = `/topic/${unique('tls')}`;
  const inbox = await alice.subscribe(topic);
  const body = 'x'.repeat(300_000);
  await alice.send(topic, body);
  assert.ok((await inbox.next()).body === body);
});

test('a token decides who is who and which room', async (t) => {
  const broker = await Broker.start({ config: WITH_TOKENS });
  t.after(() => broker.stop());
  const token = broker.token('carol', '42');

  const carol = await connect(t, broker, { login: undefined, headers: { Authorization: `Bearer ${token}` } });
  assert.equal(carol.connected['user-name'], 'carol');
  const inbox = await carol.subscribe('/topic/chat/42');
  await carol.send('/app/chat/42/send', JSON.stringify({ type: 'TEXT', content: 'mine' }));
  let message;
  do message = JSON.parse((await inbox.next()).body);
  while (message.type !== 'TEXT');
  assert.equal(message.senderId, 'carol');
  carol.client.subscribe('/topic/chat/43', () => {}, { receipt: 'other' });
  const end = await carol.ended();
  assert.equal(end['error-code'], 'forbidden');
  assert.equal(end['receipt-id'], 'other');

  const filler = await connect(t, broker, { login: 'guest', headers: { Authorization: `Bearer ${token}` } });
  assert.equal(filler.connected['user-name'], 'carol');

  const forged = `${token.slice(0, -4)}AAAA`;
  const mallory = open(t, broker, { login: undefined, headers: { Authorization: `Bearer ${forged}` } });
  assert.equal((await mallory.ended())['error-code'], 'unauthorized');
  const nobody = open(t, broker, { login: 'alice', passcode: 'guest' });
  assert.equal((await nobody.ended())['error-code'], 'unauthorized');
});
