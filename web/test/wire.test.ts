import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readError, readRefusal } from '../src/refusal.ts';
import { outgoingBody, readEnvelope, readMembers, readRoomFrame, readUnread } from '../src/wire.ts';

const NOW = 5;

test('a chat message is read with its sender, time and the name its page gave it', () => {
  const body = JSON.stringify({
    messageId: 'm1', chatRoomId: '42', senderId: 'alice', type: 'TEXT', content: 'hi', timestamp: 1_700, offset: 3,
    clientMessageId: 'k1',
  });
  const message = { messageId: 'm1', senderId: 'alice', text: 'hi', at: 1_700, offset: 3, clientMessageId: 'k1' };
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
  assert.deepEqual(read({ type: 'JOIN', userId: 'bob', version: 4, timestamp: 9 }), { kind: 'join', userId: 'bob', at: 9, version: 4 });
  assert.deepEqual(read({ type: 'PRESENCE_COUNT', count: 900, version: 950 }), { kind: 'count', count: 900, version: 950 });
  assert.deepEqual(read({ type: 'TYPING', userId: 'bob' }), { kind: 'typing', userId: 'bob' });
  assert.deepEqual(read({ type: 'READ', userId: 'bob', messageId: 'm', offset: 3 }), { kind: 'read', userId: 'bob', offset: 3 });
});

test('what the page does not know or cannot read is passed over', () => {
  for (const body of ['', 'no json', '[]', 'null', '{}', '{"type":"READ","userId":"a"}', '{"type":"JOIN"}', '{"type":"TEXT"}']) {
    assert.equal(readRoomFrame(body, NOW), undefined, body);
  }
});

test('members are read, and broken ones left out', () => {
  const body = '{"chatRoomId":"42","members":[{"userId":"alice","status":"online"},{"userId":"bob"},{},7,null]}';
  assert.deepEqual(readMembers(body), {
    members: [
      { userId: 'alice', status: 'online' },
      { userId: 'bob', status: 'online' },
    ],
  });
  assert.deepEqual(readMembers('{"members":[],"count":7,"version":9,"next":"a"}'), { members: [], count: 7, version: 9 });
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

test('headers say where a message stands and whether some are missing before it', () => {
  assert.deepEqual(readEnvelope({ 'stompede-position': 'ab-1', 'stompede-recovered': 'false' }), { position: 'ab-1', recovered: false });
  assert.deepEqual(readEnvelope({ 'stompede-recovered': 'true' }), { recovered: true });
  assert.deepEqual(readEnvelope({ 'stompede-recovered': 'perhaps' }), {});
});

test('unread counts are read, and broken ones left out', () => {
  const body = '{"rooms":[{"chatRoomId":"42","unread":3},{"chatRoomId":"43","unread":1000,"more":true},{"unread":1},{"chatRoomId":"x","unread":-1},7]}';
  assert.deepEqual(readUnread(body), [
    { room: '42', count: 3, more: false },
    { room: '43', count: 1_000, more: true },
  ]);
  assert.equal(readUnread('{}'), undefined);
});
