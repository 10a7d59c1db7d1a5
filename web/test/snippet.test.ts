import assert from 'node:assert/strict';
import { test } from 'node:test';
import { snippet } from '../src/snippet.ts';

/** The string literals of a program, evaluated. */
function runs(code: string): { brokerURL: string; connectHeaders: Record<string, string>; destination: string } {
  const body = code.replace(/^import .*$/m, '').replace('client.activate();', '');
  let made: { brokerURL: string; connectHeaders: Record<string, string>; onConnect(): void } | undefined;
  let destination = '';
  class Client {
    constructor(config: NonNullable<typeof made>) {
      made = config;
    }
    subscribe(): void {}
    publish(params: { destination: string }): void {
      destination = params.destination;
    }
  }
  new Function('Client', 'token', body)(Client, 'a.b.c');
  made!.onConnect();
  return { brokerURL: made!.brokerURL, connectHeaders: made!.connectHeaders, destination };
}

test('the example shows the real address and is a program', () => {
  const made = runs(snippet('ws://localhost:8080/ws', { name: 'alice', room: '42', token: '' }));
  assert.equal(made.brokerURL, 'ws://localhost:8080/ws');
  assert.deepEqual(made.connectHeaders, { login: 'alice', passcode: 'guest' });
  assert.equal(made.destination, '/app/chat/42/send');
});

test('odd names stay string literals', () => {
  const name = `O'Brien "the" \\ back`;
  assert.equal(runs(snippet('ws://h/ws', { name, room: `it's`, token: '' })).connectHeaders.login, name);
});

test('a token is never printed into the example', () => {
  const code = snippet('ws://h/ws', { name: '', room: '42', token: 'secret.secret.secret' });
  assert.ok(!code.includes('secret'));
  assert.deepEqual(runs(code).connectHeaders, { Authorization: 'Bearer a.b.c' });
});
