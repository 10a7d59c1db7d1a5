// Instances are killed while people talk, and Redis is restarted or frozen: an oracle judges what they have seen.
//
// STOMPEDE_CHAOS_SECONDS, STOMPEDE_CHAOS_CLIENTS and STOMPEDE_CHAOS_SEED make the last test longer, larger, or the same again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, pause, until } from '../cluster.mjs';
import { chances, Company, talk } from './company.mjs';
import { truthful } from './truth.mjs';

const SECONDS = Number(process.env.STOMPEDE_CHAOS_SECONDS ?? 20);
const CLIENTS = Number(process.env.STOMPEDE_CHAOS_CLIENTS ?? 60);
const SEED = Number(process.env.STOMPEDE_CHAOS_SEED ?? Date.now() % 1_000_000);
const ROOMS = 20;
const ROOMS_OF_ONE = 3;

/** What operators read equals the truth after so long without trouble. */
const QUIET_MS = 15_000;

/** Everybody says so much a second. */
const TALK_PER_SECOND = 1;

test('each instance in turn is killed amid a conversation: nobody misses anything', { timeout: 90_000 }, async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.stop());
  const company = new Company(cluster.url);
  for (let n = 0; n < 12; n += 1) company.come(t, `member-${n}`, ['red', n % 2 ? 'blue' : 'green'], { isSignalled: n % 3 === 0 });
  await company.gathered();
  const hush = talk(company, chances(1), 20);
  for (const broker of cluster.brokers) {
    const hit = company.members.filter((member) => cluster.named(member.server) === broker);
    assert.ok(hit.length > 0);
    const before = hit.map(({ connections }) => connections);
    assert.equal(await broker.end('SIGKILL'), 'SIGKILL');
    // They are back on the others before it is there again.
    await until(() => hit.every((member, n) => member.connections > before[n] && member.isThere), 'all to be back', 10_000);
    await broker.again();
  }
  await hush();
  await company.settled();
  assert.deepEqual(company.faults(), []);
  assert.equal(company.gaps, 0);
  const messages = company.events.filter(({ kind }) => kind === 'message').length;
  t.diagnostic(`${messages} messages came`);
});

const whole = { timeout: (SECONDS + 120) * 1_000 };
test(`${CLIENTS} people talk for ${SECONDS} s while instances die and Redis fails`, whole, async (t) => {
  t.diagnostic(`STOMPEDE_CHAOS_SEED=${SEED}`);
  const chance = chances(SEED);
  const cluster = await Cluster.start();
  t.after(() => cluster.stop());
  const company = new Company(cluster.url);
  for (let n = 0; n < CLIENTS; n += 1) {
    const rooms = Array.from({ length: ROOMS_OF_ONE }, (_, i) => `room-${(n * 7 + i * 5 + Math.floor(n / ROOMS)) % ROOMS}`);
    company.come(t, `member-${n}`, [...new Set(rooms)], { isSignalled: n % 2 === 0 });
  }
  await company.gathered(30_000);
  const hush = talk(company, chances(SEED + 1), TALK_PER_SECOND);
  const done = await havoc(cluster, company, chance);
  await hush();
  await cluster.ready();
  await company.settled(60_000);
  const faults = company.faults();
  const messages = company.events.filter(({ kind }) => kind === 'message').length;
  t.diagnostic(`${messages} messages came, ${company.gaps} gaps told; ${JSON.stringify(done)}`);
  assert.deepEqual(faults.slice(0, 20), [], `${faults.length} faults`);
  if (done.restarts === 0) assert.equal(company.gaps, 0);

  // A fifth of them stays, the others go: so it stands in Redis soon.
  const staying = company.members.filter((_, n) => n % 5 === 0);
  await Promise.all(company.members.filter((member) => !staying.includes(member)).map((member) => member.client.deactivate()));
  const rooms = Object.fromEntries([...new Set(staying.flatMap((member) => member.rooms))].map((room) => [room, []]));
  for (const { login, rooms: of } of staying) for (const room of of) rooms[room].push(login);
  await truthful(cluster.redis, rooms, {}, QUIET_MS);
  assert.equal(await cluster.redis.cli('SCARD', 'websocket:online_users'), String(staying.length));
});

/** Breaks one thing after another; each is whole again before the next is broken. */
async function havoc(cluster, company, chance) {
  const done = { kills: 0, restarts: 0, freezes: 0, cuts: 0 };
  const until = performance.now() + SECONDS * 1_000;
  while (performance.now() < until) {
    await pause(1_000 + 2_000 * chance());
    const what = chance();
    if (what < 0.6) {
      const broker = cluster.brokers[Math.floor(chance() * 3)];
      await broker.end('SIGKILL');
      await pause(1_000 * chance());
      await broker.again();
      done.kills += 1;
    } else if (what < 0.75) {
      await cluster.redis.kill();
      await pause(2_000 * chance());
      await cluster.redis.start();
      done.restarts += 1;
    } else if (what < 0.9) {
      cluster.redis.freeze();
      await pause(2_000);
      cluster.redis.thaw();
      done.freezes += 1;
    } else {
      for (const member of company.members) if (chance() < 0.2) member.cut();
      done.cuts += 1;
    }
  }
  return done;
}
