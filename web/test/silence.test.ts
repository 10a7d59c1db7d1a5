import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ASK_MS, Silence, SILENT_MS } from '../src/silence.ts';

/** Asks in time until `end`; when it was too long, if ever. */
function ask(silence: Silence, from: number, end: number): number | undefined {
  for (let now = from; now <= end; now += ASK_MS) if (silence.isTooLong(now)) return now;
  return undefined;
}

test('a broker that says nothing is given up after two and a half heart-beats', () => {
  const at = ask(new Silence(0), ASK_MS, 120_000);
  assert.ok(at !== undefined && at > SILENT_MS && at <= SILENT_MS + ASK_MS, `at ${at}`);
});

test('a broker that says something now and then is not', () => {
  const silence = new Silence(0);
  for (let now = 0; now < 600_000; now += 20_000) {
    silence.heard(now);
    assert.equal(ask(silence, now + ASK_MS, now + 20_000), undefined);
  }
});

test('the time in which the page slept is no silence, what follows is', () => {
  const silence = new Silence(0);
  assert.equal(silence.isTooLong(ASK_MS), false);
  const woke = ASK_MS + 3_600_000;
  assert.equal(silence.isTooLong(woke), false);
  assert.equal(ask(silence, woke + ASK_MS, woke + SILENT_MS), undefined);
  assert.notEqual(ask(silence, woke + SILENT_MS + ASK_MS, woke + 2 * SILENT_MS), undefined);
});
