// What docs/from-rabbitmq.md promises to those who come from there, with the configuration that it shows.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { withPasscodes } from './migration.mjs';
import { connect, unique } from './peer.mjs';

const PAGE = 'from-rabbitmq.md';
let broker;
before(async () => {
  const [users, kept] = [await withPasscodes(PAGE, 'Users and services'), await withPasscodes(PAGE, 'What is kept')];
  broker = await Broker.start({ config: `${users}\n${kept}` });
});
after(() => broker?.stop());

const service = (t) => connect(t, broker, { login: 'orders' });
const web = (t, more) => connect(t, broker, { login: 'web', ...more });

describe('names', () => {
  const theirs = {
    '/exchange/amq.topic/chat.42': '/topic/chat.42',
    '/amq/queue/jobs': '/queue/jobs',
    '/topic/chat.#': '**',
    '/topic/chat.*.typing': '*',
  };
  for (const [name, ours] of Object.entries(theirs)) {
    test(`${name} is refused, with what to use instead`, async (t) => {
      const orders = await service(t);
      orders.client.subscribe(name, () => {});
      const end = await orders.ended();
      assert.equal(end['error-code'], 'bad-destination');
      assert.ok(end.message.includes(ours), end.message);
    });
  }

  test('dotted names are names, slashes have wildcards, any host is good', async (t) => {
    const orders = await connect(t, broker, { login: 'orders', headers: { host: '/vhost' } });
    const dots = await orders.subscribe('/topic/chat.42');
    const all = await orders.subscribe('/topic/chat/**');
    await orders.send('/topic/chat.42', 'dots');
    await orders.send('/topic/chat/42/typing', 'slashes');
    assert.equal((await dots.next()).body, 'dots');
    assert.equal((await all.next()).body, 'slashes');
  });

  test('a tenant has its own topics and no others', async (t) => {
    const acme = await web(t);
    const mine = await acme.subscribe('/topic/tenant/acme/news');
    await acme.send('/topic/tenant/acme/news', 'ours');
    assert.equal((await mine.next()).body, 'ours');
    acme.client.subscribe('/topic/tenant/other/news', () => {});
    assert.equal((await acme.ended())['error-code'], 'forbidden');
  });
});

describe('work queues', () => {
  test('prefetch-count bounds what a consumer has, ACK lets the next come', async (t) => {
    const [orders, acme] = [await service(t), await web(t)];
    const jobs = await acme.subscribe('/queue/jobs', { ack: 'client-individual', 'prefetch-count': '1', 'x-queue-type': 'quorum' });
    for (const body of ['one', 'two']) await orders.send('/queue/jobs', body, { persistent: 'true' });
    const first = await jobs.next();
    assert.equal(first.body, 'one');
    await acme.send('/topic/tenant/acme/fence', '');
    assert.equal(jobs.size, 0, 'the second waits');
    first.ack();
    const second = await jobs.next();
    assert.equal(second.body, 'two');
    second.ack();
    await acme.leave();
  });

  test('NACK with requeue:false, and an expired message, are dead letters that say why', async (t) => {
    const orders = await service(t);
    const queue = unique('dead');
    const inbox = await orders.subscribe(`/queue/${queue}`, { ack: 'client-individual' });
    const dead = await orders.subscribe(`/queue/dlq.${queue}`);
    await orders.send(`/queue/${queue}`, 'bad');
    (await inbox.next()).nack({ requeue: 'false' });
    const refused = await dead.next();
    assert.deepEqual([refused.body, refused.headers['stompede-dead-letter-reason']], ['bad', 'rejected']);
    inbox.subscription.unsubscribe();
    await orders.send(`/queue/${queue}`, 'late', { expiration: '1' });
    const late = await dead.next();
    assert.deepEqual([late.body, late.headers['stompede-dead-letter-reason']], ['late', 'expired']);
  });

  test('what was not acknowledged is back after UNSUBSCRIBE', async (t) => {
    const orders = await service(t);
    const queue = `/queue/${unique('back')}`;
    const inbox = await orders.subscribe(queue, { ack: 'client' });
    await orders.send(queue, 'again');
    await inbox.next();
    inbox.subscription.unsubscribe();
    const again = await (await orders.subscribe(queue)).next();
    assert.deepEqual([again.body, again.headers.redelivered], ['again', 'true']);
  });
});

describe('what was missed', () => {
  test('of a topic comes by its position', async (t) => {
    const orders = await service(t);
    const topic = `/topic/orders/${unique('kept')}`;
    const before = await orders.subscribe(topic);
    await orders.send(topic, 'seen');
    const position = (await before.next()).headers['stompede-position'];
    before.subscription.unsubscribe();
    for (const body of ['missed 1', 'missed 2']) await orders.send(topic, body);
    const after = await orders.subscribe(topic, { 'stompede-since': position });
    const first = await after.next();
    assert.deepEqual([first.body, first.headers['stompede-recovered']], ['missed 1', 'true']);
    assert.equal((await after.next()).body, 'missed 2');
  });

  test('of an own queue waits for each device', async (t) => {
    const orders = await service(t);
    const devices = ['phone', 'laptop'];
    for (const device of devices) {
      const here = await web(t);
      await here.subscribe('/user/queue/notices', { 'client-id': device });
      await here.leave();
    }
    await orders.send('/user/web/queue/notices', 'while you were out');
    for (const device of devices) {
      const back = await web(t);
      const inbox = await back.subscribe('/user/queue/notices', { 'client-id': device });
      assert.equal((await inbox.next()).body, 'while you were out', device);
    }
  });
});

test('reply-to:/temp-queue is answered without a SUBSCRIBE, and ends with the session', async (t) => {
  const [orders, acme] = [await service(t), await web(t)];
  const work = await orders.subscribe('/queue/jobs');
  await acme.send('/queue/jobs', 'price?', { 'reply-to': '/temp-queue/answers', 'correlation-id': '7' });
  const asked = await work.next();
  assert.match(asked.headers['reply-to'], /^\/reply-queue\//);
  assert.equal(asked.headers['correlation-id'], '7');
  await orders.send(asked.headers['reply-to'], '42');
  const answer = await acme.strays.next();
  assert.deepEqual([answer.body, answer.headers.subscription], ['42', '/temp-queue/answers']);
  await acme.leave();
  orders.client.publish({ destination: asked.headers['reply-to'], body: 'too late' });
  assert.equal((await orders.ended())['error-code'], 'no-such-reply');
});
