// What every version of STOMP has in common, over WebSocket, told by `@stomp/stompjs`.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { connect, unique } from './peer.mjs';

let broker;
const config = '[heart_beat]\nsend_ms = 1000\nreceive_ms = 1000\n';
before(async () => (broker = await Broker.start({ config })));
after(() => broker?.stop());

for (const version of ['1.0', '1.1', '1.2']) {
  describe(`STOMP ${version}`, () => {
    test('CONNECTED says version, session, server and user', async (t) => {
      const alice = await connect(t, broker, { version });
      assert.equal(alice.client.connectedVersion ?? '1.0', version);
      assert.equal(alice.connected['user-name'], 'alice');
      assert.match(alice.connected.server, /^stompede\//);
      assert.ok(alice.connected.session);
      assert.equal(alice.client.webSocket.protocol, `v${version.replace('.', '')}.stomp`);
    });

    test('a subscriber gets each message once, in order, as it was sent', async (t) => {
      const [alice, bob] = [await connect(t, broker, { version }), await connect(t, broker, { version, login: 'bob' })];
      const topic = `/topic/${unique('order')}`;
      const inbox = await alice.subscribe(topic);
      const sent = Array.from({ length: 300 }, (_, n) => `${n} äöü 🦬`);
      for (const body of sent) bob.client.publish({ destination: topic, body });
      assert.deepEqual(await inbox.bodies(sent.length), sent);
      await bob.send(topic, 'last', { 'content-type': 'text/plain', 'x-mine': 'kept' });
      const { headers, body } = await inbox.next();
      assert.equal(body, 'last');
      assert.equal(headers.destination, topic);
      assert.equal(headers.subscription, inbox.subscription.id);
      assert.equal(headers['content-type'], 'text/plain');
      assert.equal(headers['content-length'], '4');
      assert.equal(headers['x-mine'], 'kept');
      assert.equal(headers['user-name'], 'bob');
      assert.ok(Math.abs(Number(headers.timestamp) - Date.now()) < 60_000);
      assert.ok(headers['message-id']);
      assert.equal(headers.ack, undefined);
    });

    test('after UNSUBSCRIBE nothing comes any more, and the id is free again', async (t) => {
      const alice = await connect(t, broker, { version });
      const topic = `/topic/${unique('left')}`;
      const first = await alice.subscribe(topic, { id: 'same' });
      await alice.frame('UNSUBSCRIBE', { id: 'same' });
      await alice.send(topic, 'to nobody');
      const second = await alice.subscribe(topic, { id: 'same' });
      await alice.send(topic, 'to the second');
      assert.equal((await second.next()).body, 'to the second');
      assert.equal(first.size, 0);
    });

    test('wildcards: * is one segment, ** is the rest', async (t) => {
      const alice = await connect(t, broker, { version });
      const root = `/topic/${unique('wild')}`;
      const one = await alice.subscribe(`${root}/*/end`);
      const rest = await alice.subscribe(`${root}/**`);
      for (const path of ['a/end', 'a/b/end', 'end', 'z/end']) await alice.send(`${root}/${path}`, path);
      assert.deepEqual(await rest.bodies(4), ['a/end', 'a/b/end', 'end', 'z/end']);
      assert.deepEqual(await one.bodies(2), ['a/end', 'z/end']);
      assert.equal(one.size, 0);
    });

    test('every frame that asks gets its RECEIPT', async (t) => {
      const alice = await connect(t, broker, { version });
      const queue = `/queue/${unique('receipts')}`;
      const inbox = await alice.subscribe(queue, { ack: 'client', id: 's' });
      await alice.frame('SEND', { destination: queue }, 'one');
      await alice.frame('SEND', { destination: queue }, 'two');
      const messages = [await inbox.next(), await inbox.next()];
      const ack = ({ headers }) =>
        version === '1.2' ? { id: headers.ack } : { 'message-id': headers['message-id'], subscription: 's' };
      await alice.frame('ACK', ack(messages[0]));
      if (version === '1.0') await alice.frame('ACK', ack(messages[1]));
      else await alice.frame('NACK', { ...ack(messages[1]), requeue: 'false' });
      await alice.frame('BEGIN', { transaction: 't' });
      await alice.frame('COMMIT', { transaction: 't' });
      await alice.frame('BEGIN', { transaction: 't' });
      await alice.frame('ABORT', { transaction: 't' });
      await alice.frame('UNSUBSCRIBE', { id: 's' });
      await alice.frame('DISCONNECT', {});
      await alice.closes.next();
    });

    test('ack auto on a queue settles when written', async (t) => {
      const alice = await connect(t, broker, { version });
      const queue = `/queue/${unique('auto')}`;
      const inbox = await alice.subscribe(queue);
      await alice.send(queue, 'once');
      assert.equal((await inbox.next()).body, 'once');
      await alice.leave();
      const bob = await connect(t, broker, { version, login: 'bob' });
      const later = await bob.subscribe(queue);
      await bob.send(queue, 'next');
      assert.equal((await later.next()).body, 'next');
    });

    test('ack client: an ACK covers all before it, the rest comes back in order', async (t) => {
      const [alice, bob] = [await connect(t, broker, { version }), await connect(t, broker, { version, login: 'bob' })];
      const queue = `/queue/${unique('client')}`;
      const inbox = await alice.subscribe(queue, { ack: 'client' });
      for (const body of ['1', '2', '3', '4']) await bob.send(queue, body);
      const messages = [];
      for (let n = 0; n < 4; n += 1) messages.push(await inbox.next());
      assert.deepEqual(messages.map((message) => message.headers.redelivered ?? 'false'), ['false', 'false', 'false', 'false']);
      const settled = alice.receipt();
      messages[1].ack({ receipt: settled.id });
      await settled;
      await alice.drop();
      const again = await bob.subscribe(queue, { ack: 'client' });
      const seen = [await again.next(), await again.next()];
      // Only now: the broker may hear of the broken connection later than of anything that bob sends.
      await bob.send(queue, '5');
      seen.push(await again.next());
      assert.deepEqual(seen.map(({ body }) => body), ['3', '4', '5']);
      assert.deepEqual(seen.map(({ headers }) => headers.redelivered), ['true', 'true', 'false']);
    });

    test('COMMIT delivers in order, ABORT forgets, an open transaction dies with its connection', async (t) => {
      const [alice, bob] = [await connect(t, broker, { version }), await connect(t, broker, { version, login: 'bob' })];
      const topic = `/topic/${unique('transaction')}`;
      const inbox = await bob.subscribe(topic);
      const publish = (body, transaction) => alice.client.publish({ destination: topic, body, headers: { transaction } });

      const kept = alice.client.begin('kept');
      const dropped = alice.client.begin('dropped');
      publish('1', 'kept');
      publish('never', 'dropped');
      publish('2', 'kept');
      await alice.send(topic, '0');
      dropped.abort();
      kept.commit();
      assert.deepEqual(await inbox.bodies(3), ['0', '1', '2']);

      alice.client.begin('open');
      publish('never', 'open');
      await alice.drop();
      await bob.send(topic, 'end');
      assert.deepEqual(await inbox.bodies(1), ['end']);
    });

    test('an ACK in an aborted transaction can be done again', async (t) => {
      const alice = await connect(t, broker, { version });
      const queue = `/queue/${unique('undone')}`;
      const inbox = await alice.subscribe(queue, { ack: 'client' });
      await alice.send(queue, 'once');
      const message = await inbox.next();
      const transaction = alice.client.begin();
      message.ack({ transaction: transaction.id });
      transaction.abort();
      const settled = alice.receipt();
      message.ack({ receipt: settled.id });
      await settled;
      await alice.drop();
      const bob = await connect(t, broker, { version, login: 'bob' });
      const later = await bob.subscribe(queue);
      await bob.send(queue, 'next');
      assert.equal((await later.next()).body, 'next');
    });

    test('binary bodies come back byte for byte', async (t) => {
      const alice = await connect(t, broker, { version });
      const topic = `/topic/${unique('binary')}`;
      const inbox = await alice.subscribe(topic);
      const bytes = Uint8Array.from({ length: 1024 }, (_, n) => n % 256);
      await alice.send(topic, bytes, { 'content-type': 'application/octet-stream' });
      const message = await inbox.next();
      assert.deepEqual(Buffer.from(message.binaryBody), Buffer.from(bytes));
      assert.equal(message.headers['content-type'], 'application/octet-stream');
      await alice.send(topic, new Uint8Array());
      assert.equal((await inbox.next()).binaryBody.length, 0);
    });

    test('bodies of 900 KiB pass, whole and in pieces', async (t) => {
      const whole = await connect(t, broker, { version });
      const pieces = await connect(t, broker, { version, login: 'bob', splitLargeFrames: true, maxWebSocketChunkSize: 8 * 1024 });
      const topic = `/topic/${unique('large')}`;
      const inbox = await whole.subscribe(topic);
      const body = 'stampede!'.repeat((900 * 1024) / 9);
      for (const sender of [whole, pieces]) {
        await sender.send(topic, body);
        assert.ok((await inbox.next()).body === body, 'the body is another one');
      }
    });

    test('the body ends at NUL when nobody says how long it is', async (t) => {
      const alice = await connect(t, broker, { version });
      const topic = `/topic/${unique('nul')}`;
      const inbox = await alice.subscribe(topic);
      alice.client.publish({ destination: topic, body: 'unmeasured', skipContentLengthHeader: true });
      const message = await inbox.next();
      assert.equal(message.body, 'unmeasured');
      assert.equal(message.headers['content-length'], '10');
    });

    test('user queues reach all sessions of one user and nobody else', async (t) => {
      const desk = await connect(t, broker, { version });
      const phone = await connect(t, broker, { version });
      const bob = await connect(t, broker, { version, login: 'bob' });
      const name = `/queue/${unique('notes')}`;
      const inboxes = [await desk.subscribe(`/user${name}`), await phone.subscribe(`/user${name}`)];
      const bobs = await bob.subscribe(`/user${name}`);
      await bob.send(`/user/alice${name}`, 'for alice');
      for (const inbox of inboxes) {
        const { headers, body } = await inbox.next();
        assert.equal(body, 'for alice');
        assert.equal(headers.destination, `/user${name}`);
        assert.equal(headers['user-name'], 'bob');
      }
      await desk.send(`/user/bob${name}`, 'for bob');
      assert.deepEqual(await bobs.bodies(1), ['for bob']);
    });
  });
}

for (const version of ['1.1', '1.2']) {
  describe(`STOMP ${version}, since 1.1`, () => {
    test('heart-beats go both ways', async (t) => {
      let heard = 0;
      const alice = await connect(t, broker, {
        version,
        heartbeatIncoming: 1_000,
        heartbeatOutgoing: 1_000,
        onHeartbeatReceived: () => (heard += 1),
      });
      assert.equal(alice.connected['heart-beat'], '1000,1000');
      // By then a side that says nothing would have been given up by the other.
      const topic = `/topic/${unique('alive')}`;
      const inbox = await alice.subscribe(topic);
      const timer = setTimeout(() => alice.client.publish({ destination: topic, body: 'still here' }), 4_500);
      t.after(() => clearTimeout(timer));
      assert.equal((await inbox.next()).body, 'still here');
      assert.equal(alice.closes.size, 0);
      assert.ok(heard >= 3, `${heard} heart-beats`);
    });

    test('ack client-individual settles one message alone', async (t) => {
      const [alice, bob] = [await connect(t, broker, { version }), await connect(t, broker, { version, login: 'bob' })];
      const queue = `/queue/${unique('individual')}`;
      const inbox = await alice.subscribe(queue, { ack: 'client-individual' });
      for (const body of ['1', '2', '3']) await bob.send(queue, body);
      const messages = [await inbox.next(), await inbox.next(), await inbox.next()];
      const settled = alice.receipt();
      messages[1].ack({ receipt: settled.id });
      await settled;
      await alice.leave();
      const again = await bob.subscribe(queue, { ack: 'client-individual' });
      assert.deepEqual(await again.bodies(2), ['1', '3']);
    });

    test('NACK hands the message to another consumer, marked as redelivered', async (t) => {
      const [alice, bob] = [await connect(t, broker, { version }), await connect(t, broker, { version, login: 'bob' })];
      const queue = `/queue/${unique('nack')}`;
      const mine = await alice.subscribe(queue, { ack: 'client-individual' });
      await bob.send(queue, 'unwanted');
      const refused = await mine.next();
      const his = await bob.subscribe(queue, { ack: 'client-individual' });
      refused.nack();
      const message = await his.next();
      assert.equal(message.body, 'unwanted');
      assert.equal(message.headers.redelivered, 'true');
      message.ack();
    });

    test('NACK with no other consumer brings the message back to the only one', async (t) => {
      const alice = await connect(t, broker, { version });
      const queue = `/queue/${unique('alone')}`;
      const inbox = await alice.subscribe(queue, { ack: 'client-individual' });
      await alice.send(queue, 'again');
      (await inbox.next()).nack();
      const message = await inbox.next();
      assert.equal(message.headers.redelivered, 'true');
      message.nack({ requeue: 'false' });
      await alice.send(queue, 'after');
      assert.equal((await inbox.next()).body, 'after');
    });
  });
}

describe('between versions', () => {
  const ODD = 'colon: backslash\\ newline\n end';

  test('header values mean the same in each version that can say them', async (t) => {
    const peers = {};
    for (const version of ['1.0', '1.1', '1.2']) peers[version] = await connect(t, broker, { version });
    const topic = `/topic/${unique('escapes')}`;
    const [old, middle, latest] = await Promise.all(Object.values(peers).map((peer) => peer.subscribe(topic)));

    await peers['1.2'].send(topic, 'new', { odd: ODD, cr: 'a\rb' });
    const fresh = (await latest.next()).headers;
    assert.equal(fresh.odd, ODD);
    assert.equal(fresh.cr, 'a\rb');
    // stompjs leaves the escapes of 1.1 to its user.
    assert.equal((await middle.next()).headers.odd, 'colon\\c backslash\\\\ newline\\n end');
    assert.equal((await old.next()).body, 'new');

    // Not `\\c`: stompjs takes escapes one kind after another, so a backslash before a c becomes a colon.
    await peers['1.1'].send(topic, 'middle', { odd: 'a\\cb\\\\ c\\nd' });
    assert.equal((await latest.next()).headers.odd, 'a:b\\ c\nd');

    await peers['1.0'].send(topic, 'old', { odd: 'a:b\\x' });
    assert.equal((await latest.next()).headers.odd, 'a:b\\x');
  });

  test("a header cannot put a line into another client's MESSAGE", async (t) => {
    const peers = [await connect(t, broker, { version: '1.2' }), await connect(t, broker, { version: '1.0', login: 'bob' })];
    const topic = `/topic/${unique('injection')}`;
    const inboxes = [];
    for (const peer of peers) inboxes.push(await peer.subscribe(topic));
    await peers[0].send(topic, 'x', { evil: 'a\nuser-name:root\ninjected:yes' });
    for (const inbox of inboxes) {
      const { headers } = await inbox.next();
      assert.equal(headers['user-name'], 'alice');
      assert.equal(headers.injected, undefined);
    }
  });
});
