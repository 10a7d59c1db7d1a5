import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Minute, only, read } from '../src/console/metrics.ts';
import { visible } from '../src/console/visible.ts';

test('metrics are read as the broker writes them', () => {
  const metrics = read('# HELP a What it is.\n# TYPE a gauge\na 1.5\nb_total{c="web-socket",d="x"} 2\nb_total{c="tcp",d="y"} 1e3\n');
  assert.equal(only(metrics, 'a'), 1.5);
  assert.deepEqual(metrics.get('b_total'), [
    { labels: { c: 'web-socket', d: 'x' }, value: 2 },
    { labels: { c: 'tcp', d: 'y' }, value: 1_000 },
  ]);
  assert.equal(only(metrics, 'c'), undefined);
});

test('what has grown within the last minute is told, not what was there before', () => {
  const minute = new Minute();
  const at = (second: number, count: number) => minute.take(second * 1_000, new Map([['kicked', count]])).get('kicked');
  assert.equal(at(0, 100), 0);
  assert.equal(at(30, 103), 3);
  assert.equal(at(60, 103), 3);
  assert.equal(at(91, 104), 1);
  assert.equal(at(93, 2), 0, 'a process that began anew');
  assert.equal(at(95, 3), 1);
});

test('nothing of a name is hidden', () => {
  assert.equal(visible('\u202egnp.exe'), '\\u202egnp.exe');
  assert.equal(visible('admin\u200b\n\u2028\u{e0041}'), 'admin\\u200b\\u000a\\u2028\\ue0041');
  assert.equal(visible('Jörg <b> 🦬'), 'Jörg <b> 🦬');
});
