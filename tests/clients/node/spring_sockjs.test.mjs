// What a frontend made for Spring sees over SockJS: the items of Spring's behaviour that need it, with sockjs-client 1.6 and both
// stomp libraries, over each transport.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import SockJS from 'sockjs-client';
import { Broker } from '../broker.mjs';
import { ask, Bare, connected, frontend, headersOf, NEW, OLD } from './frontend.mjs';
import { block } from './migration.mjs';
import { unique } from './peer.mjs';

let broker;
before(async () => {
  const config = await block('from-spring.md', 'toml', 'The frontends as they are');
  broker = await Broker.start({ config: `${config}\n[heart_beat]\nsend_ms = 1000\nreceive_ms = 1000\n` });
});
after(() => broker?.stop());

const PAGE = 'https://app.example.com';
const TRANSPORTS = ['websocket', 'xhr-streaming', 'xhr-polling', 'eventsource'];

/** A socket of sockjs-client, over one transport. */
const sock = (transport, query = '') => new SockJS(`http://${broker.http}/ws${query}`, null, { transports: [transport] });
const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const user = (t, kind, transport, more = {}) =>
  connected(t, kind, broker, { socket: sock(transport), headers: bearer(broker.token('alice', 'none')), ...more });

for (const kind of [OLD, NEW]) {
  for (const transport of TRANSPORTS) {
    describe(`${kind.name} over ${transport}`, () => {
      test('spring 3, spring 17: messages come and go', async (t) => {
        const alice = await user(t, kind, transport);
        assert.equal(alice.socket.transport, transport);
        const topic = `/topic/${unique('sock')}`;
        const inbox = await alice.subscribe(topic);
        const sent = Array.from({ length: 50 }, (_, n) => `${n} äöü 🦬 "\\ \u2028`);
        for (const body of sent) alice.post(topic, body, { 'x-mine': 'kept' });
        for (const body of sent) {
          const message = await inbox.next();
          assert.equal(message.body, body);
          assert.equal(message.headers['x-mine'], 'kept');
          assert.equal(message.headers['content-length'], String(Buffer.byteLength(body)));
        }
      });

      test('spring 5: the query is kept, so a token in it says who it is', async (t) => {
        const token = broker.token('alice', 'none');
        const alice = await connected(t, kind, broker, { socket: sock(transport, `?token=${token}`), headers: {} });
        assert.equal(alice.connected['user-name'], 'alice');
      });

      test('spring 14: the heart-beat is a lone line feed', async (t) => {
        const alice = await user(t, kind, transport, { heartBeat: 1_000 });
        assert.equal(await alice.wire.next((text) => text === '\n'), '\n');
      });

      test('spring 33, spring 34: ERROR comes, and then the close with a code', async (t) => {
        const alice = await user(t, kind, transport);
        alice.listen('/user/bob/queue/messages');
        const end = await alice.ended();
        assert.deepEqual([end['error-code'], end.close], ['forbidden', 1008]);
      });

      test('spring 25: a queue of my own', async (t) => {
        const [alice, app] = [await user(t, kind, transport), await connected(t, NEW, broker, { headers: bearer(broker.service('shop')) })];
        const inbox = await alice.subscribe('/user/queue/messages');
        await app.send('/user/alice/queue/messages', transport);
        const { headers, body } = await inbox.next();
        assert.deepEqual([headers.destination, body], ['/user/queue/messages', transport]);
        inbox.subscription.unsubscribe();
        await alice.settled();
      });
    });
  }
}

describe('requests by hand', () => {
  test('spring 1: the greeting at /ws, a bare WebSocket at /ws/websocket and at /ws', async (t) => {
    const greeting = await ask(broker, 'GET', '/ws');
    assert.deepEqual([greeting.status, greeting.body], [200, 'Welcome to SockJS!\n']);
    assert.match(greeting.headers['content-type'], /^text\/plain; ?charset=UTF-8$/i);
    for (const path of ['/ws', '/ws/websocket']) {
      const bare = await Bare.open(t, `ws://${broker.http}${path}?token=${broker.token('alice', 'none')}`);
      assert.equal((await bare.connect('accept-version:1.2', 'host:h'))['user-name'], 'alice', path);
    }
  });

  test('spring 2: /ws/info', async () => {
    const { status, headers, body } = await ask(broker, 'GET', '/ws/info');
    assert.equal(status, 200);
    const told = JSON.parse(body);
    assert.deepEqual(told.origins, ['*:*']);
    assert.equal(told.websocket, true);
    assert.equal(typeof told.cookie_needed, 'boolean');
    assert.ok(Number.isInteger(told.entropy));
    assert.match(headers['cache-control'], /no-store, no-cache,.*must-revalidate, max-age=0/);
    assert.equal((await ask(broker, 'OPTIONS', '/ws/info', { Origin: PAGE })).status, 204);
    assert.equal((await ask(broker, 'DELETE', '/ws/info')).status, 405);
  });

  test('spring 3: what is no session of a known transport is not there', async () => {
    for (const path of ['/ws/a.b/session/xhr', '/ws/000/a.b/xhr', '/ws//abcdefgh/xhr', '/ws/000/abcdefgh/telegraph']) {
      assert.equal((await ask(broker, 'POST', path)).status, 404, path);
    }
  });

  test('spring 4: frames', async (t) => {
    const bare = await Bare.open(t, `ws://${broker.http}/ws/000/${unique('session')}/websocket`);
    assert.equal(await bare.wire.next((text) => text === 'o'), 'o');
    const connect = `CONNECT\naccept-version:1.2\nhost:h\nAuthorization:Bearer ${broker.token('alice', 'none')}\n\n\0`;
    bare.socket.send(JSON.stringify([connect]));
    const array = await bare.wire.next((text) => text.startsWith('a['));
    const [answer] = JSON.parse(array.slice(1));
    assert.equal(headersOf(answer)['user-name'], 'alice');
    bare.socket.send(JSON.stringify(['JUMP\n\n\0']));
    const [error] = JSON.parse((await bare.wire.next((text) => text.startsWith('a['))).slice(1));
    assert.match(error, /^ERROR\n/);
    assert.match(await bare.wire.next((text) => text.startsWith('c[')), /^c\[1002,/);
  });

  test('spring 4, spring 34: what is no JSON is closed with 1007', async (t) => {
    const bare = await Bare.open(t, `ws://${broker.http}/ws/000/${unique('session')}/websocket`);
    await bare.wire.next((text) => text === 'o');
    bare.socket.send('no JSON');
    assert.equal(await bare.closes.next(), 1007);
  });

  test('spring 7: pages that may are echoed with credentials, others get 403', async () => {
    const path = `/ws/000/${unique('session')}/xhr_streaming`;
    for (const asked of ['/ws/info', path]) {
      assert.equal((await ask(broker, asked === path ? 'POST' : 'GET', asked, { Origin: 'https://evil.example' })).status, 403, asked);
    }
    const { status, headers } = await ask(broker, 'GET', '/ws/info', { Origin: PAGE });
    assert.equal(status, 200);
    assert.equal(headers['access-control-allow-origin'], PAGE);
    assert.equal(headers['access-control-allow-credentials'], 'true');
    assert.equal((await ask(broker, 'GET', '/ws/iframe.html')).status, 404, 'a page of any origin would act as one of ours');
  });

  test('spring 9: a frontend without a token is told by ERROR', async (t) => {
    const alice = await frontend(t, OLD, broker, { socket: sock('xhr-polling'), headers: {} });
    assert.equal((await alice.ended())['error-code'], 'unauthorized');
  });
});
