// The console, as an operator uses it, and as somebody else would like to.

import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { connect, unique, within } from '../node/peer.mjs';
import { launch, Person, pictures } from './person.mjs';

let browser;
let broker;
before(async () => ([browser, broker] = [await launch(), await Broker.start()]));
after(() => browser?.close());
after(() => broker?.stop());
after(() => console.log(`pictures in ${pictures()}`));

/** What a name does that wants to be more than a name. */
const HOSTILE = [
  '<img src=x onerror="document.title=\'taken\'">',
  '"><script>document.title="taken"</script>',
  "'-alert(1)-'",
  '{{constructor.constructor("document.title=\'taken\'")()}}',
  'javascript:document.title="taken"',
  '\u202egnp.exe',
  'x'.repeat(200),
];

/** As near to it as a segment of a destination can be. */
const segment = (name) => name.replaceAll(/[/*#>]/g, '_');

/** The console in a window of its own. */
async function operator(t, path = '/') {
  const person = await Person.open(t, browser, { http: broker.ports.admin, ports: {} }, { path, size: [1280, 900] });
  await person.page.getByRole('status').filter({ hasText: /^ready$/ }).waitFor();
  return person;
}

const cells = (page, table) => page.locator(`#${table} tbody tr`).evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));

/** Waits until a table has a row that fits. */
async function row(page, table, fits) {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const rows = await cells(page, table);
    const found = rows.find(fits);
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${table} has ${JSON.stringify(rows)}`);
    await new Promise((resume) => setTimeout(resume, 50));
  }
}

describe('an operator', () => {
  test('sees nodes, connections, rooms and queues', async (t) => {
    const [alice, bob] = [await connect(t, broker, { login: 'alice' }), await connect(t, broker, { login: 'bob' })];
    const [room, queue] = [unique('room'), unique('queue')];
    for (const person of [alice, bob]) await person.subscribe(`/topic/chat/${room}`);
    for (const body of ['1', '2', '3']) await alice.send(`/queue/${queue}`, body);
    const { page } = await operator(t);
    await row(page, 'rooms', ([name, present]) => name === room && present === '2');
    const [, depth, out, consumers] = await row(page, 'queues', ([name]) => name === queue);
    assert.deepEqual([depth, out, consumers], ['3', '0', '0']);
    assert.equal((await cells(page, 'nodes')).length, 1);
    assert.ok(Number((await row(page, 'connections', ([name]) => name === 'websocket'))[1]) >= 2);
    assert.equal(await page.locator('#store-name').textContent(), 'memory');
    await row(page, 'store', ([name]) => name === 'Held in memory');
  });

  test('finds a session by its user and ends it, with a reason', async (t) => {
    const login = unique('mallory');
    const mallory = await connect(t, broker, { login });
    await mallory.subscribe('/topic/secrets');
    const person = await operator(t);
    const { page } = person;
    await page.locator('#name').fill(login);
    await page.getByRole('button', { name: 'Find' }).click();
    const [user, session, , destinations] = await row(page, 'sessions', ([name]) => name === login);
    assert.equal(user, login);
    assert.equal(session, mallory.connected.session);
    assert.equal(destinations, '/topic/secrets');
    await page.getByRole('button', { name: 'Kick' }).first().click();
    await page.getByLabel('What the client is told').fill('go <b>away</b>');
    await person.picture('console-kick');
    await page.getByRole('dialog').getByRole('button', { name: 'Kick' }).click();
    const end = await mallory.ended();
    assert.deepEqual([end['error-code'], end.message], ['kicked', 'go <b>away</b>']);
    await page.getByText('The session is ended.').waitFor();
    await row(page, 'closes', ([reason, recently]) => reason === 'kicked' && Number(recently) >= 1);
  });

  test('sees hostile names as what they are', async (t) => {
    for (const name of HOSTILE) {
      const mallory = await connect(t, broker, { login: name });
      await mallory.subscribe(`/topic/${segment(name)}`);
      await mallory.subscribe(`/topic/chat/${segment(name)}`);
      await mallory.send(`/queue/${segment(name)}`, 'x');
    }
    const person = await operator(t);
    const { page } = person;
    for (const name of HOSTILE) {
      const shown = name.replace('\u202e', '\\u202e');
      await row(page, 'sessions', ([user]) => user === shown);
      await row(page, 'rooms', ([room]) => room === segment(shown));
      await row(page, 'queues', ([queue]) => queue === segment(shown));
    }
    assert.equal(await page.title(), 'stompede console');
    assert.equal(await page.locator('main img, main script, main a').count(), 0);
    const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(wide <= seen, `${wide} wide in a window of ${seen}`);
    await person.picture('console-hostile');
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize({ width: 390, height: 844 });
    await person.picture('console-narrow-dark');
    const [narrow, small] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(narrow <= small, `${narrow} wide in a window of ${small}`);
  });

  test('is told when the broker is gone', async (t) => {
    const ending = await Broker.start();
    t.after(() => ending.stop());
    const person = await Person.open(t, browser, { http: ending.ports.admin, ports: {} }, { mayFail: /./ });
    await person.page.getByText('ready', { exact: true }).waitFor();
    await ending.end();
    await person.page.getByText(/^no answer/).waitFor();
  });
});

describe('somebody else', () => {
  test('has the page neither by a name nor in a frame, and no script of his runs in it', async () => {
    const own = await ask('GET', '/', {});
    assert.equal(own.status, 200);
    assert.match(own.headers['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/);
    for (const path of ['/', '/console/overview', '/console/sessions']) {
      assert.equal((await ask('GET', path, { Host: 'evil.example:9080' })).status, 403, path);
    }
    assert.equal((await ask('GET', '/metrics', { Host: 'broker.internal:9080' })).status, 200, 'a scraper may call it by its name');
  });

  test('ends no session from a page of another origin', async (t) => {
    const login = unique('victim');
    const victim = await connect(t, broker, { login });
    const admin = `http://${broker.ports.admin}`;
    const order = JSON.stringify({ user: login });
    const page = `<!doctype html><form id=f method=post enctype=text/plain action="${admin}/console/kick" target=frame>
      <input name='{"user":"${login}","reason":"' value='"}'></form><iframe name=frame></iframe><script>f.submit()</script>`;
    const elsewhere = createServer((_, response) => response.setHeader('content-type', 'text/html').end(page)).listen(0, '127.0.0.1');
    t.after(() => elsewhere.close());
    await new Promise((resume) => elsewhere.once('listening', resume));
    const evil = await (await browser.newContext()).newPage();
    t.after(() => evil.context().close());
    const refused = evil.waitForResponse((response) => response.url().endsWith('/console/kick'));
    await evil.goto(`http://localhost:${elsewhere.address().port}/`);
    assert.equal((await refused).status(), 403, 'a form');
    const tried = (headers) =>
      evil.evaluate(
        ([url, body, headers]) => fetch(url, { method: 'POST', body, headers }).then((answer) => answer.status, (fault) => String(fault)),
        [`${admin}/console/kick`, order, headers],
      );
    assert.match(String(await tried({})), /TypeError/, 'it cannot read the answer');
    assert.match(String(await tried({ 'X-Stompede-Console': '1', 'Content-Type': 'application/json' })), /TypeError/, 'nor is it given leave');
    assert.match(String(await evil.evaluate((url) => fetch(url).then((answer) => answer.text(), String), `${admin}/console/sessions`)), /TypeError/);
    await victim.send(`/topic/${unique('still')}`, 'here');
  });

  test('sends no order without the header, nor one that means everybody', async () => {
    const json = { 'Content-Type': 'application/json' };
    const order = { ...json, 'X-Stompede-Console': '1' };
    assert.equal((await ask('POST', '/console/kick', json, '{"user":"x"}')).status, 403);
    assert.equal((await ask('POST', '/console/kick', { ...order, Origin: 'http://evil.example' }, '{"user":"x"}')).status, 403);
    for (const body of ['{}', '{"user":""}', '{"session":""}', '{"user":null}']) {
      assert.equal((await ask('POST', '/console/kick', order, body)).status, 400, body);
    }
    const answer = await ask('POST', '/console/kick', order, '{"user":"nobody at all"}');
    assert.deepEqual([answer.status, JSON.parse(answer.body)], [200, { sessions: 0 }]);
  });

  test('finds nothing of the console on the public port', async () => {
    for (const path of ['/console/overview', '/console/index.html', '/console/kick']) {
      assert.equal((await fetch(`http://${broker.http}${path}`)).status, 404, path);
    }
  });
});

/** A request to the operators' port, as it stands. */
function ask(method, path, headers, body = '') {
  const [host, port] = broker.ports.admin.split(':');
  const answered = new Promise((resume, fail) => {
    const asked = request({ host, port, path, method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece) => (text += piece));
      response.on('end', () => resume({ status: response.statusCode, headers: response.headers, body: text }));
    });
    asked.on('error', fail);
    asked.end(body);
  });
  return within(answered, `an answer to ${method} ${path}`);
}
