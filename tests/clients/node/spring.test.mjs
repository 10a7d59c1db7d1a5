// What a frontend made for Spring's STOMP support sees here, item by item of Spring's behaviour on the wire, with the stomp libraries
// that such frontends have. Where we differ the name says so; docs/from-spring.md gives the reasons.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { ask, Bare, connected, frontend, headersOf, NEW, OLD } from './frontend.mjs';
import { block } from './migration.mjs';
import { unique } from './peer.mjs';

let broker;
let config;
before(async () => {
  config = await block('from-spring.md', 'toml', 'The frontends as they are');
  broker = await Broker.start({ config: `${config}\n[rooms]\nlinger_ms = 200\n` });
});
after(() => broker?.stop());

const bearer = (token) => ({ Authorization: `Bearer ${token}` });
/** A user's frontend. */
const user = (t, kind, name = 'alice', room = 'none') =>
  connected(t, kind, broker, { headers: bearer(broker.token(name, room)) });
/** The application: what Spring's beans were. */
const application = (t, kind = NEW) => connected(t, kind, broker, { headers: bearer(broker.service('shop')) });
/** A user's connection, the frames by hand. */
async function byHand(t, version = '1.2', options = {}, name = 'alice') {
  const bare = await Bare.open(t, options.url ?? broker.url, options);
  bare.connected = await bare.connect(`accept-version:${version}`, 'host:h', `Authorization:Bearer ${broker.token(name, 'none')}`);
  return bare;
}
const frame = (...lines) => lines.join('\n');

for (const kind of [OLD, NEW]) {
  describe(kind.name, () => {
    test('spring 6: the subprotocol is one of those offered', async (t) => {
      const alice = await user(t, kind);
      assert.equal(alice.socket.protocol, `v${kind.version.replace('.', '')}.stomp`);
    });

    test('spring 9: the token is in a header of CONNECT, and headers that nobody knows do no harm', async (t) => {
      const token = broker.token('alice', 'none');
      const fillers = { login: 'guest', passcode: 'guest', 'X-CSRF-TOKEN': 'c', 'X-Authorization': 'x', token: 't', host: '' };
      for (const name of ['Authorization', 'authorization']) {
        const alice = await connected(t, kind, broker, { headers: { ...fillers, [name]: `Bearer ${token}` } });
        assert.equal(alice.connected['user-name'], 'alice');
      }
    });

    test('spring 10: CONNECTED has version, heart-beat and user-name', async (t) => {
      const alice = await user(t, kind);
      assert.equal(alice.connected.version, kind.version);
      assert.equal(alice.connected['heart-beat'], '10000,10000', 'as configured, whatever the client has');
      assert.equal(alice.connected['user-name'], 'alice');
      const colon = await connected(t, kind, broker, { headers: bearer(broker.token('a:b\\c', 'none')) });
      assert.match(await colon.wire.next('CONNECTED'), /\nuser-name:a:b\\c\n/, 'not escaped');
    });

    test('spring 14: the heart-beat is a lone line feed', async (t) => {
      const alice = await connected(t, kind, quick, { headers: bearer(quick.token('alice', 'none')), heartBeat: 1_000 });
      assert.equal(await alice.wire.next((text) => text === '\n'), '\n');
    });

    test('spring 15: a frontend subscribes as it used to; differs: it is told what cannot be', async (t) => {
      const alice = await user(t, kind);
      const inbox = await alice.subscribe('/topic/prices');
      assert.match(inbox.subscription.id, /^sub-\d+$/);
      alice.listen('/elsewhere/prices');
      const end = await alice.ended();
      assert.equal(end['error-code'], 'bad-destination');
      assert.match(end.message, /\/topic\/<path>/);
    });

    test('spring 16: two subscriptions of one topic are two MESSAGEs; differs: a second of the same id is refused', async (t) => {
      const alice = await user(t, kind);
      const topic = `/topic/${unique('twice')}`;
      const inboxes = [await alice.subscribe(topic), await alice.subscribe(topic)];
      await alice.send(topic, 'both');
      for (const inbox of inboxes) assert.equal((await inbox.next()).body, 'both');
      alice.listen(topic, { id: inboxes[0].subscription.id });
      assert.match((await alice.ended()).message, /subscription/);
    });

    test('spring 17: MESSAGE has what Spring sends', async (t) => {
      const [alice, app] = [await user(t, kind), await application(t)];
      const inbox = await alice.subscribe(`/topic/${unique('json')}`);
      await app.send(inbox.destination, '{"name":"Jörg"}', { 'content-type': 'application/json' });
      const { headers, body } = await inbox.next();
      assert.deepEqual(JSON.parse(body), { name: 'Jörg' });
      assert.equal(headers.destination, inbox.destination);
      assert.equal(headers['content-type'], 'application/json');
      assert.equal(headers.subscription, inbox.subscription.id);
      assert.equal(headers['content-length'], '16', 'in bytes');
      assert.ok(headers['message-id']);
      assert.equal(headers.ack ?? '', '');
    });

    test('spring 18: each message-id is there once on a connection; differs: it does not tell the session', async (t) => {
      const alice = await user(t, kind);
      const inbox = await alice.subscribe(`/topic/${unique('ids')}`);
      const ids = new Set();
      for (const body of ['a', 'b', 'c']) {
        await alice.send(inbox.destination, body);
        ids.add((await inbox.next()).headers['message-id']);
      }
      assert.equal(ids.size, 3);
      for (const id of ids) assert.ok(!id.includes(alice.connected.session), id);
    });

    test('spring 19: SEND to /topic/x reaches all, the sender too; differs: credentials stay behind', async (t) => {
      const [alice, bob] = [await user(t, kind), await user(t, kind, 'bob')];
      const topic = `/topic/${unique('straight')}`;
      const inboxes = [await alice.subscribe(topic), await bob.subscribe(topic)];
      const secrets = { Authorization: 'Bearer secret', passcode: 'secret', 'message-id': 'forged', 'user-name': 'root' };
      await alice.send(topic, 'hello', { 'x-mine': 'kept', priority: '7', ...secrets });
      for (const inbox of inboxes) {
        const { headers, body } = await inbox.next();
        assert.equal(body, 'hello');
        assert.equal(headers['x-mine'], 'kept');
        assert.equal(headers.priority, '7');
        assert.equal(headers['user-name'], 'alice');
        for (const name of ['Authorization', 'passcode', 'receipt']) assert.ok(!(name in headers), name);
        assert.notEqual(headers['message-id'], 'forged');
      }
    });

    test('spring 21: patterns show the concrete destination', async (t) => {
      const [alice, app] = [await user(t, kind), await application(t)];
      const root = `/topic/${unique('stock')}`;
      const one = await alice.subscribe(`${root}/*/price`);
      const rest = await alice.subscribe(`${root}/**`);
      await app.send(`${root}/a/price`, '1');
      await app.send(`${root}/a/b/price`, '2');
      const first = await one.next();
      assert.deepEqual([first.headers.destination, first.body], [`${root}/a/price`, '1']);
      assert.equal((await rest.next()).headers.destination, `${root}/a/price`);
      assert.equal((await rest.next()).headers.destination, `${root}/a/b/price`);
      assert.equal(one.size, 0);
    });

    test('spring 22, differs: a selector is refused, with what to do instead', async (t) => {
      const alice = await user(t, kind);
      alice.listen('/topic/orders', { selector: "headers['kind'] == 'new'" });
      const end = await alice.ended();
      assert.equal(end['error-code'], 'bad-destination');
      assert.match(end.message, /selectors/);
    });

    test('spring 23: UNSUBSCRIBE by id, of user destinations too', async (t) => {
      const [alice, app] = [await user(t, kind), await application(t)];
      const topic = `/topic/${unique('left')}`;
      const inboxes = [await alice.subscribe(topic), await alice.subscribe('/user/queue/left')];
      for (const { subscription } of inboxes) subscription.unsubscribe();
      await alice.settled();
      await app.send(topic, 'nobody listens');
      await app.send('/user/alice/queue/left', 'nobody listens');
      await alice.settled();
      for (const inbox of inboxes) assert.equal(inbox.size, 0, inbox.what);
      assert.equal(alice.strays.size, 0);
    });

    test('spring 24: /app is the application: SEND reaches a handler, SUBSCRIBE is answered once', async (t) => {
      const [alice, app] = [await user(t, kind), await application(t)];
      const path = unique('orders');
      const work = await app.subscribe(`/app/${path}`);
      await alice.send(`/app/${path}`, '{"item":1}', { 'content-type': 'application/json', 'x-mine': 'kept' });
      const sent = await work.next();
      assert.equal(sent.body, '{"item":1}');
      assert.equal(sent.headers['user-name'], 'alice');
      assert.equal(sent.headers.session, alice.connected.session);
      assert.equal(sent.headers['x-mine'], 'kept');
      const snapshot = alice.listen(`/app/${path}`);
      const asked = await work.next();
      assert.equal(asked.headers.command, 'SUBSCRIBE');
      await app.send(asked.headers['reply-to'], '[]', { 'content-type': 'application/json' });
      const answer = await snapshot.next();
      assert.equal(answer.body, '[]');
      assert.equal(answer.headers.destination, `/app/${path}`);
      assert.equal(answer.headers.subscription, snapshot.subscription.id);
      await alice.send(`/app/${path}`, 'another');
      await work.next();
      await alice.settled();
      assert.equal(snapshot.size, 0, 'one answer, then nothing');
    });

    test('spring 25: a queue of my own shows the destination that I subscribed', async (t) => {
      const [alice, app] = [await user(t, kind), await application(t)];
      for (const path of ['queue/messages', 'topic/messages']) {
        const inbox = await alice.subscribe(`/user/${path}`);
        await app.send(`/user/alice/${path}`, path, { 'content-type': 'text/plain;charset=UTF-8' });
        const { headers, body } = await inbox.next();
        assert.equal(body, path);
        assert.equal(headers.destination, `/user/${path}`);
        assert.equal(headers['content-type'], 'text/plain;charset=UTF-8');
      }
    });

    test('spring 26: a message to a user reaches all his sessions, however he is called', async (t) => {
      const app = await application(t);
      for (const [name, encoded] of [['alice', 'alice'], ['a/b', 'a%2Fb'], ['me@example.com', 'me@example.com']]) {
        const sessions = [await user(t, kind, name), await user(t, kind, name)];
        const inboxes = await Promise.all(sessions.map((session) => session.subscribe('/user/queue/each')));
        const stranger = await (await user(t, kind, 'stranger')).subscribe('/user/queue/each');
        await app.send(`/user/${encoded}/queue/each`, name);
        for (const inbox of inboxes) assert.equal((await inbox.next()).body, name);
        await app.send('/user/stranger/queue/each', 'mine');
        assert.equal((await stranger.next()).body, 'mine');
      }
    });

    test('spring 27: what is sent to nobody is accepted and gone', async (t) => {
      const [alice, app] = [await user(t, kind), await application(t, kind)];
      const ghost = unique('ghost');
      await app.send(`/user/${ghost}/queue/messages`, 'lost');
      const late = await user(t, kind, ghost);
      const inbox = await late.subscribe('/user/queue/messages');
      await app.send(`/user/${ghost}/queue/messages`, 'heard');
      assert.equal((await inbox.next()).body, 'heard');
      await alice.settled();
    });

    test('spring 28: the own queue may be named literally, that of another is refused', async (t) => {
      const [alice, app] = [await user(t, kind), await application(t)];
      const inbox = await alice.subscribe('/user/alice/queue/literal');
      await app.send('/user/alice/queue/literal', 'mine');
      const { headers, body } = await inbox.next();
      assert.deepEqual([headers.destination, body], ['/user/alice/queue/literal', 'mine']);
      alice.listen('/user/bob/queue/literal');
      assert.equal((await alice.ended())['error-code'], 'forbidden');
    });

    test('spring 29, differs: nobody subscribes the queues behind user destinations', async (t) => {
      for (const queue of ['/queue/messages-user1234', '/queue/**', '/queue/orders']) {
        const alice = await user(t, kind);
        alice.listen(queue);
        assert.match((await alice.ended())['error-code'], /^(forbidden|bad-destination)$/, queue);
      }
    });

    test('spring 30, differs: each receipt is answered', async (t) => {
      const alice = await user(t, kind);
      const inbox = await alice.subscribe('/topic/receipts');
      await alice.send('/topic/receipts', 'x');
      alice.write(frame('UNSUBSCRIBE', `id:${inbox.subscription.id}`, 'receipt:u', '', ''));
      await alice.receipted('u');
    });

    test('spring 32, differs: ERROR says what is wrong in words and by a code', async (t) => {
      const alice = await frontend(t, kind, broker, { headers: bearer('no token') });
      const end = await alice.ended();
      assert.ok(end.message);
      assert.equal(end['error-code'], 'unauthorized');
      assert.equal(end.body, '');
      assert.equal(end['content-length'], '0');
      assert.equal(end.close, 1008);
    });

    test('spring 32: a frontend that looks for the word expired finds it', async (t) => {
      const alice = await frontend(t, kind, broker, { headers: bearer(expired('alice')) });
      const end = await alice.ended();
      assert.match(end.message, /expired/);
      assert.equal(end['error-code'], 'token-expired');
    });

    test('spring 33: a denied SUBSCRIBE ends the connection, and is told before', async (t) => {
      const alice = await user(t, kind);
      alice.listen('/user/bob/queue/messages', { receipt: 'mine' });
      const end = await alice.ended();
      assert.equal(end['error-code'], 'forbidden');
      assert.equal(end['receipt-id'], 'mine');
    });

    test('spring 33: who subscribes /user/queue/errors is told there and goes on', async (t) => {
      const alice = await user(t, kind);
      const errors = await alice.subscribe('/user/queue/errors');
      alice.listen('/user/bob/queue/messages');
      assert.equal(JSON.parse((await errors.next()).body).code, 'forbidden');
      await alice.settled();
    });

    test('spring 35: who comes and goes is told in this order, each once', async (t) => {
      const room = unique('room');
      const app = await application(t);
      const events = await app.subscribe(`/topic/chat/${room}`);
      const told = async () => JSON.parse((await events.next()).body);
      const alice = await user(t, kind, 'alice', room);
      await alice.subscribe(`/topic/chat/${room}`);
      let event;
      do event = await told();
      while (event.userId !== 'alice');
      assert.equal(event.type, 'JOIN');
      await alice.send(`/app/chat/${room}/send`, '{"type":"TEXT","content":"hi"}');
      assert.equal((await told()).type, 'TEXT');
      alice.socket.terminate();
      assert.deepEqual((({ type, userId }) => [type, userId])(await told()), ['LEAVE', 'alice']);
      await app.send(`/topic/chat/${room}`, '{"type":"fence"}');
      assert.equal((await told()).type, 'fence', 'nothing twice');
    });

    test('spring 36: what a frontend behind a relay reads is there', async (t) => {
      const alice = await user(t, kind);
      for (const name of ['version', 'heart-beat', 'session', 'server', 'user-name']) assert.ok(alice.connected[name], name);
      const app = await application(t, kind);
      const queue = `/queue/${unique('jobs')}`;
      const inbox = await app.subscribe(queue);
      await app.send(queue, 'job');
      assert.equal((await inbox.next()).headers.redelivered, 'false');
    });

    test('spring 37: names of RabbitMQ are refused with ours, dotted ones are good', async (t) => {
      const names = {
        '/exchange/amq.topic/chat.42': '/topic/chat.42',
        '/exchange/amq.direct/chat.42': '/topic/chat.42',
        '/amq/queue/jobs': '/queue/jobs',
        '/user/exchange/amq.direct/messages': '/user/queue/',
      };
      for (const [theirs, ours] of Object.entries(names)) {
        const alice = await user(t, kind);
        alice.listen(theirs);
        const end = await alice.ended();
        assert.ok(end.message.includes(ours), `${theirs}: ${end.message}`);
      }
      const alice = await user(t, kind);
      const inbox = await alice.subscribe('/topic/chat.42');
      await alice.send('/topic/chat.42', 'dots');
      assert.equal((await inbox.next()).body, 'dots');
    });

    test('spring 34, spring 38: a broker that ends says so, and the close has a code that means it', async (t) => {
      const ending = await Broker.start();
      t.after(() => ending.stop());
      const alice = await connected(t, kind, ending, { headers: { login: 'alice', passcode: 'guest' } });
      const ended = ending.end('SIGTERM');
      const end = await alice.ended();
      assert.equal(end['error-code'], 'shutting-down');
      assert.equal(end.close, 1012);
      await ended;
    });
  });
}

let quick;
before(async () => {
  const small = `[jwt]\nsecret = "a secret of thirty-two bytes, or more"
[heart_beat]\nsend_ms = 1000\nreceive_ms = 1000\npong_ms = 1000
[limits]\nconnect_ms_max = 1000\noutbox_bytes_max = 65536\n`;
  quick = await Broker.start({ config: small });
});
after(() => quick?.stop());

describe('frames by hand', () => {
  test('spring 6: of several subprotocols the newest, of none none', async (t) => {
    const cases = [[['v10.stomp', 'v11.stomp', 'v12.stomp'], 'v12.stomp'], [['v11.stomp', 'v10.stomp'], 'v11.stomp'], [[], '']];
    for (const [protocols, chosen] of cases) assert.equal((await Bare.open(t, broker.url, { protocols })).socket.protocol, chosen);
  });

  test('spring 8: handshakes that are none', async () => {
    const good = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    };
    const cases = [
      ['POST', {}, 405],
      ['GET', { Upgrade: 'h2c' }, 400],
      ['GET', { Connection: 'close' }, 400],
      ['GET', { 'Sec-WebSocket-Version': '12' }, 426],
    ];
    for (const [method, changed, status] of cases) {
      const answer = await ask(broker, method, '/ws', { ...good, ...changed });
      assert.equal(answer.status, status, JSON.stringify([method, changed]));
      if (changed.Upgrade) assert.match(answer.body, /Can "Upgrade" only to "WebSocket"\./);
      if (status === 405) assert.match(answer.headers.allow, /GET/);
    }
  });

  test('spring 9: STOMP is CONNECT, and host, login and passcode may be missing', async (t) => {
    const bare = await Bare.open(t, broker.url);
    bare.write(frame('STOMP', 'accept-version:1.2', `Authorization:Bearer ${broker.token('alice', 'none')}`, '', ''));
    assert.equal(headersOf(await bare.wire.next('CONNECTED'))['user-name'], 'alice');
  });

  test('spring 10: the highest version wins', async (t) => {
    for (const [offered, chosen] of [['1.0,1.1,1.2', '1.2'], ['1.1,1.0', '1.1'], ['1.0', '1.0'], ['1.2,9.9', '1.2']]) {
      assert.equal((await byHand(t, offered)).connected.version, chosen);
    }
  });

  test('spring 11, differs: without accept-version it is answered as 1.0', async (t) => {
    const bare = await Bare.open(t, broker.url);
    const answer = await bare.connect(`Authorization:Bearer ${broker.token('alice', 'none')}`);
    assert.equal(answer.version, '1.0');
  });

  test('spring 12, differs: a second CONNECT is an ERROR and the end', async (t) => {
    const bare = await byHand(t);
    bare.write(frame('CONNECT', 'accept-version:1.2', 'host:h', '', ''));
    assert.equal((await bare.ended()).close, 1002);
  });

  test('spring 13, differs: nothing is done before CONNECT', async (t) => {
    for (const early of [frame('SEND', 'destination:/topic/a', '', 'x'), frame('SUBSCRIBE', 'id:0', 'destination:/topic/a', '', '')]) {
      const bare = await Bare.open(t, broker.url);
      bare.write(early);
      assert.equal((await bare.ended())['error-code'], 'bad-frame');
    }
  });

  test('spring 13: what is written behind CONNECT without waiting is done in its order', async (t) => {
    const bare = await Bare.open(t, broker.url);
    const topic = `/topic/${unique('ahead')}`;
    bare.write(
      frame('CONNECT', 'accept-version:1.2', 'host:h', `Authorization:Bearer ${broker.token('alice', 'none')}`, '', ''),
      frame('SUBSCRIBE', 'id:sub-0', `destination:${topic}`, '', ''),
      frame('SEND', `destination:${topic}`, '', 'first'),
    );
    await bare.wire.next('CONNECTED');
    assert.match(await bare.wire.next('MESSAGE'), /first$/);
  });

  test('spring 14: a client that is gone is told by ERROR and 1002, should it still listen', async (t) => {
    const bare = await Bare.open(t, quick.url, { autoPong: false });
    await bare.connect('accept-version:1.2', 'host:h', 'heart-beat:1000,1000', `Authorization:Bearer ${quick.token('a', 'none')}`);
    await bare.wire.next((text) => text === '\n');
    assert.deepEqual([...new Set(bare.kinds)], [false], 'in text messages');
    const end = await bare.ended();
    assert.deepEqual([end['error-code'], end.close], ['heart-beat-lost', 1002]);
  });

  test('spring 15, differs: SUBSCRIBE without id or destination is an ERROR', async (t) => {
    for (const [line, code] of [['destination:/topic/a', 'bad-frame'], ['id:sub-0', 'bad-destination']]) {
      const bare = await byHand(t);
      bare.write(frame('SUBSCRIBE', line, '', ''));
      assert.equal((await bare.ended())['error-code'], code);
    }
  });

  test('spring 17: MESSAGE and ERROR always have content-length', async (t) => {
    const bare = await byHand(t);
    bare.write(frame('SUBSCRIBE', 'id:sub-0', 'destination:/topic/lengths', '', ''), frame('SEND', 'destination:/topic/lengths', '', 'ü'));
    assert.equal(headersOf(await bare.wire.next('MESSAGE'))['content-length'], '2');
    bare.write('NONSENSE\n\n');
    assert.equal((await bare.ended())['content-length'], '0');
  });

  test('spring 20: headers are escaped whatever the version', async (t) => {
    // What a frontend has written it reads, byte for byte.
    const lines = { '1.0': 'x:a\\cb\\\\n', '1.1': 'n\\cx:a\\cb\\\\c\\nd', '1.2': 'n\\cx:a\\cb\\\\c\\nd\\re' };
    for (const [version, line] of Object.entries(lines)) {
      const bare = await byHand(t, version);
      const topic = `/topic/${unique('escapes')}`;
      bare.write(frame('SUBSCRIBE', 'id:sub-0', `destination:${topic}`, '', ''));
      bare.write(frame('SEND', `destination:${topic}`, line, '', 'x'));
      const message = await bare.wire.next('MESSAGE');
      assert.ok(message.split('\n').includes(line), `${version}: ${message}`);
    }
  });

  test('spring 20: repeated headers are kept, in their order', async (t) => {
    const bare = await byHand(t);
    bare.write(frame('SUBSCRIBE', 'id:sub-0', 'destination:/topic/repeated', '', ''));
    bare.write(frame('SEND', 'destination:/topic/repeated', 'tag:one', 'tag:two', '', 'x'));
    assert.match(await bare.wire.next('MESSAGE'), /\ntag:one\ntag:two\n/);
  });

  test('spring 23: UNSUBSCRIBE needs no destination, and that of something unknown is refused', async (t) => {
    const bare = await byHand(t);
    bare.write(frame('SUBSCRIBE', 'id:sub-0', 'destination:/user/queue/a', '', ''));
    bare.write(frame('UNSUBSCRIBE', 'id:sub-0', 'receipt:1', '', ''));
    assert.equal(headersOf(await bare.wire.next('RECEIPT'))['receipt-id'], '1');
    bare.write(frame('UNSUBSCRIBE', 'id:sub-0', '', ''));
    assert.match((await bare.ended()).message, /sub-0/);
  });

  test('spring 31: DISCONNECT gets its RECEIPT; differs: without one there is no ERROR', async (t) => {
    const asking = await byHand(t);
    asking.write(frame('DISCONNECT', 'receipt:bye', '', ''));
    assert.equal(headersOf(await asking.wire.next('RECEIPT'))['receipt-id'], 'bye');
    const silent = await byHand(t);
    silent.write(frame('DISCONNECT', '', ''));
    assert.equal(await silent.closes.next(), 1000);
    assert.ok(!silent.wire.has('ERROR'));
  });

  test('spring 33: what breaks the protocol or a limit ends the connection', async (t) => {
    const faults = {
      'an unknown command': ['JUMP\n\n', 'bad-frame', 1002],
      'a header without a colon': [frame('SEND', 'destination', '', 'x'), 'bad-frame', 1002],
      'an escape that is none': [frame('SEND', 'destination:/topic/a', 'x:\\t', '', 'x'), 'bad-frame', 1002],
      'a body that is too large': [frame('SEND', 'destination:/topic/a', 'content-length:9000000', '', 'x'), 'too-large', 1009],
    };
    for (const [fault, [written, code, close]] of Object.entries(faults)) {
      const bare = await byHand(t);
      bare.write(written);
      const end = await bare.ended();
      assert.deepEqual([end['error-code'], end.close], [code, close], fault);
      assert.ok(end.message, fault);
    }
  });

  test('spring 34: who does not read is closed with 4500, who never says CONNECT with 1008', async (t) => {
    const silent = await Bare.open(t, quick.url);
    assert.deepEqual((({ 'error-code': code, close }) => [code, close])(await silent.ended()), ['login-timeout', 1008]);
    const [app, slow] = [await Bare.open(t, quick.url), await Bare.open(t, quick.url)];
    const who = (sub) => [`accept-version:1.2`, 'host:h', `Authorization:Bearer ${sub}`];
    await app.connect(...who(quick.service('shop')));
    await slow.connect(...who(quick.service('reader')));
    slow.write(frame('SUBSCRIBE', 'id:sub-0', 'destination:/topic/flood', 'receipt:s', '', ''));
    await slow.wire.next('RECEIPT');
    slow.socket.pause();
    const flood = frame('SEND', 'destination:/topic/flood', '', 'x'.repeat(60_000));
    for (let sent = 0; sent < 400; sent += 1) app.write(flood);
    await closedAs('slow-consumer');
    slow.socket.resume();
    assert.deepEqual((({ 'error-code': code, close }) => [code, close])(await slow.ended()), ['slow-consumer', 4500]);
  });
});

/** A token of the application that was good an hour ago, made as any library makes it. */
function expired(sub) {
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const signed = `${encode({ alg: 'HS256' })}.${encode({ sub, exp: Math.floor(Date.now() / 1_000) - 3_600 })}`;
  const [, secret] = config.match(/secret = "(.*)"/);
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** Waits until the broker says that it has closed somebody for this reason. */
async function closedAs(reason) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const metrics = await (await fetch(`http://${quick.ports.admin}/metrics`)).text();
    const closed = metrics.match(new RegExp(`stompede_sessions_closed_total\\{reason="${reason}"\\} (\\d+)`));
    if (Number(closed?.[1]) > 0) return;
    if (Date.now() > deadline) throw new Error(`nobody was closed as ${reason}`);
    await new Promise((resume) => setTimeout(resume, 50));
  }
}
