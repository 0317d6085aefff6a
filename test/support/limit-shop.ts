/** Several applications with workers of their own on one real store, with short leases: what limits need to be seen at work. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { redisBackend } from '../../src/backends/redis.ts';
import { sqliteBackend } from '../../src/backends/sqlite.ts';
import { redisBroker } from '../../src/brokers/redis.ts';
import { sqliteBroker } from '../../src/brokers/sqlite.ts';
import {
  type Broker,
  Lovage,
  type LovageOptions,
  type ResultBackend,
  Worker,
  type WorkerOptions,
} from '../../src/index.ts';
import { quiet } from './in-memory.ts';
import { type RedisServer, startRedis } from './redis-server.ts';

export const stores = ['sqlite', 'redis'] as const;
export type StoreName = (typeof stores)[number];

export class LimitShop implements AsyncDisposable {
  /** Seconds. */
  readonly lease: number;
  readonly #server: RedisServer | undefined;
  readonly #folder: string | undefined;
  readonly #workers: Worker[] = [];
  readonly #apps: Lovage[] = [];

  private constructor(lease: number, server: RedisServer | undefined) {
    this.lease = lease;
    this.#server = server;
    this.#folder = server ? undefined : mkdtempSync(join(tmpdir(), 'lovage-limits-'));
  }

  /** A new store; leases on it last for `lease` seconds. */
  static async open(store: StoreName, lease = 1): Promise<LimitShop> {
    return new LimitShop(lease, store === 'redis' ? await startRedis() : undefined);
  }

  get url(): string {
    return this.#server?.url ?? `sqlite://${this.#folder}/test.db`;
  }

  /** A broker and a result backend, not started, as one application has them. */
  drivers(): { broker: Broker; backend: ResultBackend } {
    const { url, lease } = this;
    if (!this.#server) return { broker: sqliteBroker(url, { visibilityTimeout: lease }), backend: sqliteBackend(url) };
    const clientName = `shop-${this.#apps.length}`;
    return {
      broker: redisBroker(url, { leaseTimeout: lease, clientName }),
      backend: redisBackend(url, { clientName }),
    };
  }

  /** An application on the store, with connections of its own. */
  app(options: LovageOptions = {}): Lovage {
    const app = new Lovage('shop', { ...this.drivers(), logger: quiet, workerShutdownTimeout: 1, ...options });
    this.#apps.push(app);
    return app;
  }

  /** Starts a worker in this process. */
  async worker(app: Lovage, options: WorkerOptions = {}): Promise<Worker> {
    const worker = new Worker(app, { name: `w${this.#workers.length}@%h`, ...options });
    await worker.start();
    this.#workers.push(worker);
    return worker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop({ now: true })));
    await Promise.all(this.#apps.map((app) => app.close().catch(() => {})));
    await this.#server?.[Symbol.asyncDispose]();
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true });
  }
}
