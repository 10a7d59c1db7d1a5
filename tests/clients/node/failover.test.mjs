// Three instances over a primary that sentinels watch, or over a cluster of six: a primary dies amid a conversation, and another
// takes its place.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, Redis, until } from '../cluster.mjs';
import { chances, Company, talk } from './company.mjs';

const NAME = 'broker';
const DOWN_AFTER_MS = 1_000;
/** From the death of the primary until all is well: the sentinels' part is most of it. */
const HEALED_MS = 15_000;

/** A primary, its replica, three sentinels, and instances over them. */
async function start(t, config) {
  const primary = await Redis.start();
  t.after(() => primary.stop());
  const replica = await Redis.start(['--replicaof', '127.0.0.1', String(primary.port), '--repl-diskless-sync-delay', '0']);
  t.after(() => replica.stop());
  await until(async () => (await replica.cli('INFO', 'replication')).includes('master_link_status:up'), 'replication');
  const sentinels = await Promise.all([1, 2, 3].map(() => Redis.sentinel(NAME, primary, 2, DOWN_AFTER_MS)));
  t.after(() => Promise.all(sentinels.map((sentinel) => sentinel.stop())));
  const know = async (sentinel) => {
    const about = await sentinel.cli('SENTINEL', 'master', NAME);
    const of = (field) => about.split('\n')[about.split('\n').indexOf(field) + 1];
    return of('num-slaves') === '1' && of('num-other-sentinels') === '2';
  };
  for (const sentinel of sentinels) await until(() => know(sentinel), 'sentinels that know each other', 20_000);
  const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
  const cluster = await Cluster.start({ url: `redis+sentinel://${hosts}/${NAME}`, config });
  t.after(() => cluster.stop());
  return { cluster, primary, replica };
}

async function conversation(t, cluster) {
  const company = new Company(cluster.url);
  for (let n = 0; n < 12; n += 1) company.come(t, `member-${n}`, ['red', n % 2 ? 'blue' : 'green'], { isSignalled: n % 3 === 0 });
  await company.gathered();
  return company;
}

/** Kills the primary and waits until everybody hears everybody again. */
async function failOver(t, { cluster, primary, replica, company, last }) {
  const hush = talk(company, chances(2), 20);
  t.after(hush);
  await until(() => company.events.length > 2_000, 'a conversation');
  await last?.();
  await primary.kill();
  const began = performance.now();
  if (last) replica.thaw();
  // Whom a sentinel makes a primary it has close all connections, ours among them.
  const role = () => replica.cli('ROLE').catch(() => '');
  await until(async () => (await role()).startsWith('master'), 'another primary', HEALED_MS);
  const electedMs = performance.now() - began;
  const heard = company.events.length;
  await cluster.ready(HEALED_MS);
  await until(() => company.events.length > heard + 2_000, 'a conversation that goes on', HEALED_MS);
  t.diagnostic(`elected after ${electedMs.toFixed(0)} ms, talking again after ${(performance.now() - began).toFixed(0)} ms`);
  assert.ok(performance.now() - began < HEALED_MS);
  await hush();
  await company.settled();
  assert.deepEqual(company.faults(), []);
  assert.ok(company.members.every(({ connections }) => connections === 1), 'nobody was sent away');
  t.diagnostic(`${company.gaps} gaps told`);
}

test('the primary dies under load', { timeout: 120_000 }, async (t) => {
  const { cluster, primary, replica } = await start(t);
  await failOver(t, { cluster, primary, replica, company: await conversation(t, cluster) });
});

test('the primary dies and takes with it what it had confirmed: all are told', { timeout: 120_000 }, async (t) => {
  const { cluster, primary, replica } = await start(t);
  const company = await conversation(t, cluster);
  let lost;
  // The replica does not get the last of it: it is frozen, and what the primary had to send it is thrown away.
  const last = async () => {
    replica.freeze();
    await primary.cli('CLIENT', 'KILL', 'TYPE', 'replica');
    const confirmed = company.confirmed;
    await until(() => company.confirmed > confirmed + 100, 'receipts of what will be lost');
    lost = company.confirmed - confirmed;
  };
  await failOver(t, { cluster, primary, replica, company, last });
  t.diagnostic(`${lost} confirmed messages were lost`);
  // Each of them was told in each of his rooms.
  assert.equal(company.gaps, 24);
});

test('slots of a cluster move under load, then the primary that got them dies', { timeout: 120_000 }, async (t) => {
  const servers = await Redis.cluster(t);
  const hosts = servers.map(({ port }) => `127.0.0.1:${port}`).join(',');
  const cluster = await Cluster.start({ url: `redis+cluster://${hosts}` });
  t.after(() => cluster.stop());
  const company = new Company(cluster.url);
  // Enough rooms for each primary to have some.
  const rooms = Array.from({ length: 12 }, (_, n) => `room-${n}`);
  for (let n = 0; n < 12; n += 1) company.come(t, `member-${n}`, [0, 3, 6, 9].map((step) => rooms[(n + step) % 12]));
  await company.gathered();
  const hush = talk(company, chances(3), 10);
  t.after(hush);
  await until(() => company.events.length > 1_000, 'a conversation');

  const [from, to] = await Promise.all([servers[0], servers[1]].map((server) => server.cli('CLUSTER', 'MYID')));
  const move = ['--cluster-from', from, '--cluster-to', to, '--cluster-slots', '2000', '--cluster-yes'];
  await servers[0].cli('--cluster', 'reshard', `127.0.0.1:${servers[0].port}`, ...move);
  await until(() => company.members.every(({ waiting }) => waiting < 30), 'receipts');
  // A slot that moves loses nothing; but its next server cannot know that, and tells each reader once.
  const moved = company.gaps;
  assert.ok(moved <= 48, `${moved} gaps told`);

  const [victim] = servers.splice(1, 1);
  await victim.kill();
  const began = performance.now();
  const isWhole = async () => (await servers[0].cli('CLUSTER', 'INFO')).includes('cluster_state:ok');
  const roles = () => Promise.all(servers.map((server) => server.cli('ROLE')));
  const hasThree = async () => (await roles()).filter((role) => role.startsWith('master')).length === 3;
  await until(async () => (await hasThree()) && isWhole(), 'another primary', HEALED_MS);
  await cluster.ready(HEALED_MS);
  const heard = company.events.length;
  await until(() => company.events.length > heard + 1_000, 'a conversation that goes on', HEALED_MS);
  t.diagnostic(`talking again after ${(performance.now() - began).toFixed(0)} ms`);
  await hush();
  await company.settled();
  assert.deepEqual(company.faults(), []);
  assert.ok(company.members.every(({ connections }) => connections === 1), 'nobody was sent away');
  t.diagnostic(`${moved} gaps told of slots that moved, ${company.gaps - moved} of the failover`);
  assert.ok(company.gaps - moved <= 48, `${company.gaps} gaps told`);
});
