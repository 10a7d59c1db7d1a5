// The README's program for broken connections, as it stands there.

import { readFile } from 'node:fs/promises';
import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { Inbox } from './peer.mjs';

/** Its text. */
export async function program() {
  const readme = await readFile(new URL('../../../README.md', import.meta.url), 'utf8');
  const programs = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
  return programs.find((code) => code.includes('stompede-since'));
}

/**
 * The program for `login` in a room, with a client that is not active yet; `shown` is what comes, `reloads` how often it
 * wants to reload.
 */
export async function begin(t, broker, login, room, reconnectDelay) {
  const client = new Client({
    webSocketFactory: () => new WebSocket(broker.url, ['v12.stomp']),
    connectHeaders: { login, passcode: 'guest' },
    reconnectDelay,
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0,
    onWebSocketError: () => {},
  });
  const running = { client, shown: new Inbox(`the room of ${login}`), reloads: 0 };
  const show = (message) => message.type === 'TEXT' && running.shown.put({ body: message.content });
  const reload = () => (running.reloads += 1);
  const code = `${(await program()).replaceAll('/chat/42', `/chat/${room}`)}\nreturn { send, unconfirmed };`;
  Object.assign(running, new Function('client', 'show', 'reload', code)(client, show, reload));
  running.say = (content) => running.send(JSON.stringify({ type: 'TEXT', content }));
  t.after(() => client.deactivate({ force: true }));
  return running;
}
