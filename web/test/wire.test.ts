import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outgoingBody, readError, readMembers, readRefusal, readRoomFrame } from '../src/wire.ts';

const NOW = 5;

test('a chat message is read with its sender, time and the name its page gave it', () => {
  const body = JSON.stringify({
    messageId: 'm1', chatRoomId: '42', senderId: 'alice', type: 'TEXT', content: 'hi', timestamp: 1_700, offset: 3,
    clientMessageId: 'k1',
  });
  const message = { messageId: 'm1', senderId: 'alice', text: 'hi', at: 1_700, clientMessageId: 'k1' };
  assert.deepEqual(readRoomFrame(body, NOW), { kind: 'message', message });
});

test('a time may be a number, an ISO string, or missing', () => {
  const at = (timestamp: unknown) => {
    const frame = readRoomFrame(JSON.stringify({ messageId: 'm', senderId: 'a', type: 'TEXT', content: '', timestamp }), NOW);
    return frame?.kind === 'message' ? frame.message.at : undefined;
  };
  assert.equal(at(1_000), 1_000);
  assert.equal(at('1970-01-01T00:00:01Z'), 1_000);
  assert.equal(at('yesterday'), NOW);
  assert.equal(at(undefined), NOW);
});

test('other content than text is shown as what it is', () => {
  const frame = readRoomFrame(JSON.stringify({ messageId: 'm', senderId: 'a', type: 'IMAGE', content: { url: 'x' } }), NOW);
  assert.equal(frame?.kind === 'message' && frame.message.text, '[image] {"url":"x"}');
});

test('events are read by their type', () => {
  const read = (event: object) => readRoomFrame(JSON.stringify(event), NOW);
  assert.deepEqual(read({ type: 'JOIN', userId: 'bob', timestamp: 9 }), { kind: 'join', userId: 'bob', at: 9 });
  assert.deepEqual(read({ type: 'LEAVE', userId: 7 }), { kind: 'leave', userId: '7', at: NOW });
  assert.deepEqual(read({ type: 'STATUS', userId: 'bob', status: 'away' }), { kind: 'status', userId: 'bob', status: 'away' });
  assert.deepEqual(read({ type: 'PRESENCE_COUNT', count: 900 }), { kind: 'count', count: 900 });
});

test('what the page does not know or cannot read is passed over', () => {
  for (const body of ['', 'no json', '[]', 'null', '{}', '{"type":"READ","userId":"a"}', '{"type":"JOIN"}', '{"type":"TEXT"}']) {
    assert.equal(readRoomFrame(body, NOW), undefined, body);
  }
});

test('members are read, and broken ones left out', () => {
  const body = '{"chatRoomId":"42","members":[{"userId":"alice","status":"online"},{"userId":"bob"},{},7,null]}';
  assert.deepEqual(readMembers(body), [
    { userId: 'alice', status: 'online' },
    { userId: 'bob', status: 'online' },
  ]);
  assert.equal(readMembers('{"members":"all"}'), undefined);
});

test('a refusal names the frame and says when to try again', () => {
  const body = '{"code":"rate-limited","message":"Slower","destination":"/app/x","receiptId":"k1","retryAfter":250}';
  assert.deepEqual(readRefusal(body), {
    code: 'rate-limited', message: 'Slower', destination: '/app/x', receiptId: 'k1', retryAfter: 250,
  });
  assert.equal(readRefusal('{"code":"forbidden","retryAfter":"never"}')?.retryAfter, 'never');
  assert.equal(readRefusal('{"code":"forbidden","retryAfter":null}')?.retryAfter, undefined);
});

test('an ERROR is read from its headers', () => {
  assert.deepEqual(readError({ message: 'Bad token', 'error-code': 'unauthorized', 'retry-after': 'never' }), {
    why: 'Bad token', code: 'unauthorized', retryAfter: 'never',
  });
  assert.equal(readError({ 'retry-after': '1500' }).retryAfter, 1_500);
  assert.equal(readError({ 'retry-after': 'soon' }).retryAfter, undefined);
  assert.notEqual(readError({}).why, '');
});

test('an outgoing body is what the room expects', () => {
  assert.deepEqual(JSON.parse(outgoingBody('a "quoted" line\n', 'k1')), {
    type: 'TEXT', content: 'a "quoted" line\n', clientMessageId: 'k1',
  });
});
