// Starts and stops one broker for a suite. It ends with the process that started it, whatever happens to that.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../..');

/** Path of the broker's binary. */
export const BINARY = resolve(process.env.STOMPEDE_BIN ?? join(ROOT, 'target/debug/stompede'));

export class Broker {
  #args;
  #folder;
  #child;
  #log = '';
  ports;

  /** A broker on free ports, accepting. `args` are added to `stompede serve`; `config` is a TOML text. */
  static async start({ args = [], config = '' } = {}) {
    const broker = new Broker();
    broker.#folder = await mkdtemp(join(tmpdir(), 'stompede-'));
    broker.#args = [...args];
    const file = join(broker.#folder, 'stompede.toml');
    await writeFile(file, config);
    broker.#args.push('--config', file);
    await broker.#spawn(0, 0);
    return broker;
  }

  /** Host and port of the HTTP listener. */
  get http() {
    return this.ports.http;
  }

  /** Where a STOMP client over WebSocket connects. */
  get url() {
    return `${this.ports.stomp_tls ? 'wss' : 'ws'}://${this.http}/ws`;
  }

  /** A token of `stompede token` for this person and room, signed with the configured secret. */
  token(sub, room, ttl = '1h') {
    return this.#signed('--sub', sub, '--room', room, '--ttl', ttl);
  }

  /** As `token`, for a backend, which may do everything. */
  service(sub) {
    return this.#signed('--sub', sub, '--service');
  }

  /** Sends a signal and waits for the end; the exit code, or the signal's name. */
  async end(signal = 'SIGTERM') {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode;
    const gone = once(child, 'exit');
    child.kill(signal);
    const patience = setTimeout(() => child.kill('SIGKILL'), END_MS);
    const [code, killedBy] = await gone;
    clearTimeout(patience);
    return code ?? killedBy;
  }

  /** Stops it where it stands, its sockets open. */
  freeze() {
    this.#child.kill('SIGSTOP');
  }

  /** Lets it go on. */
  thaw() {
    this.#child.kill('SIGCONT');
  }

  /** The latest of what it has logged. */
  get log() {
    return this.#log;
  }

  /** Comes back on the ports it had. */
  async again() {
    const [http, stomp] = [this.ports.http, this.ports.stomp].map((address) => Number(address.split(':').at(-1)));
    await this.#spawn(http, stomp);
  }

  /** Ends the broker and cleans up after it. */
  async stop() {
    this.thaw();
    await this.end('SIGTERM');
    await rm(this.#folder, { recursive: true, force: true });
  }

  #signed(...claims) {
    const command = ['token', ...claims, '--config', join(this.#folder, 'stompede.toml')];
    return execFileSync(BINARY, command, { encoding: 'utf8', env: environment() }).trim();
  }

  async #spawn(http, stomp) {
    const file = join(this.#folder, 'ports.json');
    await rm(file, { force: true });
    await access(BINARY).catch(() => {
      throw new Error(`no broker at ${BINARY}: build it, or set STOMPEDE_BIN`);
    });
    const command = [BINARY, 'serve', '--listen', '127.0.0.1', '--admin-port', '0'];
    command.push('--http-port', String(http), '--stomp-port', String(stomp));
    // setpriv execs the broker, which is killed when this process dies, even by SIGKILL.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command, '--ports-file', file, ...this.#args], {
      cwd: this.#folder,
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (text) => (this.#log = (this.#log + text).slice(-16_384)));
    }
    this.ports = await this.#announced(file);
  }

  async #announced(file) {
    const deadline = Date.now() + START_MS;
    for (;;) {
      const text = await readFile(file, 'utf8').catch(() => '');
      try {
        return JSON.parse(text);
      } catch {
        // Not written, or not to its end.
      }
      const gone = this.#child.exitCode ?? this.#child.signalCode;
      if (gone !== null) throw new Error(`the broker ended with ${gone}:\n${this.#log}`);
      if (Date.now() > deadline) {
        this.#child.kill('SIGKILL');
        throw new Error(`the broker announced no ports in ${START_MS} ms:\n${this.#log}`);
      }
      await new Promise((resume) => setTimeout(resume, 20));
    }
  }
}

/** A configuration in which a token says who is who. */
export const WITH_TOKENS = '[jwt]\nsecret = "an example secret of enough length, 0123456789"\n';

/** The variables of this process without ours, which the broker would read as its configuration. */
function environment() {
  const foreign = Object.entries(process.env).filter(([name]) => !name.startsWith('STOMPEDE_'));
  return { ...Object.fromEntries(foreign), STOMPEDE_STOMP_TLS_PORT: '0' };
}

const START_MS = 10_000;
const END_MS = 15_000;
