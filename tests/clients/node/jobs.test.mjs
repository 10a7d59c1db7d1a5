// A work queue while instances die and Redis stands still: each job that was confirmed is done, and done again only where that is
// said.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { Cluster, pause, until } from '../cluster.mjs';
import { chances } from './company.mjs';
import { connect, unique } from './peer.mjs';

/** A client that comes back by itself, and does the same at each CONNECTED. */
function come(t, cluster, login, begin) {
  const client = new Client({
    webSocketFactory: () => new WebSocket(cluster.url, ['v12.stomp']),
    connectHeaders: { login, passcode: 'guest' },
    reconnectDelay: 100,
    heartbeatIncoming: 4_000,
    heartbeatOutgoing: 4_000,
    onConnect: () => begin(client),
    onWebSocketError: () => {},
  });
  client.activate();
  t.after(() => client.deactivate({ force: true }));
  return client;
}

/** Sends jobs, and again what was not confirmed. */
class Producer {
  confirmed = new Set();
  #unconfirmed = new Set();
  #serial = 0;

  constructor(t, cluster, login, queue) {
    Object.assign(this, { login, queue });
    this.client = come(t, cluster, login, () => this.#unconfirmed.forEach((job) => this.#send(job)));
  }

  produce() {
    const job = `${this.login}-${(this.#serial += 1)}`;
    this.#unconfirmed.add(job);
    if (this.client.connected) this.#send(job);
  }

  get waiting() {
    return this.#unconfirmed.size;
  }

  #send(job) {
    this.client.watchForReceipt(job, () => {
      this.#unconfirmed.delete(job);
      this.confirmed.add(job);
    });
    this.client.publish({ destination: this.queue, body: job, headers: { receipt: job, 'idempotency-key': job } });
  }
}

/** What is in a queue, and with consumers. */
async function browsed(t, cluster, queue) {
  const peer = await connect(t, cluster, { login: 'auditor' });
  const bodies = (await peer.look(queue)).map(({ body }) => body);
  await peer.leave();
  return bodies;
}

test('every confirmed job is done while instances die', { timeout: 120_000 }, async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.stop());
  const queue = unique('/queue/jobs');
  const chance = chances(4);
  /** Of each job, the deliveries: whether each said that it was not the first. */
  const deliveries = new Map();
  const done = new Set();
  const work = async (client, message) => {
    deliveries.set(message.body, [...(deliveries.get(message.body) ?? []), message.headers.redelivered === 'true']);
    await pause(300 * chance());
    if (!client.connected) return;
    // Where the broker does not hear of it, it comes again.
    message.ack();
    done.add(message.body);
  };
  const headers = { ack: 'client-individual', 'prefetch-count': '5' };
  const consumers = Array.from({ length: 6 }, (_, n) =>
    come(t, cluster, `consumer-${n}`, (client) => client.subscribe(queue, (message) => work(client, message), headers)),
  );
  const producers = Array.from({ length: 3 }, (_, n) => new Producer(t, cluster, `producer-${n}`, queue));
  await until(() => [...consumers, ...producers.map(({ client }) => client)].every((client) => client.connected), 'all');

  let isOver = false;
  const producing = producers.map(async (producer) => {
    while (!isOver) {
      producer.produce();
      await pause(40 * chance());
    }
  });
  for (const broker of cluster.brokers) {
    await pause(1_500);
    await broker.end('SIGKILL');
    await pause(500);
    await broker.again();
  }
  cluster.redis.freeze();
  await pause(1_000);
  cluster.redis.thaw();
  await pause(1_000);
  isOver = true;
  await Promise.all(producing);

  await until(() => producers.every(({ waiting }) => waiting === 0), 'receipts', 30_000);
  const confirmed = producers.flatMap((producer) => [...producer.confirmed]);
  const left = () => confirmed.filter((job) => !done.has(job));
  await until(() => left().length === 0, () => `${left().length} of ${confirmed.length} jobs, ${left().slice(0, 5)}`, 30_000);
  await until(async () => (await browsed(t, cluster, queue)).length === 0, () => browsed(t, cluster, queue), 30_000);
  // Again only where it is said: the first delivery is the one that does not say so.
  const twice = [...deliveries].filter(([, said]) => said.filter((again) => !again).length > 1);
  assert.deepEqual(twice, []);
  const again = [...deliveries.values()].filter((said) => said.length > 1).length;
  t.diagnostic(`${confirmed.length} jobs, ${again} of them more than once`);
  assert.ok(again > 0, 'nobody died with a job in hand');
});
