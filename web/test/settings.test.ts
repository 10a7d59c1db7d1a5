import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brokerUrl, faultsOf, joinsAtOnce, queryOf, recall, remember, type Keep } from '../src/settings.ts';

function keep(values: Record<string, string> = {}): Keep & { values: Record<string, string> } {
  return {
    values,
    getItem: (key) => values[key] ?? null,
    setItem: (key, value) => void (values[key] = value),
    removeItem: (key) => void delete values[key],
  };
}
const alice = { name: 'alice', room: '42', token: '' };

test('the address weighs more than what the tab remembers', () => {
  const kept = keep({ name: 'bob', room: '7', token: 't' });
  assert.deepEqual(recall('?name=alice', kept), { name: 'alice', room: '7', token: 't' });
  assert.deepEqual(recall('', keep()), { name: '', room: 'lobby', token: '' });
});

test('the page joins at once after a reload or when the address names both', () => {
  assert.equal(joinsAtOnce('?name=alice&room=42', keep()), true);
  assert.equal(joinsAtOnce('?room=42', keep()), false);
  assert.equal(joinsAtOnce('?name=&room=42', keep()), false);
  const kept = keep();
  remember(alice, kept);
  assert.equal(joinsAtOnce('', kept), true);
});

test('a token is kept in the tab, never in the address, and forgotten when emptied', () => {
  const kept = keep();
  remember({ ...alice, token: 'secret' }, kept);
  assert.equal(kept.values.token, 'secret');
  assert.ok(!queryOf(alice).includes('secret'));
  remember(alice, kept);
  assert.equal(kept.values.token, undefined);
});

test('a query comes back as it was, whatever is in the name', () => {
  const odd = { name: 'Zoë & co=1', room: 'a b+c', token: '' };
  assert.deepEqual(recall(queryOf(odd), keep()), odd);
});

test('what the broker would refuse is told at the form', () => {
  assert.deepEqual(faultsOf(alice), {});
  assert.deepEqual(Object.keys(faultsOf({ name: '', room: '', token: '' })), ['name', 'room']);
  for (const room of ['a/b', '*', '**', 'a#', 'x>', '{room}', 'tab\there', 'r'.repeat(65)]) {
    assert.ok(faultsOf({ ...alice, room }).room, room);
  }
  assert.ok(faultsOf({ ...alice, name: 'n'.repeat(65) }).name);
});

test('with a token nobody needs a name', () => {
  assert.deepEqual(faultsOf({ name: '', room: '42', token: 'a.b.c' }), {});
  assert.ok(faultsOf({ name: '', room: '42', token: 'a b' }).token);
});

test('the broker is where the page came from', () => {
  assert.equal(brokerUrl({ protocol: 'http:', host: 'localhost:8080' }), 'ws://localhost:8080/ws');
  assert.equal(brokerUrl({ protocol: 'https:', host: 'chat.example' }), 'wss://chat.example/ws');
});
