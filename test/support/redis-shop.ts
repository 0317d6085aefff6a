/** Whole workers on a private Redis: applications, their workers and their log, all gone with the test. */
import { Redis } from 'ioredis';
import { Lovage, type LovageOptions, Worker, type WorkerOptions } from '../../src/index.ts';
import { type RedisOptions, type RedisServer, startRedis } from './redis-server.ts';
import { startProxy, type TcpProxy } from './tcp-proxy.ts';
import { until } from './workplace.ts';

/** A line of the log of any application of the shop. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly text: string;
}

/** Short times, so that tests need not wait long for what they provoke. */
const shortTimes = { leaseTimeout: 1, socketTimeout: 1, socketConnectTimeout: 5 };

export class RedisShop implements AsyncDisposable {
  readonly server: RedisServer;
  /** A client without any of Lovage's care, for looking and for mischief. */
  readonly raw: Redis;
  readonly log: LogLine[] = [];
  /** How often `tasks.work` has begun with each name. */
  readonly runs = new Map<string, number>();
  readonly #apps: Lovage[] = [];
  readonly #workers: Worker[] = [];
  readonly #proxies: TcpProxy[] = [];
  #gate = Promise.withResolvers<void>();

  constructor(server: RedisServer) {
    this.server = server;
    this.raw = new Redis(server.port, { retryStrategy: () => 50 });
    this.raw.on('error', () => {});
  }

  static async open(options: RedisOptions = {}): Promise<RedisShop> {
    return new RedisShop(await startRedis(options));
  }

  /**
   * An application with three tasks: `tasks.work` gives back its argument, after so many milliseconds; `tasks.measure`
   * gives back its length; `tasks.hold` gives it back when the test calls `letGo()`. Each application has connections of
   * its own.
   */
  app(url = this.server.url, transport: Readonly<Record<string, unknown>> = {}, options: LovageOptions = {}): Lovage {
    const own = { ...shortTimes, clientName: `shop-${this.#apps.length}`, ...transport };
    const app = new Lovage('shop', {
      broker: url,
      brokerTransportOptions: own,
      resultBackendTransportOptions: own,
      logger: this.#logger(),
      workerShutdownTimeout: 2,
      ...options,
    });
    app.task('tasks.work', async (name: string, ms: number = 0) => {
      this.#began(name);
      await new Promise((resolve) => setTimeout(resolve, ms));
      return name;
    });
    app.task('tasks.measure', (name: string) => {
      this.#began(name);
      return name.length;
    });
    app.task('tasks.hold', async (name: string) => {
      this.#began(name);
      await this.#gate.promise;
      return name;
    });
    this.#apps.push(app);
    return app;
  }

  /** Starts a proxy in front of the server. */
  async proxy(): Promise<TcpProxy> {
    const proxy = await startProxy(this.server.port);
    this.#proxies.push(proxy);
    return proxy;
  }

  /** Starts a worker in this process. */
  async worker(app: Lovage, options: WorkerOptions = {}): Promise<Worker> {
    const worker = new Worker(app, { name: `w${this.#workers.length}@%h`, ...options });
    await worker.start();
    this.#workers.push(worker);
    return worker;
  }

  /** Lets every `tasks.hold` end that has begun; those that begin later hold again. */
  letGo(): void {
    this.#gate.resolve();
    this.#gate = Promise.withResolvers<void>();
  }

  /** Waits until so many tasks have begun, each counted once. */
  began(count: number): Promise<true> {
    return until(() => this.runs.size >= count, 30_000);
  }

  /** Waits for a line of the log. */
  says(text: string | RegExp): Promise<LogLine> {
    const has = (line: LogLine) => (typeof text === 'string' ? line.text.includes(text) : text.test(line.text));
    return until(() => this.log.find(has), 20_000);
  }

  /** What the log says of trouble. */
  get complaints(): string[] {
    return this.log.filter(({ level }) => level === 'warn' || level === 'error').map(({ text }) => text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.letGo();
    this.server.resume();
    for (const proxy of this.#proxies) proxy.restore();
    await Promise.all(this.#workers.map((worker) => worker.stop({ now: true })));
    await Promise.all(this.#apps.map((app) => app.close().catch(() => {})));
    this.raw.disconnect();
    await Promise.all(this.#proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
    await this.server[Symbol.asyncDispose]();
  }

  #began(name: string): void {
    this.runs.set(name, (this.runs.get(name) ?? 0) + 1);
  }

  #logger() {
    const keep = (level: LogLine['level']) => (fields: object, message: string) => {
      const parts = Object.entries(fields).map(([key, value]) => `${key}=${wholeText(value)}`);
      this.log.push({ level, text: [message, ...parts].join(' ') });
    };
    return { debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') };
  }
}

/** All that a logger could show of a value: of errors also stack, fields and causes. */
export function wholeText(value: unknown): string {
  if (!(value instanceof Error)) return JSON.stringify(value) ?? String(value);
  const { cause, ...fields } = value;
  return `${value.stack} ${JSON.stringify(fields)}${cause === undefined ? '' : ` <- ${wholeText(cause)}`}`;
}
