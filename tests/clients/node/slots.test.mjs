// Slots of a Redis Cluster move while jobs are done and people come and go; then an instance dies whose claims and rows have
// moved.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, Redis, until } from '../cluster.mjs';
import { connect, Inbox } from './peer.mjs';
import { truthful } from './truth.mjs';

const QUEUES = Array.from({ length: 12 }, (_, n) => `/queue/jobs-${n}`);
const ROOMS = Array.from({ length: 12 }, (_, n) => `room-${n}`);
/** Slots that each move takes, of the 5,461 that a primary has. */
const SLOTS = [800, 1_200];
/** An instance is dead after 9 s of silence; views that lie in other slots follow within a second, and by a sweep. */
const GHOSTS_MS = 20_000;

/** Asks the primary that has the key, or all of them for names of keys. */
const everywhere = (servers) => ({
  async cli(...args) {
    if (args[0] !== '--scan') return servers[0].cli('-c', ...args);
    const primaries = [];
    for (const server of servers) if ((await server.cli('ROLE')).startsWith('master')) primaries.push(server);
    return (await Promise.all(primaries.map((server) => server.cli(...args)))).filter((names) => names !== '').join('\n');
  },
});

/** Does the jobs of a queue: notes the body of each message, and acknowledges it. */
async function work(peer, queue, done) {
  const receipt = peer.receipt();
  const take = (message) => {
    done.push({ body: message.body, redelivered: message.headers.redelivered === 'true' });
    message.ack();
  };
  peer.client.subscribe(queue, take, { ack: 'client-individual', 'prefetch-count': '5', receipt: receipt.id });
  await receipt;
}

test('slots move: each job is done once, and who is present stays true, also when an instance dies', { timeout: 150_000 }, async (t) => {
  const servers = await Redis.cluster(t);
  const hosts = servers.map(({ port }) => `127.0.0.1:${port}`).join(',');
  const cluster = await Cluster.start({ url: `redis+cluster://${hosts}` });
  t.after(() => cluster.stop());
  const redis = everywhere(servers);

  // One of each on each instance in turn.
  const at = (n, login) => connect(t, cluster.brokers[n % 3], { login, onWebSocketError: () => {} });
  const done = QUEUES.map(() => []);
  const workers = await Promise.all(QUEUES.map((_, n) => at(n, `worker-${n}`)));
  await Promise.all(QUEUES.map((queue, n) => work(workers[n], queue, done[n])));
  const people = await Promise.all(ROOMS.map((_, n) => at(n, `person-${n}`)));
  const present = Object.fromEntries(ROOMS.map((room) => [room, new Set()]));
  const places = people.map(() => new Map());
  const enter = async (n, room) => {
    const receipt = people[n].receipt();
    places[n].set(room, people[n].client.subscribe(`/topic/chat/${room}`, () => {}, { receipt: receipt.id }));
    present[room].add(`person-${n}`);
    await receipt;
  };
  const leave = (n, room) => {
    places[n].get(room).unsubscribe();
    places[n].delete(room);
    present[room].delete(`person-${n}`);
  };
  for (const n of people.keys()) for (const step of [0, 3, 6, 9]) await enter(n, ROOMS[(n + step) % 12]);
  const others = workers.map((_, n) => `worker-${n}`);

  const producer = await at(1, 'producer');
  const sent = QUEUES.map(() => []);
  let isOver = false;
  const producing = (async () => {
    for (let number = 0; !isOver; number += 1) {
      const place = number % QUEUES.length;
      const body = `job ${number}`;
      await producer.send(QUEUES[place], body);
      sent[place].push(body);
    }
  })();
  // Meanwhile each leaves one room and enters another, again and again.
  const wandering = (async () => {
    for (let turn = 0; !isOver; turn += 1) {
      const n = turn % people.length;
      const [oldest] = places[n].keys();
      const next = ROOMS.find((room, place) => !places[n].has(room) && (place + turn) % 3 === 0) ?? ROOMS.find((room) => !places[n].has(room));
      leave(n, oldest);
      await enter(n, next);
    }
  })();

  const total = () => sent.reduce((sum, bodies) => sum + bodies.length, 0);
  await until(() => total() > 300, 'jobs');
  const ids = await Promise.all(servers.slice(0, 3).map((server) => server.cli('CLUSTER', 'MYID')));
  for (const [place, slots] of SLOTS.entries()) {
    const before = total();
    const move = ['--cluster-from', ids[place], '--cluster-to', ids[place + 1], '--cluster-slots', String(slots), '--cluster-yes'];
    await servers[0].cli('--cluster', 'reshard', `127.0.0.1:${servers[0].port}`, ...move);
    t.diagnostic(`${slots} slots moved, ${total() - before} jobs meanwhile`);
    const after = total();
    await until(() => total() > after + 300, 'jobs after the move');
  }
  isOver = true;
  await Promise.all([producing, wandering]);
  const isDone = (place) => done[place].length >= sent[place].length;
  await until(() => sent.every((_, place) => isDone(place)), () => `${done.map((jobs) => jobs.length)} of ${sent.map((jobs) => jobs.length)}`);
  for (const [place, jobs] of done.entries()) {
    assert.deepEqual(jobs.map(({ body }) => body), sent[place], `${QUEUES[place]}: each once, in order`);
    assert.ok(jobs.every(({ redelivered }) => !redelivered));
  }
  await truthful(redis, present, {}, GHOSTS_MS, [...others, 'producer']);

  // An instance dies that holds jobs of queues that have moved.
  const held = QUEUES.map((queue) => new Inbox(queue));
  const victim = await at(0, 'victim');
  for (const worker of workers) await worker.drop();
  for (const [place, queue] of QUEUES.entries()) {
    const receipt = victim.receipt();
    victim.client.subscribe(queue, (message) => held[place].put(message), { ack: 'client-individual', 'prefetch-count': '3', receipt: receipt.id });
    await receipt;
    for (const number of [1, 2, 3]) await producer.send(queue, `held ${number}`);
    assert.deepEqual(await held[place].bodies(3), ['held 1', 'held 2', 'held 3']);
  }
  await cluster.brokers[0].end('SIGKILL');
  const heir = await at(2, 'heir');
  const inherited = QUEUES.map(() => []);
  await Promise.all(QUEUES.map((queue, place) => work(heir, queue, inherited[place])));
  await until(() => inherited.every((jobs) => jobs.length >= 3), () => `inherited ${inherited.map((jobs) => jobs.length)}`, GHOSTS_MS);
  for (const jobs of inherited) {
    assert.deepEqual(jobs.map(({ body }) => body), ['held 1', 'held 2', 'held 3']);
    assert.ok(jobs.every(({ redelivered }) => redelivered));
  }
  for (const n of people.keys()) if (n % 3 === 0) for (const room of places[n].keys()) present[room].delete(`person-${n}`);
  await truthful(redis, present, {}, GHOSTS_MS, ['producer', 'heir']);
});
