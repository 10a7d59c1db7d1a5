// The code that a visitor takes home.

import type { Settings } from './settings.ts';

/** A complete program for `@stomp/stompjs` that does what the page does. */
export function snippet(url: string, settings: Settings): string {
  const login =
    settings.token === ''
      ? `{ login: ${quote(settings.name || 'alice')}, passcode: 'guest' }`
      : `{ Authorization: 'Bearer ' + token }`;
  const room = settings.room || 'lobby';
  return `import { Client } from '@stomp/stompjs';

const client = new Client({
  brokerURL: ${quote(url)},
  connectHeaders: ${login},
  reconnectDelay: 2000,
  onConnect() {
    client.subscribe(${quote(`/topic/chat/${room}`)}, (message) => {
      console.log(JSON.parse(message.body));
    });
    client.publish({
      destination: ${quote(`/app/chat/${room}/send`)},
      body: JSON.stringify({ type: 'TEXT', content: 'Hello' }),
    });
  },
});
client.activate();
`;
}

/** A JavaScript string literal in single quotes. */
function quote(value: string): string {
  return `'${JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
}
