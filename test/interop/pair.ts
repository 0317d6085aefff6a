/** One private Redis, with a Lovage application and real Celery on it: each with a client, and with workers as asked for. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { type Lovage, type LovageOptions, Worker, type WorkerOptions } from '../../src/index.ts';
import { PythonClient, PythonWorker, type PythonWorkerOptions } from '../support/python.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { kill, until } from '../support/workplace.ts';
import { makeApp } from './tasks.ts';

export interface PairOptions {
  /** Celery settings of all Python programs. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Options of the TypeScript application. */
  readonly options?: LovageOptions;
}

export class Pair implements AsyncDisposable {
  readonly redis: RedisServer;
  /** A client of the tests' own, to look and to leave notes. */
  readonly store: Redis;
  readonly app: Lovage;
  readonly python: PythonClient;
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly #options: LovageOptions;
  readonly #ends: (() => Promise<unknown>)[] = [];

  private constructor(redis: RedisServer, python: PythonClient, { settings = {}, options = {} }: PairOptions) {
    this.redis = redis;
    this.python = python;
    this.#settings = settings;
    this.#options = options;
    this.store = new Redis(redis.url);
    this.app = makeApp(redis.url, this.store, options);
  }

  static async start(options: PairOptions = {}): Promise<Pair> {
    const redis = await startRedis();
    const python = await PythonClient.start({ url: redis.url, settings: options.settings ?? {} });
    return new Pair(redis, python, options);
  }

  /** Starts a TypeScript worker in this process. */
  async typescriptWorker(options: WorkerOptions = {}): Promise<Worker> {
    const worker = new Worker(this.app, { queues: ['ts'], ...options });
    await worker.start();
    this.#ends.push(() => worker.stop({ now: true }));
    return worker;
  }

  /** Starts a TypeScript worker in a process of its own, which may be killed. */
  async typescriptProcess(queue: string): Promise<ChildProcess> {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'worker-process.ts')], {
      env: {
        ...process.env,
        TEST_URL: this.redis.url,
        TEST_QUEUE: queue,
        TEST_OPTIONS: JSON.stringify(this.#options),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#ends.push(() => kill(child));
    const lines = createInterface({ input: child.stdout });
    await Promise.race([
      once(lines, 'line'),
      once(child, 'exit').then(([code]) => {
        throw new Error(`the TypeScript worker ended with ${code}`);
      }),
    ]);
    return child;
  }

  async pythonWorker(options: Partial<PythonWorkerOptions> = {}): Promise<PythonWorker> {
    const worker = await PythonWorker.start({
      url: this.redis.url,
      queues: ['py'],
      settings: this.#settings,
      ...options,
    });
    this.#ends.push(() => worker.kill());
    return worker;
  }

  /** What a task has left, or leaves soon, at the end of a list. */
  async note(list: string): Promise<string> {
    // The client of the tests does not block: workers of this process use it too.
    return until(async () => (await this.store.lpop(list)) ?? undefined);
  }

  /** Lets a task go on that waits for it. */
  async open(gate: string): Promise<void> {
    await this.store.rpush(gate, 'open');
  }

  /** Resolves when no message of the queue waits or is held: their tasks have ended, with all that is stored. */
  async settled(queue: string): Promise<void> {
    await until(async () => (await this.store.llen(queue)) + (await this.store.hlen('unacked')) === 0);
  }

  /** Whether anything is stored about a task. */
  async hasResult(id: string): Promise<boolean> {
    return (await this.store.exists(`celery-task-meta-${id}`)) === 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#ends.map((end) => end()));
    await this.python[Symbol.asyncDispose]();
    await this.app.close();
    this.store.disconnect();
    await this.redis[Symbol.asyncDispose]();
  }
}
