// The browser's own EventSource: what it hears, and that it comes back by itself.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { Broker, WITH_TOKENS } from '../broker.mjs';
import { connect } from '../node/peer.mjs';
import { launch } from './person.mjs';

let browser;
let site;
before(async () => {
  // A page of another origin than the broker's.
  site = createServer((_, answer) => answer.writeHead(200, { 'content-type': 'text/html' }).end('<title>shop</title>'));
  site.listen(0, '127.0.0.1');
  [browser] = await Promise.all([launch(), once(site, 'listening')]);
});
after(async () => {
  await browser?.close();
  site?.close();
});

const KEPT = `
[data]
dir = "kept"
[[destination]]
pattern = "/topic/kept/**"
history = { messages_max = 1000 }
`;

/** A broker, a page of the shop, and the page's EventSource. */
async function open(t, config, target, init = {}) {
  const broker = await Broker.start({ config });
  t.after(() => broker.stop());
  const page = await browser.newPage();
  t.after(() => page.close());
  page.setDefaultTimeout(DEADLINE_MS);
  await page.goto(`http://localhost:${site.address().port}/`);
  await page.evaluate(
    ({ url, init }) => {
      window.heard = [];
      window.ends = [];
      window.source = new EventSource(url, init);
      for (const name of ['message', 'price', 'binary', 'connected', 'recovered', 'closed']) {
        window.source.addEventListener(name, ({ data }) => window.heard.push([name, data]));
      }
      window.source.onerror = () => window.ends.push(window.source.readyState);
    },
    { url: `http://${broker.http}${target(broker)}`, init },
  );
  return { broker, page };
}

/** Waits until the page has heard `count` events called `name`. */
const hears = (page, name, count = 1) =>
  page.waitForFunction(([name, count]) => window.heard.filter(([known]) => known === name).length >= count, [name, count]);

const data = (page, name) =>
  page.evaluate((name) => window.heard.filter(([known]) => known === name).map(([, data]) => data), name);

test('an EventSource hears names, lines and what is no text', async (t) => {
  const { broker, page } = await open(t, '', () => '/sse?destination=/topic/x', { withCredentials: true });
  await hears(page, 'connected');
  const peer = await connect(t, broker, { login: 'alice' });
  peer.client.publish({ destination: '/topic/x', headers: { event: 'price' }, body: '7' });
  peer.client.publish({ destination: '/topic/x', body: 'Grüße\nund\r\nmehr' });
  peer.client.publish({ destination: '/topic/x', binaryBody: new Uint8Array([0, 255]) });
  peer.client.publish({ destination: '/topic/x', headers: { event: 'error' }, body: '' });
  await hears(page, 'message', 2);
  assert.deepEqual(await data(page, 'price'), ['7']);
  assert.deepEqual(await data(page, 'message'), ['Grüße\nund\nmehr', '']);
  assert.deepEqual(await data(page, 'binary'), ['AP8=']);
  assert.deepEqual(await page.evaluate(() => window.ends), []);
});

test('an EventSource misses nothing while the broker is away', async (t) => {
  const target = () => '/sse?destination=/topic/kept/a&destination=/topic/kept/b';
  const { broker, page } = await open(t, KEPT, target);
  await hears(page, 'connected');
  const sent = { a: 0, b: 0 };
  const say = async (peer, count) => {
    for (let n = 0; n < count; n++) {
      for (const name of ['a', 'b']) {
        await peer.send(`/topic/kept/${name}`, `${name}${(sent[name] += 1)}`);
      }
    }
  };
  let peer = await connect(t, broker, { login: 'alice' });
  await say(peer, 20);
  await hears(page, 'message', 40);
  for (const [times, signal] of ['SIGTERM', 'SIGKILL'].entries()) {
    await broker.end(signal);
    await broker.again();
    // The page has perhaps not noticed yet.
    peer = await connect(t, broker, { login: 'alice' });
    await say(peer, 20);
    await hears(page, 'connected', times + 2);
  }
  await hears(page, 'message', 120);
  const heard = await data(page, 'message');
  for (const name of ['a', 'b']) {
    const expected = Array.from({ length: 60 }, (_, n) => `${name}${n + 1}`);
    assert.deepEqual(heard.filter((text) => text.startsWith(name)), expected);
  }
  assert.deepEqual(await data(page, 'recovered'), []);
  assert.equal((await data(page, 'connected')).length, 3);
});

test('what is lost is told, where nothing is kept', async (t) => {
  const { broker, page } = await open(t, '', () => '/sse?destination=/topic/x');
  await hears(page, 'connected');
  await broker.end('SIGKILL');
  await broker.again();
  await hears(page, 'connected', 2);
  await hears(page, 'recovered');
  assert.deepEqual(await data(page, 'recovered'), ['false']);
});

test('an EventSource stops for good with its token, and a page that may not listen at once', async (t) => {
  const origin = `[origins]\nallow = ["http://localhost:*"]\n`;
  const rule = '[[access.rule]]\npattern = "/topic/x"\nactions = ["subscribe"]\nwho = ["signed-in"]\n';
  const config = `${WITH_TOKENS}leeway_s = 0\n${origin}${rule}`;
  const { page } = await open(t, config, (broker) => `/sse?destination=/topic/x&token=${broker.token('alice', '1', '3s')}`);
  await hears(page, 'connected');
  await hears(page, 'closed');
  const [why] = await data(page, 'closed');
  assert.equal(JSON.parse(why).code, 'token-expired');
  await page.waitForFunction(() => window.source.readyState === EventSource.CLOSED);

  const other = await open(t, WITH_TOKENS, (broker) => `/sse?destination=/topic/x&token=${broker.token('alice', '1')}`);
  await other.page.waitForFunction(() => window.source.readyState === EventSource.CLOSED);
  assert.deepEqual(await data(other.page, 'connected'), []);
});

const DEADLINE_MS = 20_000;
