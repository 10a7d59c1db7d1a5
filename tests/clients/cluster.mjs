// Instances that act as one broker: a Redis, so many brokers over it, and HAProxy before them as deploy/haproxy.cfg has it.
// All of it is on free ports, and ends with the process that started it, whatever happens to that.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Broker } from './broker.mjs';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../..');

/** A program that listens on a port, in a folder of its own. */
class Program {
  #child;

  constructor(command, port, folder) {
    Object.assign(this, { command, port, folder });
  }

  /** Starts it, and waits until somebody listens on its port. */
  async start() {
    // setpriv execs it, and it is killed when this process dies, even by SIGKILL.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...this.command], { cwd: this.folder, stdio: 'ignore' });
    const child = this.#child;
    const deadline = Date.now() + START_MS;
    while (!(await isOpen(this.port))) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${this.command[0]} has ended`);
      if (Date.now() > deadline) throw new Error(`${this.command[0]} does not listen on ${this.port}`);
      await pause(20);
    }
  }

  /** Ends it at once. */
  async kill() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /** Stops it where it stands, its sockets open. */
  freeze() {
    this.#child.kill('SIGSTOP');
  }

  /** Lets it go on. */
  thaw() {
    this.#child.kill('SIGCONT');
  }

  /** Ends it and cleans up after it. */
  async stop() {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A `redis-server` that keeps nothing on disk, or a sentinel. */
export class Redis extends Program {
  /** `args` are further arguments. */
  static async start(args = []) {
    return attempts(async () => {
      const [folder, [port]] = [await ownFolder(), await freePorts(1)];
      const own = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
      return started(new Redis(['redis-server', ...own, ...args], port, folder));
    });
  }

  /** One of those who watch over the primary `name`, of which `count` must agree. */
  static async sentinel(name, primary, count, downAfterMs) {
    return attempts(async () => {
      const [folder, [port]] = [await ownFolder(), await freePorts(1)];
      const config = join(folder, 'sentinel.conf');
      const lines = [
        `port ${port}`,
        'bind 127.0.0.1',
        `sentinel monitor ${name} 127.0.0.1 ${primary.port} ${count}`,
        `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
        `sentinel failover-timeout ${name} 5000`,
      ];
      await writeFile(config, `${lines.join('\n')}\n`);
      return started(new Redis(['redis-server', config, '--sentinel'], port, folder));
    });
  }

  /** Six in cluster mode: three primaries, each with a replica. `t` stops them. */
  static async cluster(t) {
    const servers = [];
    for (let n = 0; n < 6; n += 1) {
      const [bus] = await freePorts(1);
      const mode = ['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '2000'];
      const server = await Redis.start([...mode, '--repl-diskless-sync-delay', '0']);
      t.after(() => server.stop());
      servers.push(server);
    }
    const places = servers.map(({ port }) => `127.0.0.1:${port}`);
    await run('redis-cli', ['--cluster', 'create', ...places, '--cluster-replicas', '1', '--cluster-yes']);
    for (const server of servers) {
      const has = async (text) => (await server.cli('CLUSTER', 'INFO')).includes(text);
      await until(async () => (await has('cluster_state:ok')) && has('cluster_known_nodes:6'), 'a cluster');
      const role = () => server.cli('ROLE');
      await until(async () => /^master|\nconnected\n/.test(await role()), async () => `replication: ${await role()}`);
    }
    return servers;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** What `redis-cli` prints. */
  async cli(...args) {
    const { stdout } = await run('redis-cli', ['-p', String(this.port), ...args]);
    return stdout.trim();
  }
}

/** HAProxy before instances. */
class Balancer extends Program {
  /** As it is shipped but for addresses. */
  static async start(brokers) {
    const shipped = await readFile(join(ROOT, 'deploy/haproxy.cfg'), 'utf8');
    return attempts(async () => {
      const [folder, [http, stomp, statistics]] = [await ownFolder(), await freePorts(3)];
      let text = shipped;
      for (const [place, { ports }] of brokers.entries()) {
        text = replaced(text, ` stompede${place + 1}:8080`, ` ${ports.http}`);
        text = replaced(text, ` stompede${place + 1}:61613`, ` ${ports.stomp}`);
      }
      text = replaced(text, 'bind :8080', `bind 127.0.0.1:${http}`);
      text = replaced(text, 'bind :61613', `bind 127.0.0.1:${stomp}`);
      text = replaced(text, 'bind 127.0.0.1:8404', `bind 127.0.0.1:${statistics}`);
      const config = join(folder, 'haproxy.cfg');
      await writeFile(config, text);
      return started(new Balancer(['/usr/sbin/haproxy', '-db', '-f', config], http, folder));
    });
  }

  /** Where a STOMP client over WebSocket connects. */
  get url() {
    return `ws://127.0.0.1:${this.port}/ws`;
  }
}

/** See the description of this file. */
export class Cluster {
  redis;
  brokers = [];
  balancer;

  /**
   * Three instances behind a balancer, over a Redis of their own, or over that at `url`. `config` is a TOML text that each
   * gets.
   */
  static async start({ config = '', url } = {}) {
    const cluster = new Cluster();
    try {
      if (!url) cluster.redis = await Redis.start();
      const args = ['--redis', url ?? cluster.redis.url];
      const whole = (name) => `${BEHIND_BALANCER}${config}\n[server]\nname = "${name}"\n`;
      const began = NAMES.map((name) => Broker.start({ args, config: whole(name) }));
      cluster.brokers = await Promise.all(began);
      cluster.balancer = await Balancer.start(cluster.brokers);
      await cluster.ready();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Where a STOMP client over WebSocket connects. */
  get url() {
    return this.balancer.url;
  }

  /** The instance of a `server` header. */
  named(name) {
    return this.brokers[NAMES.indexOf(name)];
  }

  /** Waits until each instance says that it is ready. */
  async ready(ms = READY_MS) {
    const isReady = async (broker) => (await asked(broker, '/readyz')).status === 200;
    await Promise.all(this.brokers.map((broker) => until(() => isReady(broker), 'readiness', ms)));
  }

  /** Ends everything. */
  async stop() {
    await this.balancer?.stop();
    await Promise.all(this.brokers.map((broker) => broker.stop()));
    await this.redis?.stop();
  }
}

/** Status and text of a GET to an instance. */
export async function asked(broker, path) {
  const answer = await fetch(`http://${broker.http}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) });
  return { status: answer.status, text: await answer.text() };
}

/** Waits until `isSo` gives something; gives that. */
export async function until(isSo, what, ms = READY_MS) {
  const deadline = performance.now() + ms;
  for (;;) {
    const found = await isSo();
    if (found) return found;
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms for ${typeof what === 'function' ? await what() : what}`);
    await pause(20);
  }
}

export const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

/** `server` headers of the instances. */
export const NAMES = ['one', 'two', 'three'];

const BEHIND_BALANCER = 'trusted_proxies = ["127.0.0.1"]\nstomp_proxy_protocol = true\n';

const run = promisify(execFile);

async function started(program) {
  try {
    await program.start();
    return program;
  } catch (error) {
    await program.stop();
    throw error;
  }
}

/** Somebody may take a free port before the program does. */
async function attempts(act) {
  for (let left = 4; left > 0; left -= 1) {
    try {
      return await act();
    } catch {
      // The last attempt says why.
    }
  }
  return act();
}

/** What is changed must stand there once, or something else would be tried than what is shipped. */
function replaced(text, shipped, changed) {
  const count = text.split('\n').filter((line) => line.includes(shipped) && !line.trimStart().startsWith('#')).length;
  if (count !== 1) throw new Error(`${shipped} stands ${count} times in deploy/haproxy.cfg`);
  return text.replace(shipped, changed);
}

const ownFolder = () => mkdtemp(join(tmpdir(), 'stompede-'));

/** Ports that were free a moment ago. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resume) => server.close(resume))));
  return ports;
}

function isOpen(port) {
  return new Promise((resume) => {
    const socket = connect(port, '127.0.0.1');
    const end = (answer) => {
      socket.destroy();
      resume(answer);
    };
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}

const START_MS = 10_000;
const READY_MS = 15_000;
const ANSWER_MS = 5_000;
