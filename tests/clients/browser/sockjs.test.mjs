// sockjs-client in Chromium, stompjs over it: by each transport, and before instances that share a Redis.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { Broker, WITH_TOKENS } from '../broker.mjs';
import { Cluster } from '../cluster.mjs';
import { launch } from './person.mjs';

const SCRIPTS = ['sockjs-client/dist/sockjs.min.js', '@stomp/stompjs/bundles/stomp.umd.min.js'];

let browser;
let site;
before(async () => {
  // A page of another origin than the broker's.
  const texts = await Promise.all(SCRIPTS.map((script) => readFile(new URL(`../node_modules/${script}`, import.meta.url), 'utf8')));
  const page = '<!doctype html><title>shop</title><script src="/0"></script><script src="/1"></script>';
  site = createServer((request, answer) => {
    const script = texts[Number(request.url.slice(1) || NaN)];
    answer.writeHead(200, { 'content-type': script ? 'text/javascript' : 'text/html' }).end(script ?? page);
  });
  site.listen(0, '127.0.0.1');
  [browser] = await Promise.all([launch(), once(site, 'listening')]);
});
after(async () => {
  await browser?.close();
  site?.close();
});

/** A page on which `window.join(url, transport, headers)` connects; `asked` are the URLs that it asks. */
async function open(t, { websocket }) {
  const page = await browser.newPage();
  t.after(() => page.close());
  page.setDefaultTimeout(DEADLINE_MS);
  page.asked = [];
  page.on('request', (request) => page.asked.push(request.url()));
  if (!websocket) await page.addInitScript(() => delete window.WebSocket);
  await page.goto(`http://localhost:${site.address().port}/`);
  await page.evaluate(() => {
    window.heard = [];
    window.join = (url, transports, connectHeaders) =>
      new Promise((resolve, reject) => {
        const webSocketFactory = () => {
          window.socket = new SockJS(url, null, { transports });
          return window.socket;
        };
        window.client = new StompJs.Client({ webSocketFactory, connectHeaders, reconnectDelay: 0, heartbeatIncoming: 0 });
        window.client.onConnect = (frame) => resolve({ transport: window.socket.transport, user: frame.headers['user-name'] });
        window.client.onStompError = (frame) => reject(new Error(frame.headers.message));
        window.client.onWebSocketClose = (event) => {
          window.farewell = { code: event.code, reason: event.reason };
          reject(new Error(`closed with ${event.code} ${event.reason}`));
        };
        window.client.activate();
      });
    window.listen = (destination) =>
      new Promise((resolve) => {
        window.client.watchForReceipt('listens', resolve);
        window.client.subscribe(destination, ({ body }) => window.heard.push(body), { receipt: 'listens' });
      });
    window.say = (destination, body) => window.client.publish({ destination, body });
    window.leave = () => window.client.deactivate();
  });
  return page;
}

const heard = (page, count) => page.waitForFunction((count) => window.heard.length >= count, count).then(() => page.evaluate(() => window.heard));

/** Says and hears what is hard to carry, then leaves. */
async function talks(page, count = 20) {
  await page.evaluate(() => window.listen('/topic/sockjs'));
  const texts = Array.from({ length: count }, (_, n) => `${n} "Grüße" \\ \u2028\u200f\ufff0 \u{1f600}\r\n\t`);
  texts.push('x'.repeat(100_000), JSON.stringify({ quoted: '"'.repeat(10_000) }));
  await page.evaluate((texts) => texts.forEach((text) => window.say('/topic/sockjs', text)), texts);
  assert.deepEqual(await heard(page, texts.length), texts);
  await page.evaluate(() => window.leave());
}

const LOGIN = { login: 'alice', passcode: 'guest' };

const WAYS = { websocket: true, 'xhr-streaming': false, eventsource: false, 'xhr-polling': false };

for (const [transport, websocket] of Object.entries(WAYS)) {
  test(`stompjs over sockjs-client by ${transport}`, async (t) => {
    const broker = await Broker.start();
    t.after(() => broker.stop());
    const page = await open(t, { websocket });
    const url = `http://${broker.http}/ws`;
    const joined = await page.evaluate(([url, transport, login]) => window.join(url, [transport], login), [url, transport, LOGIN]);
    assert.deepEqual(joined, { transport, user: 'alice' });
    await talks(page);
  });
}

test('without WebSocket sockjs-client finds a way by itself', async (t) => {
  const broker = await Broker.start({ config: '[sockjs]\nwebsocket = false\n' });
  t.after(() => broker.stop());
  // The browser could; the broker says no.
  const page = await open(t, { websocket: true });
  const url = `http://${broker.http}/ws`;
  const joined = await page.evaluate(([url, login]) => window.join(url, undefined, login), [url, LOGIN]);
  assert.equal(joined.transport, 'xhr-streaming');
  await talks(page);
});

for (const transport of Object.keys(WAYS)) {
  test(`the token of the query says who it is by ${transport}`, async (t) => {
    const config = `${WITH_TOKENS}[origins]\nallow = ["http://localhost:*"]\n`;
    const broker = await Broker.start({ config });
    t.after(() => broker.stop());
    const page = await open(t, { websocket: WAYS[transport] });
    const url = `http://${broker.http}/ws?token=${broker.token('bob', '1')}`;
    const joined = await page.evaluate(([url, transport]) => window.join(url, [transport], {}), [url, transport]);
    assert.deepEqual(joined, { transport, user: 'bob' });
    const asked = page.asked.filter((url) => url.includes('/ws/'));
    assert.ok(asked.length >= (WAYS[transport] ? 1 : 3), String(asked));
    assert.deepEqual(asked.filter((url) => !url.includes('?token=ey')), []);
    await page.evaluate(() => window.leave());
  });
}

test('a page that may not is told so', async (t) => {
  const broker = await Broker.start({ config: WITH_TOKENS });
  t.after(() => broker.stop());
  const page = await open(t, { websocket: false });
  const url = `http://${broker.http}/ws?token=${broker.token('bob', '1')}`;
  const refused = page.evaluate(([url]) => window.join(url, ['xhr-polling'], {}), [url]);
  await assert.rejects(refused, /closed with 1002/);
});

test('a session that the broker ends says why', async (t) => {
  const broker = await Broker.start();
  t.after(() => broker.stop());
  const page = await open(t, { websocket: false });
  const url = `http://${broker.http}/ws`;
  await page.evaluate(([url, login]) => window.join(url, ['xhr-polling'], login), [url, LOGIN]);
  await page.evaluate(() => window.say('nowhere', 'x'));
  await page.waitForFunction(() => window.farewell);
  assert.deepEqual(await page.evaluate(() => window.farewell), { code: 1008, reason: 'bad-destination' });
});

for (const transport of ['xhr-streaming', 'eventsource', 'xhr-polling']) {
  test(`no instance needs to be found again by ${transport}`, async (t) => {
    const cluster = await Cluster.start();
    t.after(() => cluster.stop());
    const url = cluster.url.replace('ws:', 'http:');
    const page = await open(t, { websocket: false });
    const joined = await page.evaluate(([url, transport, login]) => window.join(url, [transport], login), [url, transport, LOGIN]);
    assert.deepEqual(joined, { transport, user: 'alice' });
    await talks(page, 40);
  });
}

const DEADLINE_MS = 20_000;
