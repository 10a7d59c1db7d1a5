// A broker with a data directory that is killed amid a conversation: what the README's program makes of it.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { connect } from './peer.mjs';
import { begin } from './readme.mjs';

let broker;
let data;
before(async () => {
  data = await mkdtemp(join(tmpdir(), 'stompede-data-'));
  broker = await Broker.start({ args: ['--data', data] });
});
after(async () => {
  await broker?.stop();
  await rm(data, { recursive: true, force: true });
});

/** The README's program for `login` in room 42, at work. */
async function run(t, login) {
  const running = await begin(t, broker, login, '42', 50);
  running.client.activate();
  return running;
}

/** Kills the broker as the machine's memory guard would, and starts it again. */
async function killed() {
  assert.equal(await broker.end('SIGKILL'), 'SIGKILL');
  await broker.again();
}

test('a conversation goes on over three kills: each message once, in order, for all', { timeout: 60_000 }, async (t) => {
  const [listener, speaker] = [await run(t, 'alice'), await run(t, 'bob')];
  const texts = Array.from({ length: 400 }, (_, n) => `number ${n + 1}`);
  for (const [index, content] of texts.entries()) {
    speaker.say(content);
    if (index % 100 === 50) await killed();
    else if (index % 10 === 0) await new Promise((resume) => setTimeout(resume, 5));
  }
  assert.deepEqual(await speaker.shown.bodies(400), texts);
  assert.deepEqual(await listener.shown.bodies(400), texts);
  while (speaker.unconfirmed.size > 0) await new Promise((resume) => setTimeout(resume, 10));
  assert.equal(listener.reloads, 0);
  assert.equal(speaker.reloads, 0);
});

test('members, what they have read, jobs and offline messages are there after a kill', { timeout: 60_000 }, async (t) => {
  const alice = await connect(t, broker, { login: 'alice' });
  const sent = await connect(t, broker, { login: 'bob' });
  await sent.send('/queue/jobs', 'job 1');
  await sent.send('/queue/jobs', 'job 2');
  await alice.send('/app/chat/42/read', JSON.stringify({ offset: 390 }));
  await killed();
  const again = await connect(t, broker, { login: 'alice' });
  const unread = await again.subscribe('/app/chat/unread');
  const answer = JSON.parse((await unread.next()).body);
  assert.deepEqual(answer.rooms, [{ chatRoomId: '42', unread: 10 }]);
  const jobs = await again.subscribe('/queue/jobs');
  assert.deepEqual(await jobs.bodies(2), ['job 1', 'job 2']);
});
