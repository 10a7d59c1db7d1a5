// A browser that compresses: it offers so by itself.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { launch, Person } from './person.mjs';

let browser;
let broker;
before(async () => {
  [browser, broker] = await Promise.all([launch(), Broker.start({ config: '[websocket]\ncompression = true\n' })]);
});
after(async () => {
  await browser?.close();
  await broker?.stop();
});

/** Keeps the page's sockets where a test finds them. */
const prepare = (page) =>
  page.addInitScript(() => {
    window.sockets = [];
    const Real = WebSocket;
    window.WebSocket = class extends Real {
      constructor(...arguments_) {
        super(...arguments_);
        window.sockets.push(this);
      }
    };
  });

const agreed = (person) => person.page.evaluate(() => window.sockets.map((socket) => socket.extensions));

test('Chromium agrees to compress, and people talk', async (t) => {
  const alice = await Person.join(t, browser, broker, 'alice', 'squeezed', { prepare });
  const bob = await Person.join(t, browser, broker, 'bob', 'squeezed', { prepare });
  for (const person of [alice, bob]) {
    const extensions = await agreed(person);
    assert.equal(extensions.length, 1);
    assert.match(extensions[0], /^permessage-deflate; server_no_context_takeover; client_no_context_takeover$/);
  }
  const long = 'Ist da jemand? Grüße aus dem Süden, das Wasser kocht. '.repeat(30).trim();
  const said = ['short', long, `${long} And again.`, 'the last'];
  for (const text of said) {
    await alice.say(text);
    await bob.sees(text);
  }
  await bob.say(`${long} Yes!`);
  await alice.sees(`${long} Yes!`);
  assert.deepEqual(await bob.messages(), [...said, `${long} Yes!`]);
});
