// The broker behind Spring's relay (`enableStompBrokerRelay`): frames as a relay sends them, over connections as it opens them.

import assert from 'node:assert/strict';
import { connect as dial } from 'node:net';
import { after, before, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { headersOf, Log } from './frontend.mjs';
import { withPasscodes } from './migration.mjs';
import { Inbox, unique, within } from './peer.mjs';

let broker;
before(async () => (broker = await Broker.start({ config: await withPasscodes('from-spring.md', "Behind Spring's relay") })));
after(() => broker?.stop());

/** One TCP connection of the relay's. */
class Relayed {
  wire = new Log();
  ends = new Inbox('the end of the connection');

  static async open(t) {
    const relayed = new Relayed();
    const [host, port] = broker.ports.stomp.split(':');
    relayed.socket = dial({ host, port: Number(port) });
    relayed.socket.setEncoding('utf8');
    let rest = '';
    relayed.socket.on('data', (text) => {
      const frames = (rest + text).split('\0');
      rest = frames.pop();
      // Line feeds between frames are heart-beats.
      for (const frame of frames) relayed.wire.put(frame.replace(/^\n+/, ''));
      if (/^\n+$/.test(rest)) [rest] = ['', relayed.wire.put('\n')];
    });
    relayed.socket.on('close', () => relayed.ends.put('closed'));
    relayed.socket.on('error', () => {});
    t.after(() => relayed.socket.destroy());
    await within(new Promise((resume) => relayed.socket.once('connect', resume)), 'the TCP connection');
    return relayed;
  }

  write(command, headers, body = '') {
    const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
    this.socket.write(`${command}\n${lines.join('')}\n${body}\0`);
  }

  json(destination, content) {
    const body = JSON.stringify(content);
    this.write('SEND', { destination, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }, body);
  }
}

const LOGIN = { login: 'relay', passcode: 'guest' };

/** The connection by which the application itself publishes. */
async function system(t) {
  const relayed = await Relayed.open(t);
  relayed.write('CONNECT', { 'accept-version': '1.1,1.2', ...LOGIN, 'heart-beat': '10000,10000', host: '/' });
  relayed.connected = headersOf(await relayed.wire.next('CONNECTED'));
  return relayed;
}

/** The connection of one browser: its CONNECT, with the relay's login over its own. */
async function client(t, { version = '1.2', heartBeat = '0,0' } = {}) {
  const relayed = await Relayed.open(t);
  const own = { 'accept-version': version, 'heart-beat': heartBeat, Authorization: 'Bearer for the application alone' };
  relayed.write('CONNECT', { ...own, ...LOGIN, host: '/' });
  relayed.connected = headersOf(await relayed.wire.next('CONNECTED'));
  return relayed;
}

test('the system connection is accepted, with its heart-beats', async (t) => {
  const relay = await system(t);
  assert.equal(relay.connected.version, '1.2');
  assert.equal(relay.connected['heart-beat'], '10000,10000');
});

test('a browser of either stompjs hears what the application publishes', async (t) => {
  const relay = await system(t);
  for (const version of ['1.1,1.0', '1.2,1.1,1.0']) {
    const browser = await client(t, { version });
    const topic = `/topic/${unique('prices')}`;
    browser.write('SUBSCRIBE', { id: 'sub-0', destination: topic, receipt: 'r1' });
    await browser.wire.next('RECEIPT');
    relay.json(topic, { price: 7 });
    const message = await browser.wire.next('MESSAGE');
    const headers = headersOf(message);
    assert.deepEqual([headers.destination, headers.subscription], [topic, 'sub-0']);
    assert.equal(headers['content-type'], 'application/json');
    assert.ok(message.endsWith('\n\n{"price":7}'), message);
  }
});

test('a queue of a user is a queue with the session in its name, and nothing is left of it', async (t) => {
  const relay = await system(t);
  const browser = await client(t);
  const queue = `/queue/messages-user${unique('session')}`;
  browser.write('SUBSCRIBE', { id: 'sub-1', destination: queue, receipt: 'r1' });
  await browser.wire.next('RECEIPT');
  relay.json(queue, { text: 'yours' });
  assert.equal(headersOf(await browser.wire.next('MESSAGE')).destination, queue);
  browser.write('UNSUBSCRIBE', { id: 'sub-1' });
  browser.write('DISCONNECT', { receipt: 'bye' });
  assert.equal(headersOf(await browser.wire.next((text) => text.includes('receipt-id:bye')))['receipt-id'], 'bye');
  await browser.ends.next();
  const operator = await system(t);
  operator.write('SUBSCRIBE', { id: 'look', destination: queue, browser: 'true' });
  assert.match(await operator.wire.next('MESSAGE'), /\nbrowser:end\n/, 'the queue is empty');
});

test('applications tell each other of users and of messages for users elsewhere', async (t) => {
  const relays = [await system(t), await system(t)];
  for (const topic of ['/topic/simp-user-registry', '/topic/unresolved-user-destination']) {
    for (const relay of relays) {
      relay.write('SUBSCRIBE', { id: topic, destination: topic, receipt: topic });
      await relay.wire.next('RECEIPT');
    }
    relays[0].json(topic, { from: 'one' });
    for (const relay of relays) assert.match(await relay.wire.next('MESSAGE'), /\{"from":"one"\}$/);
  }
});

test('receipts, acknowledgements and transactions of a browser come through', async (t) => {
  const [relay, browser] = [await system(t), await client(t)];
  const queue = `/queue/${unique('jobs')}`;
  browser.write('SUBSCRIBE', { id: 'sub-0', destination: queue, ack: 'client-individual', receipt: 'r1' });
  await browser.wire.next('RECEIPT');
  relay.json(queue, 1);
  const { ack } = headersOf(await browser.wire.next('MESSAGE'));
  browser.write('BEGIN', { transaction: 't' });
  browser.write('SEND', { destination: `${queue}-done`, transaction: 't' }, 'done');
  browser.write('ACK', { id: ack, transaction: 't' });
  browser.write('COMMIT', { transaction: 't', receipt: 'r2' });
  assert.match(await browser.wire.next('RECEIPT'), /receipt-id:r2/);
  relay.write('SUBSCRIBE', { id: 'done', destination: `${queue}-done` });
  assert.match(await relay.wire.next('MESSAGE'), /done$/);
});

test('what one browser does wrong ends its connection and no other', async (t) => {
  const [relay, browser] = [await system(t), await client(t)];
  browser.write('SUBSCRIBE', { id: 'sub-0', destination: '/exchange/amq.direct/x' });
  assert.match(headersOf(await browser.wire.next('ERROR')).message, /\/topic\/x/);
  await browser.ends.next();
  relay.write('SEND', { destination: '/topic/still', receipt: 'here' });
  await relay.wire.next('RECEIPT');
});

test('hundreds of browsers come from one address', async (t) => {
  const sessions = new Set();
  // A few at a time: each passcode is hashed.
  while (sessions.size < 210) {
    const browsers = await Promise.all(Array.from({ length: 10 }, () => client(t)));
    for (const { connected } of browsers) sessions.add(connected.session);
  }
  const relay = await system(t);
  relay.write('SEND', { destination: '/topic/still', receipt: 'here' });
  await relay.wire.next('RECEIPT');
});
