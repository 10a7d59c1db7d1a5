import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Room, startsGroup, type Entry, type MessageEntry } from '../src/room.ts';
import type { RoomFrame } from '../src/wire.ts';

let serial = 0;
function message(senderId: string, text: string, clientMessageId?: string): RoomFrame {
  serial += 1;
  const named = clientMessageId === undefined ? {} : { clientMessageId };
  return { kind: 'message', message: { messageId: `m-${serial}`, senderId, text, at: serial, ...named } };
}
const texts = (room: Room) => room.entries.map((entry) => (entry.kind === 'gap' ? '---' : entry.text));
const states = (room: Room) => room.entries.map((entry) => (entry as MessageEntry).state);

test('messages stand in the order in which they came', () => {
  const room = new Room('alice');
  for (const text of ['one', 'two', 'three']) room.receive(message('bob', text));
  assert.deepEqual(texts(room), ['one', 'two', 'three']);
});

test('a message that comes twice is shown once', () => {
  const room = new Room('alice');
  const frame = message('bob', 'once');
  room.receive(frame);
  room.receive(frame);
  assert.deepEqual(texts(room), ['once']);
});

test('my message is sent when its receipt comes', () => {
  const room = new Room('alice');
  room.write('k1', 'hello', 1);
  assert.deepEqual(states(room), ['queued']);
  assert.deepEqual(room.takeQueued().map(({ id }) => id), ['k1']);
  assert.deepEqual(states(room), ['sending']);
  assert.deepEqual(room.takeQueued(), []);
  room.confirm('k1');
  assert.deepEqual(states(room), ['sent']);
});

test('the echo of my message takes its place in the order of all', () => {
  const room = new Room('alice');
  room.write('k1', 'mine', 1);
  room.takeQueued();
  room.receive(message('bob', 'theirs'));
  room.receive(message('alice', 'mine', 'k1'));
  assert.deepEqual(texts(room), ['theirs', 'mine']);
  assert.deepEqual(states(room), ['sent', 'sent']);
  room.confirm('k1');
  assert.deepEqual(texts(room), ['theirs', 'mine']);
});

test("another one's message with the key of mine does not take its place", () => {
  const room = new Room('alice');
  room.write('k1', 'mine', 1);
  room.receive(message('mallory', 'forged', 'k1'));
  assert.deepEqual(texts(room), ['mine', 'forged']);
});

test('what was being sent when the connection broke is sent again under the same key', () => {
  const room = new Room('alice');
  room.write('k1', 'hello', 1);
  room.takeQueued();
  room.disconnected();
  assert.deepEqual(room.takeQueued().map(({ id, text }) => [id, text]), [['k1', 'hello']]);
});

test('a refused message says why, is not sent by itself and can be retried', () => {
  const room = new Room('alice');
  room.write('k1', 'hello', 1);
  room.takeQueued();
  assert.equal(room.refuse({ receiptId: 'k1', message: 'too fast' }), true);
  assert.equal((room.entries[0] as MessageEntry).why, 'too fast');
  room.disconnected();
  assert.deepEqual(room.takeQueued(), []);
  room.retry('k1');
  assert.deepEqual(room.takeQueued().map(({ id, why }) => [id, why]), [['k1', undefined]]);
});

test('a refusal of something else is not pinned on a message', () => {
  const room = new Room('alice');
  room.write('k1', 'hello', 1);
  assert.equal(room.refuse({ receiptId: '', message: 'no' }), false);
});

test('unsent messages survive a reload, sent ones need not', () => {
  const room = new Room('alice');
  room.write('k1', 'sent', 1);
  room.takeQueued();
  room.confirm('k1');
  room.write('k2', 'kept', 2);
  room.write('k3', 'refused', 3);
  room.refuse({ receiptId: 'k3', message: 'no' });
  assert.deepEqual(room.unsent(), [{ id: 'k2', text: 'kept', at: 2 }, { id: 'k3', text: 'refused', at: 3, why: 'no' }]);

  const reloaded = new Room('alice');
  reloaded.restore(room.unsent());
  assert.deepEqual(states(reloaded), ['queued', 'failed']);
  assert.deepEqual(reloaded.unsent(), room.unsent());
});

test('people come and go once, however often it is said', () => {
  const room = new Room('alice');
  room.receive({ kind: 'join', userId: 'alice', at: 1 });
  room.receive({ kind: 'join', userId: 'bob', at: 2 });
  room.receive({ kind: 'join', userId: 'bob', at: 3 });
  room.receive({ kind: 'status', userId: 'bob', status: 'away' });
  assert.deepEqual([...room.members], [['alice', 'online'], ['bob', 'away']]);
  room.receive({ kind: 'leave', userId: 'bob', at: 4 });
  room.receive({ kind: 'leave', userId: 'bob', at: 5 });
  assert.deepEqual([...room.members.keys()], ['alice']);
  assert.deepEqual(texts(room), ['You joined', 'bob joined', 'bob left']);
});

test('the answer of who is here replaces what was known', () => {
  const room = new Room('alice');
  room.receive({ kind: 'join', userId: 'gone', at: 1 });
  room.roster.seat({ members: [{ userId: 'bob', status: 'online' }] });
  assert.deepEqual([...room.members.keys()], ['bob']);
  room.receive({ kind: 'join', userId: 'bob', at: 2 });
  assert.deepEqual(texts(room), ['gone joined']);
});

test('the list is bounded and never drops what is unsent', () => {
  const room = new Room('alice', 10);
  room.write('k1', 'unsent', 1);
  for (let n = 1; n <= 30; n += 1) room.receive(message('bob', String(n)));
  assert.deepEqual(texts(room), ['unsent', '22', '23', '24', '25', '26', '27', '28', '29', '30']);
});

test('a repeat is still known after the list has moved on by its whole length', () => {
  const room = new Room('alice', 10);
  const early = message('bob', 'early');
  room.receive(early);
  for (let n = 0; n < 10; n += 1) room.receive(message('bob', String(n)));
  room.receive(early);
  assert.ok(!texts(room).includes('early'));
});

test('a thousand messages stay a thousand', () => {
  const room = new Room('alice');
  for (let n = 0; n < 2_500; n += 1) room.receive(message('bob', String(n)));
  assert.equal(room.entries.length, 1_000);
  assert.equal(texts(room).at(-1), '2499');
});

test('a group ends with the sender, a note or a pause', () => {
  const from = (sender: string, at: number): Entry =>
    ({ kind: 'message', id: `${sender}${at}`, sender, mine: false, text: '', at, state: 'sent' });
  const note: Entry = { kind: 'note', id: 'n', text: '', at: 0 };
  assert.equal(startsGroup(undefined, from('a', 0)), true);
  assert.equal(startsGroup(from('a', 0), from('a', 1_000)), false);
  assert.equal(startsGroup(from('a', 0), from('b', 1_000)), true);
  assert.equal(startsGroup(from('a', 0), from('a', 6 * 60_000)), true);
  assert.equal(startsGroup(note, from('a', 0)), true);
});

test('where messages are missing there is a mark, once, and none before the first message', () => {
  const room = new Room('alice');
  room.entered({ recovered: false });
  room.receive(message('bob', 'one'), { recovered: false, position: 'p1' });
  assert.deepEqual(texts(room), ['one']);
  room.disconnected();
  room.entered({ recovered: false, position: 'q4' });
  room.receive(message('bob', 'five'), { recovered: false, position: 'q5' });
  assert.deepEqual(texts(room), ['one', '---', 'five']);
  assert.equal(room.position, 'q5');
  room.receive(message('bob', 'nine'), { recovered: false, position: 'q9' });
  assert.deepEqual(texts(room), ['one', '---', 'five', '---', 'nine']);
});

test('a room goes on after the last message it has seen, or from where it was entered', () => {
  const room = new Room('alice');
  room.entered({ recovered: true, position: 'p0' });
  assert.equal(room.position, 'p0');
  room.receive(message('bob', 'one'), { position: 'p1' });
  room.receive({ kind: 'typing', userId: 'bob' });
  assert.equal(room.position, 'p1');
  room.entered({ recovered: true, position: 'p1' });
  room.entered({ recovered: false, position: 'q0' });
  assert.equal(room.position, 'q0');
});

/** A message at an offset. */
function at(offset: number, senderId: string): RoomFrame {
  const frame = message(senderId, `at ${offset}`);
  return frame.kind === 'message' ? { ...frame, message: { ...frame.message, offset } } : frame;
}

test('under my last message stands who has read it, until the broker counts anew', () => {
  const room = new Room('alice');
  room.receive(at(1, 'alice'));
  room.receive({ kind: 'read', userId: 'bob', offset: 1 });
  room.receive({ kind: 'read', userId: 'alice', offset: 1 });
  assert.deepEqual(room.readOfMine()?.readers, ['bob']);
  room.receive(at(2, 'alice'));
  assert.equal(room.readOfMine(), undefined);
  room.receive({ kind: 'read', userId: 'carol', offset: 3 });
  assert.deepEqual(room.readOfMine()?.readers, ['carol']);
  room.entered({ recovered: false, position: 'q0' });
  room.receive({ kind: 'read', userId: 'bob', offset: 7 });
  assert.equal(room.readOfMine(), undefined);
});

test('what others wrote is to be marked as read, once on each connection', () => {
  const room = new Room('alice');
  room.receive(at(1, 'alice'));
  assert.equal(room.toMark(), undefined);
  room.receive(at(2, 'bob'));
  room.receive(at(3, 'alice'));
  assert.equal(room.toMark(), 2);
  room.marked = 2;
  assert.equal(room.toMark(), undefined);
  room.entered({ recovered: true });
  assert.equal(room.toMark(), 2);
});

test('who has sent or left does not type any more', () => {
  const room = new Room('alice');
  for (const userId of ['alice', 'bob', 'carol', 'dave']) room.receive({ kind: 'typing', userId }, {}, 1_000);
  assert.deepEqual(room.typists.who(1_000), ['bob', 'carol', 'dave']);
  room.receive(message('bob', 'typed'));
  room.receive({ kind: 'leave', userId: 'carol', at: 1 });
  assert.deepEqual(room.typists.who(3_999), ['dave']);
  assert.deepEqual(room.typists.who(4_000), []);
});

test('what was said before I wrote stands before what still waits', () => {
  const room = new Room('alice');
  room.restore([{ id: 'k1', text: 'unsent', at: 1e12 }]);
  room.receive(message('bob', 'earlier'));
  assert.deepEqual(texts(room), ['earlier', 'unsent']);
});
