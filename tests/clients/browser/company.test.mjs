// The others in a room, on the page: who is there and how, who types, who has read.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { connect } from '../node/peer.mjs';
import { Line } from './line.mjs';
import { launch, Person } from './person.mjs';
import { numbered, sendAll } from './talk.mjs';

let browser;
let broker;
before(async () => {
  [browser, broker] = await Promise.all([launch(), Broker.start()]);
});
after(async () => {
  await browser?.close();
  await broker?.stop();
});

test('a status is chosen, seen by others, and by those who come later', async (t) => {
  const alice = await Person.join(t, browser, broker, 'alice', 'status');
  const bob = await Person.join(t, browser, broker, 'bob', 'status');
  await alice.seesMembers('alice', 'bob');
  await alice.seesStatus('bob', 'online');
  await bob.page.getByLabel('My status').selectOption('busy');
  for (const person of [alice, bob]) await person.seesStatus('bob', 'busy');
  await alice.picture('status-1280');

  const carol = await Person.join(t, browser, broker, 'carol', 'status');
  await carol.seesStatus('bob', 'busy');
  // He is busy already when he comes to another room.
  const dave = await Person.join(t, browser, broker, 'dave', 'elsewhere');
  await bob.joins('elsewhere');
  await dave.seesStatus('bob', 'busy');
  await bob.page.getByLabel('My status').selectOption('online');
  for (const person of [alice, carol, dave]) await person.seesStatus('bob', 'online');
});

test('what another program of mine says of me is shown as my status', async (t) => {
  const alice = await Person.join(t, browser, broker, 'alice', 'own');
  await alice.seesMembers('alice');
  const program = await connect(t, broker, { login: 'alice' });
  await program.send('/app/user/status', '{"status":"on the phone"}');
  await alice.seesStatus('alice', 'on the phone');
  assert.equal(await alice.page.getByLabel('My status').inputValue(), 'on the phone');
  await alice.page.getByLabel('My status').selectOption('online');
  await alice.seesStatus('alice', 'online');
});

test('a list that missed an event is asked for again', async (t) => {
  const line = new Line();
  const alice = await Person.join(t, browser, broker, 'alice', 'missed', { prepare: line.prepare });
  const [bob, carol] = [
    await connect(t, broker, { login: 'bob' }),
    await connect(t, broker, { login: 'carol' }),
  ];
  for (const peer of [bob, carol]) await peer.subscribe('/topic/chat/missed');
  await alice.seesMembers('alice', 'bob', 'carol');
  let lost = 0;
  line.loses = (frame) => {
    const isLost = frame.includes('"LEAVE"') && frame.includes('"bob"');
    lost += isLost;
    return isLost;
  };
  await bob.leave();
  await carol.leave();
  await alice.seesMembers('alice');
  assert.equal(lost, 1);
  assert.equal(await alice.page.getByText('bob left').count(), 0);
});

test('after a broken connection the list is what it is then', async (t) => {
  const line = new Line();
  const alice = await Person.join(t, browser, broker, 'alice', 'broken', { prepare: line.prepare });
  const bob = await connect(t, broker, { login: 'bob' });
  await bob.subscribe('/topic/chat/broken');
  await alice.seesMembers('alice', 'bob');
  line.down();
  await alice.is('waiting');
  await bob.leave();
  const carol = await connect(t, broker, { login: 'carol' });
  await carol.subscribe('/topic/chat/broken');
  line.up();
  await alice.is('online');
  await alice.seesMembers('alice', 'carol');
});

test('a large room shows how many are there', async (t) => {
  const alice = await Person.join(t, browser, broker, 'alice', 'large');
  const crowd = await Promise.all(
    Array.from({ length: 210 }, async (_, n) => {
      const peer = await connect(t, broker, { login: `guest-${n}` });
      await peer.subscribe('/topic/chat/large');
      return peer;
    }),
  );
  await alice.page.locator('#member-count', { hasText: /^211$/ }).waitFor();
  await alice.page.getByText(/^and \d+ more$/).waitFor();
  await alice.picture('large-1280');
  await Promise.all(crowd.slice(0, 200).map((peer) => peer.leave()));
  await alice.page.getByText(/^and \d+ more$/).waitFor({ state: 'detached' });
  await alice.seesMembers('alice', ...crowd.slice(200).map((_, n) => `guest-${n + 200}`));
});

test('others see who types, for a while, and the broker is told once a second', async (t) => {
  const line = new Line();
  const alice = await Person.join(t, browser, broker, 'alice', 'typing');
  const bob = await Person.join(t, browser, broker, 'bob', 'typing', { prepare: line.prepare });
  const shown = alice.page.getByText('bob is typing…');
  const start = Date.now();
  await bob.page.locator('#say').pressSequentially('I think that', { delay: 150 });
  await shown.waitFor();
  const seconds = Math.floor((Date.now() - start) / 1_000);
  const told = line.count('SEND', '/app/chat/typing/typing');
  assert.ok(told >= 1 && told <= seconds + 1, `told ${told} times in ${seconds} s`);
  await alice.picture('typing-1280');
  assert.equal(await bob.page.getByText('bob is typing…').count(), 0);
  // What is sent is typed no more.
  await bob.page.locator('#say').press('Enter');
  await alice.sees('I think that');
  assert.equal(await shown.count(), 0);

  // For more than a second: where the machine is slow, the broker may take the first for a repetition.
  await bob.page.locator('#say').pressSequentially('and so on and on', { delay: 150 });
  await shown.waitFor();
  await shown.waitFor({ state: 'detached', timeout: 5_000 });
});

test('what is looked at is read, and its author sees by whom', async (t) => {
  const alice = await Person.join(t, browser, broker, 'alice', 'read');
  const bob = await Person.join(t, browser, broker, 'bob', 'read');
  const carol = await Person.join(t, browser, broker, 'carol', 'read');
  const readers = (who) => alice.page.locator('li.message', { hasText: who.of }).getByText(`Read by ${who.by}`, { exact: true });
  await carol.looksAway();
  await alice.say('the first');
  await readers({ of: 'the first', by: 'bob' }).waitFor();
  await carol.sees('the first');
  await carol.looksBack();
  await readers({ of: 'the first', by: 'bob and carol' }).waitFor();
  await alice.picture('read-1280');

  // The mark goes on to the last one of mine; who has scrolled up has not read it.
  await sendAll(await connect(t, broker, { login: 'dave' }), 'read', numbered(1, 60));
  await bob.sees('number 60');
  await bob.page.locator('#log').evaluate((log) => (log.scrollTop = 0));
  await bob.page.locator('#rooms .badge').waitFor({ state: 'hidden' });
  await alice.say('the last');
  await readers({ of: 'the last', by: 'carol' }).waitFor();
  await bob.seesUnread('read', '1');
  assert.equal(await alice.page.getByText(/^Read by/).count(), 1);
  await bob.page.getByRole('button', { name: 'New messages' }).click();
  await readers({ of: 'the last', by: 'carol and bob' }).waitFor();
  await bob.seesUnread('read', '');
});
