import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs } from '../src/backoff.ts';

test('the wait doubles from one second and stops at ten', () => {
  const longest = [1, 2, 3, 4, 5, 6, 60].map((attempt) => backoffMs(attempt, 1));
  assert.deepEqual(longest, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
});

test('half of the wait is random', () => {
  assert.equal(backoffMs(3, 0), 2_000);
  assert.equal(backoffMs(3, 0.5), 3_000);
});

test('a wait is never nothing, not even before the first retry', () => {
  assert.ok(backoffMs(0, 0) >= 500);
  assert.ok(backoffMs(-3, 0) >= 500);
});
