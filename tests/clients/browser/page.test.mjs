// The page, as people use it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Broker, WITH_TOKENS } from '../broker.mjs';
import { BROKER_DOWN, launch, Person, pictures } from './person.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());
after(() => console.log(`pictures in ${pictures()}`));

describe('with a broker that stays', () => {
  let broker;
  before(async () => (broker = await Broker.start()));
  after(() => broker?.stop());

  test('two people join, see each other and talk', async (t) => {
    const alice = await Person.open(t, browser, broker);
    await alice.picture('join-1280');
    await alice.page.getByLabel('Your name').fill('alice');
    await alice.page.getByLabel('Room').fill('herd');
    await alice.page.getByRole('button', { name: 'Join the room' }).click();
    await alice.is('online');
    await alice.page.getByText('It is quiet here.').waitFor();
    await alice.picture('empty-1280');

    const bob = await Person.join(t, browser, broker, 'bob', 'herd');
    await alice.page.getByText('bob joined').waitFor();
    for (const person of [alice, bob]) await person.seesMembers('alice', 'bob');

    await alice.say('Hello bob');
    await bob.sees('Hello bob');
    await bob.say('Hello alice');
    await bob.say('two in a row');
    for (const person of [alice, bob]) {
      await person.sees('two in a row');
      await person.sees('Hello bob');
      assert.deepEqual(await person.messages(), ['Hello bob', 'Hello alice', 'two in a row']);
    }
    assert.equal(await alice.page.locator('li.message.first').count(), 2, 'consecutive messages are one group');
    await alice.picture('talk-1280');

    await bob.page.getByRole('button', { name: 'Leave' }).click();
    await alice.page.getByText('bob left').waitFor();
    await alice.seesMembers('alice');
  });

  test('the address is remembered, the page joins by itself after a reload, and a draft is kept', async (t) => {
    const alice = await Person.join(t, browser, broker, 'alice', 'reload');
    await alice.page.locator('#say').fill('not yet sent');
    await alice.page.reload();
    await alice.is('online');
    assert.equal(await alice.page.locator('#say').inputValue(), 'not yet sent');
    assert.match(alice.page.url(), /\?name=alice&room=reload$/);
  });

  test('by keyboard alone', async (t) => {
    const alice = await Person.open(t, browser, broker, { size: [1280, 800] });
    const { page } = alice;
    const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent?.trim());
    const outline = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(await focused(), 'name');
    await page.keyboard.type('alice');
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'room');
    assert.equal(await outline(), 'solid');
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type('keys');
    await page.keyboard.press('Enter');
    await alice.is('online');
    assert.equal(await focused(), 'say');
    await page.keyboard.type('one');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('two');
    await page.keyboard.press('Enter');
    await alice.sees('one');
    assert.deepEqual(await alice.messages(), ['one\ntwo']);
    assert.equal(await focused(), 'say');

    await page.reload();
    await alice.is('online');
    await page.locator('#skip').focus();
    assert.ok((await page.locator('#skip').boundingBox()).y >= 0, 'the skip link shows itself');
    await page.keyboard.press('Enter');
    assert.equal(await focused(), 'say');
    // Everything that can be clicked can be reached.
    const reached = new Set();
    for (let n = 0; n < 20; n += 1) {
      await page.keyboard.press('Tab');
      // Past the last one the browser itself has the focus.
      if (await page.evaluate(() => document.activeElement === document.body)) continue;
      reached.add(await focused());
      assert.notEqual(await outline(), 'none', await focused());
    }
    for (const id of ['skip', 'invite', 'leave', 'log', 'say', 'copy-code']) assert.ok(reached.has(id), id);
  });

  test('nothing that somebody writes becomes markup', async (t) => {
    const name = '<b>mallory</b>';
    const [mallory, bob] = [
      await Person.join(t, browser, broker, name, 'markup'),
      await Person.join(t, browser, broker, 'bob', 'markup'),
    ];
    const text = '<img src=x onerror="document.title=1"><script>alert(1)</script>';
    await mallory.say(text);
    await bob.sees('<img');
    assert.deepEqual(await bob.messages(), [text]);
    await bob.seesMembers(name, 'bob');
    assert.equal(await bob.page.locator('#messages img, #messages script, #members b').count(), 0);
  });

  test('a token that does not hold is refused, with the reason, and no attempt follows', async (t) => {
    const alice = await Person.open(t, browser, broker);
    await alice.page.getByLabel('Room').fill('herd');
    await alice.page.getByText('I have a token').click();
    await alice.page.getByLabel('JSON Web Token').fill('not.a.token');
    await alice.page.getByRole('button', { name: 'Join the room' }).click();
    await alice.is('refused');
    await alice.page.getByText('(unauthorized)').first().waitFor();
    await alice.page.getByRole('button', { name: 'Try again' }).waitFor();
    await alice.picture('refused-1280');
  });

  test('the form says what is wrong, and where', async (t) => {
    const alice = await Person.open(t, browser, broker);
    await alice.page.getByLabel('Room').fill('a/b');
    await alice.page.keyboard.press('Enter');
    await alice.page.getByText('Choose a name.').waitFor();
    assert.equal(await alice.page.evaluate(() => document.activeElement.id), 'name');
    assert.equal(await alice.page.locator('[aria-invalid="true"]').count(), 2);
  });

  test('nothing is wider than a small phone', async (t) => {
    const size = [360, 740];
    const alice = await Person.open(t, browser, broker, { size });
    assert.equal(await alice.overhang(), 0);
    await alice.picture('join-360');
    const name = 'Bartholomew-the-Extraordinarily-Long-Named-Visitor-of-Many-Rooms';
    const bob = await Person.join(t, browser, broker, name, 'narrow', { size, colorScheme: 'dark' });
    await bob.say(`${'w'.repeat(400)} 🦬`);
    await bob.sees('www');
    await bob.page.getByText('Who is here').click();
    await bob.seesMembers(name);
    assert.equal(await bob.overhang(), 0);
    // The list of people must not push the composer out of sight.
    const composer = await bob.page.locator('#compose').boundingBox();
    assert.ok(composer.y + composer.height <= size[1] + 1, `the composer ends at ${composer.y + composer.height}`);
    await bob.picture('talk-360-dark');
  });

  test('a thousand messages and more stay a thousand lines, the latest in sight', async (t) => {
    const [alice, bob] = [
      await Person.join(t, browser, broker, 'alice', 'crowd'),
      await Person.join(t, browser, broker, 'bob', 'crowd'),
    ];
    await bob.page.evaluate(() => {
      const [field, form] = [document.getElementById('say'), document.getElementById('compose')];
      for (let n = 1; n <= 1_100; n += 1) {
        field.value = `number ${n}`;
        form.requestSubmit();
      }
    });
    await alice.sees('number 1100', 30_000);
    await bob.sees('number 1100', 30_000);
    for (const person of [alice, bob]) {
      const messages = await person.messages();
      assert.ok(messages.length <= 1_000, `${messages.length} lines`);
      assert.deepEqual(messages.slice(-3), ['number 1098', 'number 1099', 'number 1100']);
      const shown = person.page.locator('li.message').last();
      assert.ok(await shown.evaluate((item) => {
        const log = document.getElementById('log').getBoundingClientRect();
        return item.getBoundingClientRect().bottom <= log.bottom + 1;
      }));
    }
  });

  test('a message whose receipt was lost is sent again and shown once', async (t) => {
    let attempts = 0;
    const prepare = (page) =>
      page.routeWebSocket(/\/ws$/, (socket) => {
        const server = socket.connectToServer();
        let swallow = false;
        socket.onMessage((frame) => {
          // Not what it has read, which is sent, too.
          if (/^SEND\n(.+\n)*destination:\/app\/chat\/cut\/send\n/.test(String(frame))) {
            attempts += 1;
            swallow = attempts === 1;
          }
          server.send(frame);
        });
        server.onMessage((frame) => {
          // The broker has taken it, but neither the echo nor the receipt comes through.
          if (!swallow) return socket.send(frame);
          server.close();
          socket.close({ code: 4000, reason: 'cut' });
        });
      });
    const bob = await Person.join(t, browser, broker, 'bob', 'cut');
    const alice = await Person.join(t, browser, broker, 'alice', 'cut', { prepare });
    await alice.say('only once');
    await alice.is('waiting');
    await alice.page.getByRole('button', { name: 'Try now' }).click();
    await alice.is('online');
    await alice.sees('only once');
    assert.equal(attempts, 2);
    await alice.say('afterwards');
    await bob.sees('afterwards');
    assert.deepEqual(await bob.messages(), ['only once', 'afterwards']);
  });
});

test('a token says who somebody is and which rooms are open', async (t) => {
  const broker = await Broker.start({ config: WITH_TOKENS });
  t.after(() => broker.stop());
  const carol = await Person.open(t, browser, broker);
  const join = async (room) => {
    await carol.page.getByLabel('Room').fill(room);
    await carol.page.getByRole('button', { name: 'Join the room' }).click();
  };
  await carol.page.getByText('I have a token').click();
  await carol.page.getByLabel('JSON Web Token').fill(broker.token('carol', '42'));
  await join('42');
  await carol.is('online');
  await carol.seesMembers('carol');
  await carol.say('by token');
  await carol.sees('by token');
  assert.ok(!carol.page.url().includes('ey'), 'the token is not in the address');

  await carol.page.getByRole('button', { name: 'Leave' }).click();
  await join('43');
  await carol.is('refused');
  await carol.page.getByText('(forbidden)').first().waitFor();

  await carol.page.getByRole('button', { name: 'Leave' }).click();
  await carol.page.getByLabel('JSON Web Token').fill('');
  await carol.page.getByLabel('Your name').fill('carol');
  await join('42');
  await carol.is('refused');
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`after ${signal} and a restart both are back by themselves and nothing unsent is lost`, async (t) => {
    const broker = await Broker.start();
    t.after(() => broker.stop());
    const options = { mayFail: BROKER_DOWN };
    const alice = await Person.join(t, browser, broker, 'alice', 'restart', options);
    const bob = await Person.join(t, browser, broker, 'bob', 'restart', options);
    await alice.say('before');
    await bob.sees('before');

    await broker.end(signal);
    for (const person of [alice, bob]) {
      await person.is('waiting');
      await person.page.getByText(/Retry in \d+ s/).waitFor();
      await person.page.getByRole('button', { name: 'Try now' }).waitFor();
    }
    await alice.say('written in the dark');
    await alice.page.getByText('Waiting for the connection…').waitFor();
    await alice.picture(`waiting-${signal}-1280`);

    await broker.again();
    for (const person of [alice, bob]) await person.is('online', 20_000);
    await alice.sees('written in the dark');
    await alice.seesMembers('alice', 'bob');
    await bob.say('after');
    // Bob may be back later than alice's text, and gets it all the same; what the broker has forgotten may be more.
    for (const person of [alice, bob]) {
      await person.sees('after');
      assert.deepEqual(await person.messages(), ['before', 'written in the dark', 'after']);
      await person.page.getByText('Some messages are missing here').waitFor();
    }
  });
}
