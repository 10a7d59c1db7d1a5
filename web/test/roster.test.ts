import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Roster } from '../src/roster.ts';

const online = (...names: string[]) => names.map((userId) => ({ userId, status: 'online' }));
const names = (roster: Roster) => [...roster.members.keys()];

/** A list that was asked for and answered. */
function seated(version: number, ...names: string[]): Roster {
  const roster = new Roster();
  roster.renew();
  assert.equal(roster.wants, 'now');
  roster.asked();
  roster.seat({ members: online(...names), count: names.length, version });
  assert.equal(roster.wants, undefined);
  return roster;
}

test('events that are in the answer already change nothing', () => {
  const roster = seated(7, 'alice');
  assert.equal(roster.change({ kind: 'join', userId: 'bob', version: 6 }), false);
  assert.equal(roster.change({ kind: 'leave', userId: 'alice', version: 7 }), false);
  assert.deepEqual(names(roster), ['alice']);
});

test('events between the question and its answer are put over it', () => {
  const roster = seated(3, 'alice');
  roster.renew();
  roster.asked();
  roster.change({ kind: 'join', userId: 'bob', version: 5 });
  roster.change({ kind: 'leave', userId: 'carol', version: 6 });
  roster.seat({ members: online('alice', 'bob', 'carol'), count: 3, version: 5 });
  assert.deepEqual(names(roster), ['alice', 'bob']);
  assert.equal(roster.wants, undefined);
});

test('a version that jumps makes it ask again, once', () => {
  const roster = seated(7, 'alice');
  assert.equal(roster.change({ kind: 'leave', userId: 'bob', version: 8 }), false);
  assert.equal(roster.wants, undefined);
  roster.change({ kind: 'join', userId: 'carol', version: 10 });
  assert.equal(roster.wants, 'now');
  roster.asked();
  assert.equal(roster.wants, undefined);
  roster.seat({ members: online('alice', 'carol'), count: 2, version: 10 });
  assert.equal(roster.wants, undefined);
});

test('a jump between the question and its answer is not forgotten', () => {
  const roster = seated(7, 'alice');
  roster.renew();
  roster.asked();
  roster.change({ kind: 'join', userId: 'bob', version: 12 });
  roster.seat({ members: online('alice'), count: 1, version: 9 });
  assert.equal(roster.wants, 'now');
});

test('whoever comes may be away, so it asks soon; what he says of himself is kept', () => {
  const roster = seated(1, 'alice');
  roster.change({ kind: 'join', userId: 'bob', version: 2 });
  assert.equal(roster.wants, 'soon');
  roster.asked();
  roster.seat({ members: [...online('alice'), { userId: 'bob', status: 'away' }], count: 2, version: 2 });
  assert.equal(roster.members.get('bob'), 'away');
  roster.setStatus('bob', 'busy');
  roster.setStatus('nobody', 'busy');
  assert.deepEqual([...roster.members], [['alice', 'online'], ['bob', 'busy']]);
});

test('of too many only the count is told, and the list is asked for when they are told of again', () => {
  const roster = seated(1, 'alice');
  roster.counted(300, 320);
  assert.equal(roster.count, 300);
  roster.counted(299, 319);
  assert.equal(roster.count, 300);
  assert.equal(roster.wants, undefined);
  roster.change({ kind: 'leave', userId: 'bob', version: 321 });
  assert.equal(roster.count, 299);
  assert.equal(roster.wants, 'now');
});

test('where more are there than listed they are counted', () => {
  const roster = new Roster();
  roster.renew();
  roster.asked();
  roster.seat({ members: online('alice', 'bob'), count: 180, version: 9 });
  roster.change({ kind: 'join', userId: 'carol', version: 10 });
  assert.equal(roster.count, 181);
});

test('when most of those who are listed have gone it asks for the others', () => {
  const roster = new Roster();
  roster.renew();
  roster.asked();
  roster.seat({ members: online('alice', 'bob'), count: 60, version: 9 });
  roster.change({ kind: 'leave', userId: 'bob', version: 10 });
  assert.equal(roster.count, 59);
  assert.equal(roster.wants, 'soon');
});

test('what the broker does not tell is not asked for until the next connection', () => {
  const roster = new Roster();
  roster.renew();
  roster.asked();
  roster.hide();
  roster.change({ kind: 'join', userId: 'bob', version: 9 });
  assert.equal(roster.wants, undefined);
  roster.renew();
  assert.equal(roster.wants, 'now');
});
