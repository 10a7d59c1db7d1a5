// The README's program for broken connections, as it stands there, on a line that breaks.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { connect, Inbox, unique } from './peer.mjs';
import { begin } from './readme.mjs';

let broker;
before(async () => (broker = await Broker.start()));
after(() => broker?.stop());

/** Runs the program for a room until it shows something; `connected` is each CONNECTED after that. */
async function run(t, login, room) {
  const running = await begin(t, broker, login, room, 20);
  running.connected = new Inbox('CONNECTED');
  const { client } = running;
  const { onConnect } = client;
  client.onConnect = (frame) => {
    onConnect(frame);
    running.connected.put(frame);
  };
  client.activate();
  await running.connected.next();
  running.say(`here is ${login}`);
  while ((await running.shown.next()).body !== `here is ${login}`);
  return running;
}

/** Breaks the connection as a failing network does, and waits for the next. */
async function cut({ client, connected }) {
  client.webSocket.terminate();
  await connected.next();
}

const numbered = (count) => Array.from({ length: count }, (_, n) => `number ${n + 1}`);

test('a listener that is cut off five times gets all of 300 messages, in order and once', async (t) => {
  const room = unique('listener');
  const listener = await run(t, 'alice', room);
  const sender = await connect(t, broker, { login: 'bob' });
  const texts = numbered(300);
  const sending = (async () => {
    for (const content of texts) await sender.send(`/app/chat/${room}/send`, JSON.stringify({ type: 'TEXT', content }));
  })();
  const received = [];
  for (let round = 0; round < 5; round += 1) {
    received.push(...(await listener.shown.bodies(40)));
    await cut(listener);
  }
  await sending;
  received.push(...(await listener.shown.bodies(100)));
  assert.deepEqual(received, texts);
  assert.equal(listener.reloads, 0);
  assert.equal(await later(listener), 0);
});

test('a speaker who is cut off five times is heard once with each of 300 messages, in order', async (t) => {
  const room = unique('speaker');
  const listener = await run(t, 'alice', room);
  const speaker = await run(t, 'bob', room);
  assert.equal((await listener.shown.next()).body, 'here is bob');
  const texts = numbered(300);
  for (const [index, content] of texts.entries()) {
    speaker.say(content);
    // In the midst of it: some have been taken, and their receipts do not come through.
    if (index % 60 === 30) await cut(speaker);
  }
  assert.deepEqual(await listener.shown.bodies(300), texts);
  assert.deepEqual(await speaker.shown.bodies(300), texts);
  while (speaker.unconfirmed.size > 0) await new Promise((resume) => setTimeout(resume, 10));
  assert.equal(await later(listener), 0);
});

test('what is not kept any more is told', async (t) => {
  const kept = broker;
  broker = await Broker.start({ config: FEW_KEPT });
  t.after(async () => {
    await broker.stop();
    broker = kept;
  });
  const room = unique('told');
  const listener = await run(t, 'alice', room);
  const sender = await connect(t, broker, { login: 'bob' });
  const send = (content) => sender.send(`/app/chat/${room}/send`, JSON.stringify({ type: 'TEXT', content }));
  await send('number 1');
  assert.equal((await listener.shown.next()).body, 'number 1');
  await listener.client.deactivate({ force: true });
  for (const content of numbered(12).slice(1)) await send(content);
  listener.client.activate();
  assert.deepEqual(await listener.shown.bodies(5), numbered(12).slice(7));
  assert.equal(listener.reloads, 1);
});

/** Little is kept of what was said. */
const FEW_KEPT = `
[[destination]]
pattern = "/topic/chat/**"
history = { messages_max = 5, bytes_max = 65536, age_s_max = 3600 }
`;

/** How many more the listener gets, up to one that is sent now. */
async function later({ say, shown }) {
  say('the very last');
  let count = 0;
  while ((await shown.next()).body !== 'the very last') count += 1;
  return count;
}
