import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listed } from '../src/names.ts';
import { recallRooms, Rooms } from '../src/rooms.ts';
import { remember, type Keep } from '../src/settings.ts';
import { Pace } from '../src/typing.ts';

function keep(values: Record<string, string> = {}): Keep {
  return {
    getItem: (key) => values[key] ?? null,
    setItem: (key, value) => void (values[key] = value),
    removeItem: (key) => void delete values[key],
  };
}
const alice = { name: 'alice', room: 'one', token: '' };

test('rooms are joined, shown and left; the last one stays', () => {
  const rooms = new Rooms(alice, [], keep());
  rooms.show('two');
  rooms.show('three');
  assert.deepEqual([rooms.names, rooms.current], [['one', 'two', 'three'], 'three']);
  rooms.leave('two');
  assert.equal(rooms.current, 'three');
  rooms.leave('three');
  assert.equal(rooms.current, 'one');
  rooms.leave('one');
  assert.deepEqual(rooms.names, ['one']);
});

test('a reload finds the rooms, and what is unsent in each', () => {
  const kept = keep();
  const rooms = new Rooms(alice, [], kept);
  rooms.show('two');
  rooms.room.write('k1', 'unsent', 1);
  rooms.save();
  remember({ ...alice, room: 'two' }, kept);
  const again = new Rooms({ ...alice, room: 'two' }, recallRooms({ ...alice, room: 'two' }, kept), kept);
  assert.deepEqual([again.names, again.current], [['one', 'two'], 'two']);
  assert.deepEqual(again.room.unsent(), [{ id: 'k1', text: 'unsent', at: 1 }]);
  assert.deepEqual(again.find('one')?.unsent(), []);
});

test('somebody else does not come into my rooms', () => {
  const kept = keep();
  new Rooms(alice, ['two'], kept);
  remember(alice, kept);
  assert.deepEqual(recallRooms(alice, kept), ['two', 'one']);
  assert.deepEqual(recallRooms({ ...alice, name: 'bob' }, kept), []);
  assert.deepEqual(recallRooms({ ...alice, token: 'a.b.c' }, kept), []);
  kept.removeItem('joined');
  assert.deepEqual(recallRooms(alice, kept), []);
});

test('what is told of unread messages is kept by room, and nothing unread is nothing', () => {
  const rooms = new Rooms(alice, ['two'], keep());
  rooms.count([{ room: 'two', count: 3, more: false }, { room: 'elsewhere', count: 1, more: false }]);
  assert.equal(rooms.unread('two')?.count, 3);
  rooms.count([{ room: 'two', count: 0, more: false }]);
  assert.equal(rooms.unread('two'), undefined);
});

test('names are a sentence', () => {
  assert.equal(listed(['bob']), 'bob');
  assert.equal(listed(['bob', 'carol']), 'bob and carol');
  assert.equal(listed(['bob', 'carol', 'dave']), 'bob, carol and dave');
  assert.equal(listed(['bob', 'carol', 'dave', 'erin']), 'bob, carol and 2 others');
});

test('a pace lets something through at once, and then when it is time', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 5 });
  const pace = new Pace(1_000);
  const at: number[] = [];
  const run = () => pace.run(() => at.push(Date.now()));
  run();
  t.mock.timers.tick(1);
  run();
  run();
  t.mock.timers.tick(998);
  assert.deepEqual(at, [5]);
  t.mock.timers.tick(1);
  assert.deepEqual(at, [5, 1_005]);
  run();
  pace.cancel();
  t.mock.timers.tick(5_000);
  assert.deepEqual(at, [5, 1_005]);
  run();
  assert.deepEqual(at, [5, 1_005, 6_005]);
});
