// What the console asks of one of two instances is told, and done, by both.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Broker } from '../broker.mjs';
import { Redis, until } from '../cluster.mjs';
import { connect, unique } from './peer.mjs';

test('the console of one instance shows and ends what is on another', async (t) => {
  const redis = await Redis.start();
  t.after(() => redis.stop());
  const args = ['--redis', `redis://127.0.0.1:${redis.port}`];
  const [here, there] = [await Broker.start({ args }), await Broker.start({ args })];
  for (const broker of [here, there]) t.after(() => broker.stop());
  const console = `http://${here.ports.admin}/console`;
  const look = async () => (await fetch(`${console}/overview`)).json();
  await until(async () => (await look()).cluster.nodes.length === 2, 'both instances');

  const login = unique('alice');
  const [room, queue] = [unique('room'), unique('queue')];
  const alice = await connect(t, there, { login });
  await alice.subscribe(`/topic/chat/${room}`);
  await alice.send(`/queue/${queue}`, 'waits');
  const shows = ({ rooms, queues }) =>
    rooms.rooms.some(({ name, present }) => name === room && present === 1) &&
    queues.queues.some(({ name, depth }) => name === queue && depth === 1);
  await until(async () => shows(await look()), 'the room and the queue');

  const found = await (await fetch(`${console}/sessions?user=${login}`)).json();
  assert.equal(found.count, 1);
  const [{ session, user, node, destinations }] = found.sessions;
  assert.deepEqual([session, user, destinations], [alice.connected.session, login, [`/topic/chat/${room}`]]);
  const { nodes } = (await look()).cluster;
  assert.equal(nodes.find((each) => each.node === node)?.sessions, 1);

  const order = { method: 'POST', headers: { 'content-type': 'application/json', 'x-stompede-console': '1' } };
  const ended = await fetch(`${console}/kick`, { ...order, body: JSON.stringify({ session, reason: 'moved' }) });
  assert.deepEqual(await ended.json(), { sessions: 1 });
  assert.deepEqual((({ 'error-code': code, message }) => [code, message])(await alice.ended()), ['kicked', 'moved']);
  for (const query of ['?user=a&user=b', '?whom=a']) assert.equal((await fetch(`${console}/sessions${query}`)).status, 400, query);
});
