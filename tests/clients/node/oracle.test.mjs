// The oracle itself: it lets right histories pass, and says of wrong ones what is wrong.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gapsTold, judge } from './oracle.mjs';

const room = 'r';
const sent = (key, by = 'sam') => ({ kind: 'sent', room, by, key });
const receipt = (key, by = 'sam') => ({ kind: 'receipt', room, by, key });
const comes = (reader, recovered) => ({ kind: 'subscribed', room, reader, recovered });
const gap = (reader) => ({ kind: 'gap', room, reader });
/** Its position is its key, unless told otherwise. */
const gets = (reader, key, { position = `p-${key}`, recovered } = {}) =>
  ({ kind: 'message', room, reader, key, position, recovered });
const all = (reader, keys) => [...keys].map((key) => gets(reader, key));
const confirmed = (keys) => [...keys].flatMap((key) => [sent(key), receipt(key)]);

const right = {
  'nothing at all': [],
  'two readers, one order': [comes('ann'), comes('bob'), ...confirmed('abc'), ...all('ann', 'abc'), ...all('bob', 'abc')],
  'who comes later lacks what was before': [
    comes('ann'), ...confirmed('a'), comes('bob'), ...confirmed('b'), ...all('ann', 'ab'), ...all('bob', 'b'),
  ],
  'who comes later may be given what was before': [
    comes('ann'), ...confirmed('a'), comes('bob'), ...all('ann', 'a'), ...all('bob', 'a'),
  ],
  'a connection that breaks and goes on': [
    comes('ann'), ...confirmed('ab'), gets('ann', 'a'), comes('ann', true), gets('ann', 'b', { recovered: true }),
  ],
  'what was not confirmed may be lost': [comes('ann'), sent('a'), ...confirmed('b'), gets('ann', 'b')],
  'what was sent twice and came once': [comes('ann'), sent('a'), sent('a'), receipt('a'), gets('ann', 'a')],
  'a hole that was told by a message': [
    comes('ann'), comes('bob'), ...confirmed('abc'), ...all('ann', 'abc'), gets('bob', 'a'),
    gets('bob', 'c', { recovered: false }),
  ],
  'a hole that was told by a receipt': [
    comes('ann'), comes('bob'), ...confirmed('abc'), ...all('ann', 'abc'), gets('bob', 'a'), comes('bob', false),
    gets('bob', 'c', { recovered: false }),
  ],
  'a hole that was told by itself': [
    comes('ann'), comes('bob'), ...confirmed('abc'), ...all('ann', 'abc'), gets('bob', 'a'), gap('bob'),
    gets('bob', 'c'),
  ],
  'what was lost, told, and repeated': [
    comes('ann'), sent('a'), gets('ann', 'a'), gap('ann'), sent('a'), receipt('a'), gets('ann', 'a', { position: 'q' }),
  ],
  'a confirmed message that was lost, and told': [comes('ann'), ...confirmed('a'), comes('ann', false)],
};

const wrong = {
  'a hole that somebody else did not have': [
    /a hole: after a bob has c/,
    [
      comes('ann'), comes('bob'), sent('a'), sent('b'), sent('c'), ...all('ann', 'abc'), ...all('bob', 'ac'),
    ],
  ],
  'a hole over a connection that says it has none': [
    /a hole/,
    [
      comes('ann'), comes('bob'), sent('a'), sent('b'), sent('c'), ...all('ann', 'abc'), gets('bob', 'a'),
      comes('bob', true), gets('bob', 'c', { recovered: true }),
    ],
  ],
  'a hole before what others have first': [
    /a hole: before c/,
    [
      comes('ann'), comes('bob'), sent('a'), sent('b'), sent('c'), ...all('ann', 'ac'), gets('bob', 'b'),
      gets('bob', 'c'),
    ],
  ],
  'a hole at the end': [
    /a hole: b of sam never came to bob/,
    [
      comes('ann'), comes('bob'), ...confirmed('ab'), ...all('ann', 'ab'), ...all('bob', 'a'),
    ],
  ],
  'a hole behind the one that was told': [
    /a hole/,
    [
      comes('ann'), comes('bob'), ...confirmed('abcd'), ...all('ann', 'abcd'), gets('bob', 'a'),
      gets('bob', 'b', { recovered: false }), gets('bob', 'd'),
    ],
  ],
  'one told at the receipt excuses nothing later': [
    /a false receipt/,
    [
      comes('ann'), comes('ann', false), ...confirmed('a'), sent('b'), gets('ann', 'b', { recovered: false }),
    ],
  ],
  'a double at one position': [/ann got a twice at p-a/, [comes('ann'), ...confirmed('ab'), ...all('ann', 'aba')]],
  'a double at another position': [
    /ann got a twice, the second time at q/,
    [
      comes('ann'), ...confirmed('a'), gets('ann', 'a'), gets('ann', 'a', { position: 'q' }),
    ],
  ],
  'a double over a connection': [
    /ann got a twice/,
    [
      comes('ann'), ...confirmed('a'), gets('ann', 'a'), comes('ann', true), gets('ann', 'a'),
    ],
  ],
  'the same position after a gap': [
    /ann got a twice at p-a/,
    [
      comes('ann'), ...confirmed('a'), gets('ann', 'a'), gap('ann'), gets('ann', 'a'),
    ],
  ],
  'two orders': [/not one order/, [comes('ann'), comes('bob'), ...confirmed('ab'), ...all('ann', 'ab'), ...all('bob', 'ba')]],
  'two orders over what was told': [
    /not one order/,
    [
      comes('ann'), comes('bob'), ...confirmed('ab'), gets('ann', 'a'), gap('ann'), gets('ann', 'b'), gets('bob', 'b'),
      gap('bob'), gets('bob', 'a'),
    ],
  ],
  'three that contradict each other': [
    /not one order/,
    [
      comes('ann'), comes('bob'), comes('cay'), sent('a'), sent('b'), sent('c'), ...all('ann', 'ab'),
      ...all('bob', 'bc'), ...all('cay', 'ca'),
    ],
  ],
  'a false receipt': [/a false receipt: a of sam came to nobody/, [comes('ann'), ...confirmed('ab'), gets('ann', 'b')]],
  'a receipt for nothing': [/a receipt for x, which nobody sent/, [receipt('x')]],
  'an invented message': [/ann got x, which nobody sent/, [comes('ann'), gets('ann', 'x')]],
  'two messages at one position': [
    /p is the position of a and of b/,
    [
      comes('ann'), comes('bob'), sent('a'), sent('b'), gets('ann', 'a', { position: 'p' }),
      gets('bob', 'b', { position: 'p' }),
    ],
  ],
  'a message that was not kept': [
    /ann got a without a position/,
    [
      comes('ann'), sent('a'), gets('ann', 'a', { position: null }),
    ],
  ],
};

for (const [name, events] of Object.entries(right)) {
  test(`right: ${name}`, () => assert.deepEqual(judge(events), []));
}

for (const [name, [expected, events]] of Object.entries(wrong)) {
  test(`wrong: ${name}`, () => {
    const faults = judge(events);
    assert.ok(faults.some((fault) => expected.test(fault)), `${expected} among ${JSON.stringify(faults)}`);
  });
}

test('rooms are judged apart', () => {
  const other = (event) => ({ ...event, room: 's' });
  const events = [comes('ann'), other(comes('ann')), ...confirmed('ab'), other(gets('ann', 'b')), ...all('ann', 'ab')];
  assert.deepEqual(judge(events), ['s: ann got b, which nobody sent']);
});

test('gaps that were told are counted once each', () => {
  assert.equal(gapsTold([comes('ann'), gets('ann', 'a'), comes('ann', true)]), 0);
  const events = [comes('ann'), gets('ann', 'a'), comes('ann', false), gets('ann', 'b', { recovered: false }), gap('ann')];
  assert.equal(gapsTold(events), 2);
});
