import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFinal, next, type Connection, type End } from '../src/connection.ts';

const NOW = 1_000_000;
const lost = (end: Partial<End> = {}) =>
  ({ kind: 'lost', now: NOW, random: 1, end: { why: 'gone', code: '', ...end } }) as const;
const connecting: Connection = { is: 'connecting', attempt: 0 };

test('a start connects and CONNECTED makes it online', () => {
  const state = next({ is: 'idle' }, { kind: 'start' });
  assert.deepEqual(state, connecting);
  assert.deepEqual(next(state, { kind: 'connected' }), { is: 'online' });
});

test('a lost connection waits, and each failure in a row waits longer', () => {
  const first = next({ is: 'online' }, lost());
  assert.deepEqual(first, { is: 'waiting', attempt: 1, until: NOW + 1_000, why: 'gone' });
  const second = next(next(first, { kind: 'due' }), lost());
  assert.deepEqual(second, { is: 'waiting', attempt: 2, until: NOW + 2_000, why: 'gone' });
});

test('having been online starts the waits anew', () => {
  const again = next({ is: 'connecting', attempt: 7 }, { kind: 'connected' });
  assert.equal((next(again, lost()) as { attempt: number }).attempt, 1);
});

test('the broker may ask for a longer wait but not for a shorter one', () => {
  assert.equal((next({ is: 'online' }, lost({ retryAfter: 30_000 })) as { until: number }).until, NOW + 30_000);
  assert.equal((next({ is: 'online' }, lost({ retryAfter: 1 })) as { until: number }).until, NOW + 1_000);
});

test('a refusal that will not change ends the attempts and says why', () => {
  const state = next(connecting, lost({ why: 'bad token', code: 'unauthorized' }));
  assert.deepEqual(state, { is: 'refused', why: 'bad token', code: 'unauthorized' });
  assert.deepEqual(next(state, { kind: 'due' }), state);
  assert.deepEqual(next(state, { kind: 'start' }), connecting);
});

test('a second loss of the same connection changes nothing', () => {
  const waiting = next({ is: 'online' }, lost());
  assert.equal(next(waiting, lost()), waiting);
});

test('try now leaves the waiting, stop leaves everything', () => {
  const waiting = next({ is: 'online' }, lost());
  assert.deepEqual(next(waiting, { kind: 'start' }), connecting);
  assert.deepEqual(next(waiting, { kind: 'stop' }), { is: 'idle' });
  assert.deepEqual(next({ is: 'idle' }, lost()), { is: 'idle' });
});

test('what the broker says about retrying weighs more than the code', () => {
  assert.equal(isFinal({ why: '', code: 'shutting-down' }), false);
  assert.equal(isFinal({ why: '', code: 'unauthorized' }), true);
  assert.equal(isFinal({ why: '', code: 'unauthorized', retryAfter: 500 }), false);
  assert.equal(isFinal({ why: '', code: 'slow-consumer', retryAfter: 'never' }), true);
});
