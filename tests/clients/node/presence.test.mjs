// Who is there, over three instances: told once to each, whatever dies, and equal to what stands in Redis for operators.
//
// STOMPEDE_CHAOS_LONG=1 also freezes an instance for 20 s.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, pause, until } from '../cluster.mjs';
import { connect, Inbox, unique } from './peer.mjs';
import { truthful } from './truth.mjs';

/** No ghost is older: what is promised. */
const GHOST_MS = 15_000;

/** Somebody who watches a room: of each user, the comings and goings that he was told of. */
class Watcher {
  #told = new Map();
  versions = [];

  static async come(t, broker, login, room) {
    const watcher = new Watcher();
    watcher.peer = await connect(t, broker, { login });
    const receipt = watcher.peer.receipt();
    watcher.peer.client.subscribe(`/topic/chat/${room}`, (message) => watcher.#hear(message), { receipt: receipt.id });
    await receipt;
    return watcher;
  }

  /** What he was told of a user, in order. */
  told(user) {
    return this.#told.get(user) ?? [];
  }

  async saw(user, events, ms) {
    const is = () => JSON.stringify(this.told(user)) === JSON.stringify(events);
    await until(is, () => `${events} of ${user}, not ${this.told(user)}`, ms);
  }

  #hear({ headers, body }) {
    if (headers.event !== 'JOIN' && headers.event !== 'LEAVE') return;
    const { userId, version } = JSON.parse(body);
    this.#told.set(userId, [...this.told(userId), headers.event]);
    this.versions.push(version);
  }
}

/** The members of a room, as an instance tells them. */
async function members(peer, room) {
  const answer = new Inbox('members');
  const subscription = peer.client.subscribe(`/app/chat/${room}/members`, (message) => answer.put(message));
  const { members: found } = JSON.parse((await answer.next()).body);
  subscription.unsubscribe();
  return found.map(({ userId, status }) => `${userId} ${status}`).sort();
}

async function cluster(t) {
  const started = await Cluster.start();
  t.after(() => started.stop());
  return started;
}

test('a user is one, on however many instances', { timeout: 60_000 }, async (t) => {
  const three = await cluster(t);
  const room = unique('one');
  const watchers = [];
  for (const [n, broker] of three.brokers.entries()) watchers.push(await Watcher.come(t, broker, `watcher-${n}`, room));
  for (const later of [1, 2]) await watchers[0].saw(`watcher-${later}`, ['JOIN']);

  const tabs = [];
  for (const broker of three.brokers) {
    const tab = await connect(t, broker, { login: 'alice' });
    await tab.subscribe(`/topic/chat/${room}`);
    tabs.push(tab);
  }
  await tabs[1].send('/app/user/status', '{"status":"away"}');
  const here = ['alice away', ...watchers.map((_, n) => `watcher-${n} online`)];
  for (const { peer } of watchers) await until(async () => (await members(peer, room)).join() === here.join(), `${here}`);
  assert.equal(await three.redis.cli('SCARD', 'websocket:online_users'), '4');
  await truthful(three.redis, { [room]: ['alice', 'watcher-0', 'watcher-1', 'watcher-2'] }, { alice: 'away' });

  for (const tab of tabs) {
    for (const watcher of watchers) assert.deepEqual(watcher.told('alice'), ['JOIN']);
    await tab.leave();
  }
  for (const watcher of watchers) {
    await watcher.saw('alice', ['JOIN', 'LEAVE']);
    assert.deepEqual(watcher.versions, watcher.versions.map((_, n) => watcher.versions[0] + n));
  }
  await truthful(three.redis, { [room]: ['watcher-0', 'watcher-1', 'watcher-2'] });
});

test('a broken connection lingers: whoever comes back to another instance was never away', { timeout: 60_000 }, async (t) => {
  const three = await cluster(t);
  const room = unique('linger');
  const watchers = [];
  for (const [n, broker] of three.brokers.entries()) watchers.push(await Watcher.come(t, broker, `watcher-${n}`, room));
  const first = await connect(t, three.brokers[0], { login: 'alice' });
  await first.subscribe(`/topic/chat/${room}`);
  const bob = await connect(t, three.brokers[1], { login: 'bob' });
  await bob.subscribe(`/topic/chat/${room}`);
  await Promise.all([first.drop(), bob.drop()]);
  const second = await connect(t, three.brokers[2], { login: 'alice' });
  await second.subscribe(`/topic/chat/${room}`);
  for (const watcher of watchers) {
    await watcher.saw('bob', ['JOIN', 'LEAVE'], GHOST_MS);
    assert.deepEqual(watcher.told('alice'), ['JOIN']);
  }
});

test('an instance dies: each of its users leaves once, within 15 s, and no other', { timeout: 90_000 }, async (t) => {
  const three = await cluster(t);
  const room = unique('dead');
  const watchers = [];
  for (const n of [1, 2]) watchers.push(await Watcher.come(t, three.brokers[n], `watcher-${n}`, room));
  const come = async (broker, login) => {
    const peer = await connect(t, broker, { login, onWebSocketError: () => {} });
    await peer.subscribe(`/topic/chat/${room}`);
    return peer;
  };
  const gone = Array.from({ length: 10 }, (_, n) => `gone-${n}`);
  for (const login of gone) await come(three.brokers[0], login);
  await come(three.brokers[0], 'back');
  await come(three.brokers[0], 'both');
  await come(three.brokers[1], 'both');
  await three.brokers[0].end('SIGKILL');
  const dead = performance.now();
  await come(three.brokers[2], 'back');
  for (const watcher of watchers) for (const login of gone) await watcher.saw(login, ['JOIN', 'LEAVE'], GHOST_MS);
  t.diagnostic(`the last left after ${(performance.now() - dead).toFixed(0)} ms`);
  assert.ok(performance.now() - dead < GHOST_MS);
  await truthful(three.redis, { [room]: ['back', 'both', 'watcher-1', 'watcher-2'] }, {}, GHOST_MS - (performance.now() - dead));
  // It comes again, and with it nobody.
  await three.brokers[0].again();
  const late = await connect(t, three.brokers[0], { login: 'late' });
  assert.deepEqual(await members(late, room), ['back online', 'both online', 'watcher-1 online', 'watcher-2 online']);
  for (const watcher of watchers) {
    for (const login of ['back', 'both']) assert.deepEqual(watcher.told(login), ['JOIN']);
    for (const login of gone) assert.deepEqual(watcher.told(login), ['JOIN', 'LEAVE']);
  }
});

test('an outage of Redis makes nobody leave', { timeout: 90_000 }, async (t) => {
  const three = await cluster(t);
  const room = unique('outage');
  const watchers = [];
  for (const [n, broker] of three.brokers.entries()) watchers.push(await Watcher.come(t, broker, `watcher-${n}`, room));
  three.redis.freeze();
  await pause(11_000);
  three.redis.thaw();
  await three.ready();
  const newcomer = await connect(t, three.brokers[0], { login: 'newcomer' });
  await newcomer.subscribe(`/topic/chat/${room}`);
  for (const watcher of watchers) await watcher.saw('newcomer', ['JOIN']);
  await three.redis.kill();
  await three.redis.start();
  await three.ready();
  // It came back empty: what stands there is made good again.
  await truthful(three.redis, { [room]: ['newcomer', 'watcher-0', 'watcher-1', 'watcher-2'] }, {}, GHOST_MS);
  await newcomer.leave();
  for (const watcher of watchers) {
    await watcher.saw('newcomer', ['JOIN', 'LEAVE']);
    for (const n of [0, 1, 2]) assert.ok(!watcher.told(`watcher-${n}`).includes('LEAVE'), `watcher-${n}`);
  }
});

const isLong = process.env.STOMPEDE_CHAOS_LONG ? false : 'STOMPEDE_CHAOS_LONG is not set';
test('an instance that was frozen for 20 s joins its sessions again', { timeout: 120_000, skip: isLong }, async (t) => {
  const three = await cluster(t);
  const room = unique('frozen');
  const watchers = [];
  for (const n of [1, 2]) watchers.push(await Watcher.come(t, three.brokers[n], `watcher-${n}`, room));
  const sleeper = await connect(t, three.brokers[0], { login: 'sleeper' });
  const heard = await sleeper.subscribe(`/topic/chat/${room}`);
  three.brokers[0].freeze();
  await pause(20_000);
  for (const watcher of watchers) assert.deepEqual(watcher.told('sleeper'), ['JOIN', 'LEAVE']);
  await watchers[0].peer.send(`/app/chat/${room}/send`, '{"type":"TEXT","content":"while you slept"}');
  three.brokers[0].thaw();
  for (const watcher of watchers) await watcher.saw('sleeper', ['JOIN', 'LEAVE', 'JOIN'], GHOST_MS);
  let message;
  do message = JSON.parse((await heard.next()).body);
  while (message.type !== 'TEXT');
  assert.equal(message.content, 'while you slept');
  await three.ready();
  await truthful(three.redis, { [room]: ['sleeper', 'watcher-1', 'watcher-2'] }, {}, GHOST_MS);
  await sleeper.leave();
  for (const watcher of watchers) await watcher.saw('sleeper', ['JOIN', 'LEAVE', 'JOIN', 'LEAVE']);
});
