// The README's worker, as a process, asked by the program that stands beside it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { Broker } from '../broker.mjs';
import { Inbox, within } from './peer.mjs';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PYTHON = join(ROOT, 'tests/clients/.venv/bin/python');

test('the worker of the README answers the program of the README', async (t) => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
  const [, command] = readme.match(/^python3 (examples\/worker\.py [^#\n]*)/m);
  const program = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code).find((code) => code.includes('/app/orders/'));
  const broker = await Broker.start();
  t.after(() => broker.stop());

  const folder = await mkdtemp(join(tmpdir(), 'stompede-worker-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const [host, port] = broker.ports.stomp.split(':');
  const words = command.trim().replace('61613', port).split(' ');
  const worker = spawn(PYTHON, [join(ROOT, words[0]), ...words.slice(1), '--host', host, '--store', join(folder, 'orders.db')]);
  t.after(() => worker.kill('SIGKILL'));
  worker.stderr.pipe(process.stderr);
  await within(new Promise((resume) => worker.stdout.once('data', resume)), 'the worker');

  const client = new Client({
    webSocketFactory: () => new WebSocket(broker.url, ['v12.stomp']),
    connectHeaders: { login: 'alice', passcode: 'guest' },
    reconnectDelay: 0,
  });
  t.after(() => client.deactivate({ force: true }));
  const shown = new Inbox('what the program shows');
  new Function('client', 'show', program)(client, (answer) => shown.put(answer));
  client.activate();
  const placed = await shown.next();
  assert.equal(placed.placed, true);
  assert.deepEqual(await shown.next(), [{ id: placed.id, item: 'tea' }]);
});
