/** A Redis server of a test's own, which it may stop, kill, pause and start again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

export interface RedisOptions {
  /** More arguments for `redis-server`, such as `['--maxmemory', '10mb']`. */
  readonly args?: readonly string[];
  /** Keeps an append-only file that is written before every reply, so that nothing confirmed is lost by `kill()`. */
  readonly aof?: boolean;
}

/** Starts `redis-server` on a free port of 127.0.0.1, in a new folder; resolves when it answers. */
export async function startRedis({ args = [], aof = false }: RedisOptions = {}): Promise<RedisServer> {
  const keep = aof ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  for (let tries = 1; ; tries++) {
    const server = new RedisServer(await freePort(), ['--save', '', ...keep, ...args]);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      // Somebody else was given the same port in between.
      if (tries === 3 || !String(error).includes('Address already in use')) throw error;
    }
  }
}

export class RedisServer implements AsyncDisposable {
  readonly port: number;
  /** Where its append-only file is; removed at the end. */
  readonly folder = mkdtempSync(join(tmpdir(), 'lovage-redis-'));
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #output = '';

  constructor(port: number, args: readonly string[]) {
    this.port = port;
    this.#args = args;
    process.on('exit', this.#cleanUp);
  }

  /** Database 0, without credentials. */
  get url(): string {
    return `redis://127.0.0.1:${this.port}/0`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** What it has written to its log. */
  get log(): string {
    return this.#output;
  }

  /** Starts it, where it does not run; resolves when it answers, with an append-only file when that is loaded. */
  async start(): Promise<void> {
    if (this.#child) return;
    const listen = ['--bind', '127.0.0.1', '--port', String(this.port), '--dir', this.folder];
    const child = spawn('redis-server', [...listen, ...this.#args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#tether(child);
    const keep = (data: Buffer) => {
      this.#output += data;
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const gone = new AbortController();
    const ended = new Promise<never>((_, reject) => {
      child.once('error', reject);
      // `close` comes after the last of the output.
      child.once('close', (code, signal) =>
        reject(new Error(`redis-server ended with ${code ?? signal}:\n${this.#output}`)),
      );
    });
    ended.catch(() => {
      gone.abort();
      if (this.#child === child) this.#child = undefined;
    });
    await Promise.race([ended, this.#answers(gone.signal)]);
  }

  /** Shuts it down in order, as an administrator does. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    // A paused process hears SIGTERM only when it goes on.
    child.kill('SIGCONT');
    await end(child, 'SIGTERM', 5000);
  }

  /** Kills it as a power cut does. */
  async kill(): Promise<void> {
    if (this.#child) await end(this.#child, 'SIGKILL', 5000);
  }

  /** Starts it again on the same port and folder; where it still runs, it is shut down in order before. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Holds it: connections stay, answers do not come. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#cleanUp();
    process.off('exit', this.#cleanUp);
  }

  async #answers(gone: AbortSignal): Promise<void> {
    const deadline = performance.now() + 20_000;
    for (let last = ''; !gone.aborted; ) {
      last = await ping(this.port);
      // Without the password it answers too.
      if (last.startsWith('+PONG') || last.startsWith('-NOAUTH')) return;
      if (performance.now() > deadline) throw new Error(`redis-server does not answer: ${last}\n${this.#output}`);
      await setTimeout(10);
    }
  }

  /** Has a shell end the server and remove its folder when this process is gone, however it ended: then its pipe closes. */
  #tether(child: ChildProcess): void {
    if (child.pid === undefined) return;
    const script = 'read -r _; kill -9 "$1"; rm -rf "$2"';
    const shell = spawn('/bin/sh', ['-c', script, 'sh', String(child.pid), this.folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.once('exit', () => shell.kill('SIGKILL'));
    shell.unref();
  }

  readonly #cleanUp = (): void => {
    this.#child?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  };
}

/** What the server answers to PING; empty, or the error, where it does not listen. */
function ping(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = new Socket();
    const answer = (text: string) => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(1000, () => answer('no answer within 1 s'));
    socket.once('error', (error) => answer(error.message));
    socket.once('data', (data) => answer(data.toString()));
    socket.connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
  });
}

/** Waits until the process is gone and its output is complete; a signal that does not help is followed by SIGKILL. */
async function end(child: ChildProcess, signal: NodeJS.Signals, patienceMs: number): Promise<void> {
  const closed = once(child, 'close');
  child.kill(signal);
  const force = AbortSignal.timeout(patienceMs);
  force.onabort = () => child.kill('SIGKILL');
  await closed;
  force.onabort = null;
}

/** A port of 127.0.0.1 where nobody listens. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
