// The keys that operators may read (docs/wire.md), held against who is there.

import assert from 'node:assert/strict';
import { until } from '../cluster.mjs';

const PREFIX = 'websocket:';

/** The four families as they stand in Redis. */
async function told(redis) {
  const online = await members(redis, `${PREFIX}online_users`);
  const rooms = await family(redis, `${PREFIX}chatroom:users:`, (key) => members(redis, key));
  const places = await family(redis, `${PREFIX}user:chatrooms:`, (key) => members(redis, key));
  const statuses = await family(redis, `${PREFIX}user:status:`, (key) => redis.cli('GET', key));
  return { online, rooms, places, statuses };
}

async function members(redis, key) {
  const text = await redis.cli('SMEMBERS', key);
  return text === '' ? [] : text.split('\n').sort();
}

async function family(redis, prefix, read) {
  const keys = (await redis.cli('--scan', '--pattern', `${prefix}*`)).split('\n').filter((key) => key !== '');
  const pairs = await Promise.all(keys.sort().map(async (key) => [key.slice(prefix.length), await read(key)]));
  return Object.fromEntries(pairs);
}

/**
 * Waits until all four say that exactly these users are in these rooms, with these statuses (the others are `online`);
 * `elsewhere` are online and in no room.
 */
export async function truthful(redis, rooms, statuses = {}, ms = 5_000, elsewhere = []) {
  const sorted = Object.fromEntries(Object.entries(rooms).sort().map(([room, users]) => [room, [...users].sort()]));
  const present = Object.values(sorted).flat();
  const online = [...new Set([...present, ...elsewhere])].sort();
  const inRooms = [...new Set(present)].sort();
  const of = (user) => Object.keys(sorted).filter((room) => sorted[room].includes(user)).sort();
  const expected = {
    online,
    rooms: Object.fromEntries(Object.entries(sorted).filter(([, users]) => users.length > 0)),
    places: Object.fromEntries(inRooms.map((user) => [user, of(user)])),
    statuses: Object.fromEntries(online.map((user) => [user, statuses[user] ?? 'online'])),
  };
  let last;
  const isSo = async () => JSON.stringify((last = await told(redis))) === JSON.stringify(expected);
  await until(isSo, 'the truth', ms).catch(() => assert.deepEqual(last, expected));
}
