// Three instances behind HAProxy, as the README sets them up: their clients do not notice that they are three.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WITH_TOKENS } from '../broker.mjs';
import { asked, Cluster, NAMES, until } from '../cluster.mjs';
import { connect, Inbox, open, unique, within } from './peer.mjs';

/** Notices wait for those who are away. */
const KEPT_NOTICES = `
[[destination]]
pattern = "/user/queue/notices"
offline = { messages_max = 100, bytes_max = 1048576, age_s_max = 3600 }
`;

let cluster;
before(async () => (cluster = await Cluster.start({ config: KEPT_NOTICES })));
after(() => cluster?.stop());

const text = (content) => JSON.stringify({ type: 'TEXT', content });
const numbered = (count, prefix = 'number') => Array.from({ length: count }, (_, n) => `${prefix} ${n + 1}`);

/** A session of each login, each on another instance; all by the balancer, which nobody tells where to put them. */
async function spread(t, logins) {
  const peers = [];
  const taken = new Set();
  for (const login of logins) {
    let peer = await connect(t, cluster, { login });
    for (let tries = 0; taken.has(peer.connected.server); tries += 1) {
      assert.ok(tries < 30, `${login} is put to ${[...taken]} only`);
      peer = await connect(t, cluster, { login });
    }
    taken.add(peer.connected.server);
    peers.push(peer);
  }
  return peers;
}

/** What was said in a room of the next `count` messages; events are left out. */
async function said(inbox, count) {
  const contents = [];
  while (contents.length < count) {
    const { body } = await inbox.next();
    const message = JSON.parse(body);
    if (message.type === 'TEXT') contents.push(message.content);
  }
  return contents;
}

test('the balancer spreads sessions over all three, and each is ready', async (t) => {
  const peers = await spread(t, ['alice', 'bob', 'carol']);
  assert.deepEqual(peers.map((peer) => peer.connected.server).sort(), [...NAMES].sort());
  for (const broker of cluster.brokers) {
    assert.equal((await asked(broker, '/readyz')).status, 200);
    assert.equal(JSON.parse((await asked(broker, '/api/v1/info')).text).store, 'redis');
  }
});

test('a topic and its wildcards: all on all instances get everything, in one order', async (t) => {
  const place = unique('/topic/all');
  const peers = await spread(t, ['alice', 'bob', 'carol']);
  const inboxes = [];
  for (const peer of peers) {
    for (const destination of [`${place}/1`, `${place}/*`, `${place}/**`]) inboxes.push(await peer.subscribe(destination));
  }
  const sending = peers.map(async (peer, who) => {
    for (const body of numbered(100, `${who}`)) await peer.send(`${place}/1`, body);
  });
  const [first, ...others] = await Promise.all(inboxes.map((inbox) => inbox.bodies(300)));
  await Promise.all(sending);
  for (const who of [0, 1, 2]) assert.deepEqual(first.filter((body) => body.startsWith(`${who} `)), numbered(100, `${who}`));
  for (const bodies of others) assert.deepEqual(bodies, first);
  await peers[0].send(`${place}/1`, 'last');
  for (const inbox of inboxes) assert.deepEqual(await inbox.bodies(1), ['last']);
});

test('a subscription that has its receipt gets what anybody sends after it', async (t) => {
  const [alice, bob] = await spread(t, ['alice', 'bob']);
  for (let round = 0; round < 50; round += 1) {
    const destination = unique('/topic/at-once');
    const inbox = await alice.subscribe(destination);
    await bob.send(destination, `round ${round}`);
    assert.deepEqual(await inbox.bodies(1), [`round ${round}`]);
  }
});

test('wildcards that come and go do not disturb who is there', async (t) => {
  const place = unique('/topic/steady');
  const [alice, bob, carol] = await spread(t, ['alice', 'bob', 'carol']);
  const steady = await alice.subscribe(`${place}/1`);
  const bodies = numbered(400);
  const sending = (async () => {
    for (const body of bodies) await bob.send(`${place}/1`, body);
  })();
  for (let round = 0; round < 10; round += 1) {
    const passing = await alice.subscribe('/topic/**');
    const other = await carol.subscribe(`${place}/**`);
    await passing.next();
    await other.next();
    passing.subscription.unsubscribe();
    other.subscription.unsubscribe();
  }
  assert.deepEqual(await steady.bodies(400), bodies);
  await sending;
});

test('a room: what was said on one instance is heard, and read later, on the others', async (t) => {
  const room = unique('room');
  const peers = await spread(t, ['alice', 'bob', 'carol']);
  const inboxes = [];
  for (const peer of peers) inboxes.push(await peer.subscribe(`/topic/chat/${room}`));
  const sending = peers.map(async (peer, who) => {
    for (const content of numbered(60, `${who}`)) await peer.send(`/app/chat/${room}/send`, text(content));
  });
  const heard = await Promise.all(inboxes.map((inbox) => said(inbox, 180)));
  await Promise.all(sending);
  assert.deepEqual(heard[1], heard[0]);
  assert.deepEqual(heard[2], heard[0]);
  for (const peer of await spread(t, ['dave', 'erin', 'frank'])) {
    const late = await peer.subscribe(`/topic/chat/${room}`, { 'stompede-history': '50' });
    assert.deepEqual(await said(late, 50), heard[0].slice(-50), peer.connected.server);
  }
});

test('each tab of a user gets his messages, whichever instance it is on', async (t) => {
  const user = unique('alice');
  const [left, right, bob] = await spread(t, [user, user, 'bob']);
  const inboxes = [];
  for (const tab of [left, right]) inboxes.push(await tab.subscribe('/user/queue/mail'));
  for (const body of numbered(20)) await bob.send(`/user/${user}/queue/mail`, body);
  await left.send(`/user/${user}/queue/mail`, 'from myself');
  for (const inbox of inboxes) assert.deepEqual(await inbox.bodies(21), [...numbered(20), 'from myself']);
});

test('what was sent to a user who is away waits for him on any instance', async (t) => {
  const user = unique('away');
  const [bob, there] = await spread(t, ['bob', user]);
  await there.subscribe('/user/queue/notices');
  await there.leave();
  for (const body of numbered(5)) await bob.send(`/user/${user}/queue/notices`, body);
  const others = cluster.brokers.filter((broker) => broker !== cluster.named(there.connected.server));
  const back = await connect(t, others[0], { login: user });
  const inbox = await back.subscribe('/user/queue/notices');
  assert.deepEqual(await inbox.bodies(5), numbered(5));
  await back.leave();
  // They are taken: they do not come again, wherever he asks.
  const again = await connect(t, others[1], { login: user });
  const rest = await again.subscribe('/user/queue/notices');
  await bob.send(`/user/${user}/queue/notices`, 'new');
  assert.deepEqual(await rest.bodies(1), ['new']);
});

test('requests are answered by a worker on another instance', async (t) => {
  const app = unique('/app/sum');
  const [worker, alice, bob] = await spread(t, ['guest', 'alice', 'bob']);
  const requests = await worker.subscribe(app);
  for (const peer of [alice, bob]) {
    // One request with one answer, by SUBSCRIBE.
    const answer = new Inbox('the answer');
    peer.client.subscribe(app, (message) => answer.put(message));
    const asked = await requests.next();
    assert.equal(asked.headers.command, 'SUBSCRIBE');
    assert.equal(asked.headers['user-name'], peer.connected['user-name']);
    await worker.send(asked.headers['reply-to'], 'forty-two');
    assert.equal((await answer.next()).body, 'forty-two');
    // And by SEND, with an address for answers.
    await peer.send(app, '6 * 7', { 'reply-to': '/temp-queue/sums' });
    const sum = await requests.next();
    assert.equal(sum.body, '6 * 7');
    for (const body of ['42', 'and that is all']) await worker.send(sum.headers['reply-to'], body);
    assert.equal((await peer.strays.next()).body, '42');
    const last = await peer.strays.next();
    assert.equal(last.body, 'and that is all');
    assert.equal(last.headers.subscription, '/temp-queue/sums');
  }
});

test('an answer to somebody who has gone reaches nobody, and does not end the worker', async (t) => {
  const app = unique('/app/late');
  const [worker, far] = await spread(t, ['guest', 'alice']);
  const near = await connect(t, cluster.named(worker.connected.server), { login: 'bob' });
  const errors = await worker.subscribe('/user/queue/errors');
  const requests = await worker.subscribe(app);
  for (const asker of [near, far]) {
    await asker.send(app, 'quick', { 'reply-to': '/temp-queue/late' });
    const { headers } = await requests.next();
    await asker.leave();
    const receipt = unique('late');
    const ended = within(
      Promise.race([
        new Promise((resume) => worker.client.watchForReceipt(receipt, () => resume('receipt'))),
        errors.next().then(({ body }) => JSON.parse(body).code),
      ]),
      'an end of the late answer',
    );
    worker.client.publish({ destination: headers['reply-to'], body: 'too late', headers: { receipt } });
    // Of another instance nobody asks whether the session is there still.
    if (asker === near) assert.equal(await ended, 'no-such-reply');
    else assert.match(await ended, /^(receipt|no-such-reply)$/);
  }
  await worker.send(unique('/topic/on'), 'the worker goes on');
});

test('a key seen by one instance is known to the others', async (t) => {
  const room = unique('once');
  const [alice, bob] = await spread(t, ['alice', 'bob']);
  const inbox = await bob.subscribe(`/topic/chat/${room}`);
  const headers = { 'idempotency-key': unique('key') };
  await alice.send(`/app/chat/${room}/send`, text('first'), headers);
  for (const broker of cluster.brokers) {
    const again = await connect(t, broker, { login: 'alice' });
    await again.send(`/app/chat/${room}/send`, text('again'), headers);
  }
  await alice.send(`/app/chat/${room}/send`, text('last'));
  assert.deepEqual(await said(inbox, 2), ['first', 'last']);
});

test('who comes back to another instance gets what he missed, without hole or double', async (t) => {
  const room = unique('back');
  const [bob] = await spread(t, ['bob']);
  const texts = numbered(300);
  let isOver = false;
  const sending = (async () => {
    for (const content of texts) await bob.send(`/app/chat/${room}/send`, text(content));
  })().finally(() => (isOver = true));
  let since = { 'stompede-history': '1000' };
  const received = [];
  for (let visit = 0; !isOver || received.length < 300; visit += 1) {
    assert.ok(visit < 300);
    const alice = await connect(t, cluster.brokers[visit % 3], { login: 'alice' });
    const receipt = alice.receipt();
    const inbox = new Inbox(`visit ${visit}`);
    alice.client.subscribe(`/topic/chat/${room}`, (message) => inbox.put(message), { ...since, receipt: receipt.id });
    const told = (await receipt).headers;
    assert.equal(told['stompede-recovered'], 'true');
    since = { 'stompede-since': told['stompede-position'] };
    for (let count = 0; count < 20 && received.length < 300; ) {
      const { body, headers } = await inbox.next();
      if (headers.event) continue;
      assert.notEqual(headers['stompede-recovered'], 'false');
      received.push(JSON.parse(body).content);
      since = { 'stompede-since': headers['stompede-position'] };
      count += 1;
    }
    await alice.drop();
  }
  await sending;
  assert.deepEqual(received, texts);
});

test('tokens decide on every instance', async (t) => {
  const guarded = await Cluster.start({ config: WITH_TOKENS });
  t.after(() => guarded.stop());
  const token = guarded.brokers[0].token('carol', '42');
  const signedIn = (broker) => connect(t, broker, { login: undefined, headers: { Authorization: `Bearer ${token}` } });
  const carols = await Promise.all(guarded.brokers.map(signedIn));
  const inboxes = await Promise.all(carols.map((carol) => carol.subscribe('/topic/chat/42')));
  await carols[0].send('/app/chat/42/send', text('mine'));
  for (const inbox of inboxes) assert.deepEqual(await said(inbox, 1), ['mine']);
  for (const carol of carols) {
    carol.client.subscribe('/topic/chat/43', () => {}, { receipt: 'other' });
    assert.equal((await carol.ended())['error-code'], 'forbidden');
  }
  const nobody = open(t, guarded, { login: 'alice', passcode: 'guest' });
  assert.equal((await nobody.ended())['error-code'], 'unauthorized');
});

test('a work queue: its messages are shared by consumers on three instances, each given once', async (t) => {
  const queue = unique('/queue/shared');
  const [producer] = await spread(t, ['producer']);
  const consumers = await spread(t, ['one', 'two', 'three']);
  const got = new Map();
  const counts = new Map(consumers.map((consumer) => [consumer, 0]));
  for (const consumer of consumers) {
    const take = (message) => {
      got.set(message.body, (got.get(message.body) ?? 0) + 1);
      counts.set(consumer, counts.get(consumer) + 1);
      message.ack();
    };
    const receipt = consumer.receipt();
    consumer.client.subscribe(queue, take, { ack: 'client-individual', 'prefetch-count': '3', receipt: receipt.id });
    await receipt;
  }
  for (const body of numbered(150)) await producer.send(queue, body);
  await until(() => got.size === 150, () => `${got.size} of 150`);
  assert.deepEqual([...got.values()].filter((count) => count !== 1), []);
  for (const count of counts.values()) assert.ok(count >= 10, `${[...counts.values()]}`);
});

test('what waits in a work queue is there for whoever comes, on any instance, in its order', async (t) => {
  const queue = unique('/queue/waiting');
  const [alice, bob, carol] = await spread(t, ['alice', 'bob', 'carol']);
  for (const body of numbered(30)) await alice.send(queue, body);
  const held = new Inbox('held');
  bob.client.subscribe(queue, (message) => held.put(message), { ack: 'client', 'prefetch-count': '10' });
  assert.deepEqual(await held.bodies(10), numbered(10));
  // He goes without a word of thanks: what he held comes first, and is known to have been out.
  await bob.drop();
  // His instance has to notice that he is gone before another can have what he held.
  await until(async () => (await carol.look(queue))[9]?.headers.redelivered === 'true', 'what bob held comes back');
  const inbox = new Inbox('again');
  carol.client.subscribe(queue, (message) => (inbox.put(message), message.ack()), { ack: 'client-individual' });
  const messages = [];
  while (messages.length < 30) messages.push(await inbox.next());
  assert.deepEqual(messages.map(({ body }) => body), numbered(30));
  assert.deepEqual(messages.map(({ headers }) => headers.redelivered === 'true'), numbered(30).map((_, n) => n < 10));
});

test('an instance dies with what its consumers held: others get it, in order, redelivered', { timeout: 60_000 }, async (t) => {
  const three = await Cluster.start();
  t.after(() => three.stop());
  const queue = unique('/queue/orphans');
  const [victim, producer, heir] = await Promise.all(
    three.brokers.map((broker, n) => connect(t, broker, { login: `user-${n}`, onWebSocketError: () => {} })),
  );
  const held = new Inbox('held');
  victim.client.subscribe(queue, (message) => held.put(message), { ack: 'client', 'prefetch-count': '10' });
  for (const body of numbered(20)) await producer.send(queue, body);
  assert.deepEqual(await held.bodies(10), numbered(10));
  await three.brokers[0].end('SIGKILL');
  const inbox = new Inbox('inherited');
  heir.client.subscribe(queue, (message) => inbox.put(message), { ack: 'client-individual', 'prefetch-count': '20' });
  const messages = [];
  while (messages.length < 20) messages.push(await inbox.next(ORPHANS_MS));
  // What nobody held came at once; what the dead one held, when it was known to be dead.
  assert.deepEqual(messages.slice(0, 10).map(({ body }) => body), numbered(20).slice(10));
  assert.deepEqual(messages.slice(10).map(({ body }) => body), numbered(10));
  assert.ok(messages.slice(10).every(({ headers }) => headers.redelivered === 'true'));
  // Nothing comes a third time, though the dead one is back.
  await three.brokers[0].again();
  messages.forEach((message) => message.ack());
  await producer.send(queue, 'the last');
  assert.deepEqual(await inbox.bodies(1), ['the last']);
});

/** Until what a dead instance held is given to others. */
const ORPHANS_MS = 20_000;
