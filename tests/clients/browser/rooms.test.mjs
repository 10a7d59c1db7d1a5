// Rooms on the page: several at once, what was said before in each, what is missing, and what is not allowed.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Broker, WITH_TOKENS } from '../broker.mjs';
import { connect } from '../node/peer.mjs';
import { Line } from './line.mjs';
import { BROKER_DOWN, launch, Person } from './person.mjs';
import { numbered, sendAll, text } from './talk.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

describe('with a broker that stays', () => {
  let broker;
  before(async () => (broker = await Broker.start()));
  after(() => broker?.stop());

  test('several rooms at once, with what is unread in each', async (t) => {
    const alice = await Person.join(t, browser, broker, 'alice', 'left');
    const bob = await Person.join(t, browser, broker, 'bob', 'right');
    await alice.joins('right');
    await alice.seesMembers('alice', 'bob');
    assert.match(alice.page.url(), /room=right$/);
    await bob.joins('left');
    await bob.say('over here');
    await alice.seesUnread('left', '1');
    await bob.say('hello?');
    await alice.seesUnread('left', '2');
    await alice.seesUnread('right', '');
    assert.deepEqual(await alice.messages(), []);
    await alice.picture('unread-1280');

    await alice.page.locator('#say').fill('a draft for the right');
    await alice.turnsTo('left');
    await alice.sees('hello?');
    assert.equal(await alice.page.locator('#say').inputValue(), '');
    await alice.seesUnread('left', '');
    await bob.page.getByText('Read by alice').waitFor();

    // What comes while the page is away is counted all the same.
    await alice.turnsTo('right');
    assert.equal(await alice.page.locator('#say').inputValue(), 'a draft for the right');
    await bob.say('still there?');
    await alice.seesUnread('left', '1');
    await alice.page.reload();
    await alice.is('online');
    await alice.seesRooms('left', 'right');
    await alice.seesUnread('left', '1');

    await alice.page.getByRole('button', { name: 'Leave' }).click();
    await alice.seesRooms('left');
    await alice.sees('still there?');
    await bob.turnsTo('right');
    await bob.page.getByText('alice left').waitFor();
    await bob.seesMembers('bob');
    // Who has left is no member: nothing there is unread.
    await bob.say('anyone?');
    await alice.joins('right');
    await alice.sees('anyone?');
    await alice.turnsTo('left');
    await alice.seesUnread('right', '');
  });

  test('a thousand unread messages and more are a thousand and a plus', async (t) => {
    const alice = await Person.join(t, browser, broker, 'alice', 'quiet');
    await alice.joins('loud');
    await alice.turnsTo('quiet');
    const bob = await connect(t, broker, { login: 'bob' });
    const body = text('again');
    for (let n = 0; n < 1_009; n += 1) bob.client.publish({ destination: '/app/chat/loud/send', body });
    await bob.send('/app/chat/loud/send', body);
    await alice.seesUnread('loud', '1000+');
  });

  test('a room is not joined under a name that none can have', async (t) => {
    const alice = await Person.join(t, browser, broker, 'alice', 'names');
    await alice.joins('a/b');
    await alice.page.getByText('Without / * # > { } %, please.').waitFor();
    assert.deepEqual(await alice.rooms(), ['names']);
    await alice.joins('names');
    assert.deepEqual(await alice.rooms(), ['names']);
  });

  test('who opens a room sees the last fifty messages', async (t) => {
    const bob = await connect(t, broker, { login: 'bob' });
    await sendAll(bob, 'before', numbered(1, 60));
    const alice = await Person.join(t, browser, broker, 'alice', 'before');
    await alice.sees('number 60');
    assert.deepEqual(await alice.messages(), numbered(11, 60));
    assert.equal(await alice.page.locator('li.gap').count(), 0);
  });

  test('after a broken connection nothing is missing and nothing is there twice', async (t) => {
    const line = new Line();
    const bob = await connect(t, broker, { login: 'bob' });
    const alice = await Person.join(t, browser, broker, 'alice', 'gap', { prepare: line.prepare });
    await alice.joins('gap-2');
    await alice.turnsTo('gap');
    let sent = 0;
    for (let round = 0; round < 3; round += 1) {
      await sendAll(bob, 'gap', numbered(sent + 1, sent + 20));
      line.down();
      await alice.is('waiting');
      await sendAll(bob, 'gap', numbered(sent + 21, sent + 100));
      await sendAll(bob, 'gap-2', numbered(sent + 1, sent + 100));
      sent += 100;
      line.up();
      await alice.is('online');
      await alice.sees(`number ${sent}`);
    }
    assert.deepEqual(await alice.messages(), numbered(1, 300));
    await alice.turnsTo('gap-2');
    await alice.sees('number 300');
    assert.deepEqual(await alice.messages(), numbered(1, 300));
    assert.equal(await alice.page.locator('li.gap').count(), 0);
  });

  test('rooms, people and what they say fit a small phone', async (t) => {
    const size = [360, 740];
    const alice = await Person.join(t, browser, broker, 'alice', 'phone', { size, colorScheme: 'dark' });
    for (const room of ['another-room-with-quite-a-long-name-that-goes-on', 'third', 'fourth']) await alice.joins(room);
    await alice.turnsTo('phone');
    const bob = await Person.join(t, browser, broker, 'bob', 'phone', { size });
    await bob.joins('third');
    await bob.say('hello from the third');
    await bob.turnsTo('phone');
    await alice.say('Hello bob');
    await alice.seesUnread('third', '1');
    await bob.page.locator('#say').pressSequentially('typing', { delay: 50 });
    await alice.page.getByText('bob is typing…').waitFor();
    await alice.page.getByText('Read by bob').waitFor();
    for (const person of [alice, bob]) {
      assert.equal(await person.overhang(), 0);
      const composer = await person.page.locator('#compose').boundingBox();
      assert.ok(composer.y + composer.height <= size[1] + 1, `the composer ends at ${composer.y + composer.height}`);
    }
    await alice.picture('rooms-360-dark');
    await bob.picture('rooms-360');
  });
});

/** Little is kept of what was said. */
const FEW_KEPT = `
[[destination]]
pattern = "/topic/chat/**"
history = { messages_max = 5, bytes_max = 65536, age_s_max = 3600 }
`;

test('where more is missing than is kept there is a mark', async (t) => {
  const broker = await Broker.start({ config: FEW_KEPT });
  t.after(() => broker.stop());
  const line = new Line();
  const bob = await connect(t, broker, { login: 'bob' });
  const options = { prepare: line.prepare, colorScheme: 'dark' };
  const alice = await Person.join(t, browser, broker, 'alice', 'short', options);
  await sendAll(bob, 'short', numbered(1, 2));
  await alice.sees('number 2');
  line.down();
  await alice.is('waiting');
  await sendAll(bob, 'short', numbered(3, 12));
  line.up();
  await alice.is('online');
  await alice.sees('number 12');
  assert.deepEqual(await alice.messages(), [...numbered(1, 2), ...numbered(8, 12)]);
  const lines = await alice.page.locator('#messages > li').evaluateAll((items) =>
    items.filter(({ className }) => /message|gap/.test(className)).map((item) => (item.querySelector('.body') ?? item).textContent),
  );
  assert.deepEqual(lines, [...numbered(1, 2), 'Some messages are missing here', ...numbered(8, 12)]);
  await alice.picture('gap-1280-dark');
});

test('a broker with a data directory is killed, and the pages go on where they were', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'stompede-data-'));
  const broker = await Broker.start({ args: ['--data', data] });
  t.after(async () => {
    await broker.stop();
    await rm(data, { recursive: true, force: true });
  });
  const options = { mayFail: BROKER_DOWN };
  const alice = await Person.join(t, browser, broker, 'alice', 'kept', options);
  const bob = await Person.join(t, browser, broker, 'bob', 'kept', options);
  await alice.joins('aside');
  await bob.say('before');
  await alice.seesUnread('kept', '1');
  assert.equal(await broker.end('SIGKILL'), 'SIGKILL');
  await alice.is('waiting');
  await bob.is('waiting');
  await broker.again();
  await bob.is('online', RETURN_MS);
  await bob.say('after');
  await alice.is('online', RETURN_MS);
  await alice.seesUnread('kept', '2');
  await alice.turnsTo('kept');
  await alice.sees('after');
  assert.deepEqual(await alice.messages(), ['before', 'after']);
  assert.deepEqual(await bob.messages(), ['before', 'after']);
  assert.equal(await alice.page.locator('li.gap').count(), 0);
  await bob.page.getByText('Read by alice').waitFor();
  await alice.picture('killed-1280');
});

/** A page that has waited tries again after at most so long. */
const RETURN_MS = 30_000;

/** Users may talk, and nothing else. */
const NOTHING_BUT_TALK = `${WITH_TOKENS}
[[access.rule]]
pattern = "/topic/chat/{room}"
actions = ["history", "presence"]
who = ["service"]
[[access.rule]]
pattern = "/app/chat/{room}/send"
actions = ["send"]
who = ["claim rooms contains {room}"]
[[access.rule]]
pattern = "/app/**"
actions = ["send", "subscribe"]
who = ["service"]
[[access.rule]]
pattern = "/user/queue/unread"
actions = ["subscribe"]
who = ["service"]
`;

test('where the broker allows nothing but talk the page talks', async (t) => {
  const broker = await Broker.start({ config: NOTHING_BUT_TALK });
  t.after(() => broker.stop());
  const line = new Line();
  const joined = async (name, options) => {
    const person = await Person.open(t, browser, broker, options);
    await person.page.getByText('I have a token').click();
    await person.page.getByLabel('JSON Web Token').fill(broker.token(name, '42'));
    await person.page.getByLabel('Room').fill('42');
    await person.page.getByRole('button', { name: 'Join the room' }).click();
    await person.is('online');
    return person;
  };
  const [alice, bob] = [await joined('alice', { prepare: line.prepare }), await joined('bob')];
  await alice.say('one');
  await bob.sees('one');
  await bob.page.locator('#say').pressSequentially('two');
  await bob.page.locator('#say').press('Enter');
  await alice.sees('two');
  await alice.page.getByText('The broker does not tell you.').waitFor();
  await alice.page.getByLabel('My status').selectOption('away');
  await alice.page.getByText('Refused: not allowed to SEND to /app/user/status').waitFor();
  assert.equal(await alice.page.getByLabel('My status').inputValue(), 'online');

  // A room that is refused does not take the others with it.
  await alice.joins('43');
  await alice.page.getByText('43: not allowed to SUBSCRIBE to /topic/chat/43 (forbidden)').waitFor();
  assert.deepEqual(await alice.rooms(), ['42']);
  await alice.picture('refused-room-1280');

  line.down();
  await alice.is('waiting');
  await bob.say('unheard');
  line.up();
  await alice.is('online');
  await alice.page.getByText('Back online. What others wrote meanwhile is not shown.').waitFor();
  await bob.say('heard');
  await alice.sees('heard');
  assert.deepEqual(await alice.messages(), ['one', 'two', 'heard']);
});
