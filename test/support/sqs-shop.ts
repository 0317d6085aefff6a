/** Applications and workers on an SQS of their own, behind a proxy that counts and breaks requests; all gone with the test. */
import { Lovage, type LovageOptions, Worker, type WorkerOptions } from '../../src/index.ts';
import { type AwsProxy, startAwsProxy } from './aws-proxy.ts';
import type { LogLine } from './redis-shop.ts';
import { type SqsServer, startSqs } from './sqs-server.ts';
import { until } from './workplace.ts';

export class SqsShop implements AsyncDisposable {
  readonly server: SqsServer;
  readonly proxy: AwsProxy;
  readonly log: LogLine[] = [];
  /** What tasks have told, in order. */
  readonly notes: string[] = [];
  readonly #apps: Lovage[] = [];
  readonly #workers: Worker[] = [];

  constructor(server: SqsServer, proxy: AwsProxy) {
    this.server = server;
    this.proxy = proxy;
  }

  static async open(): Promise<SqsShop> {
    const server = await startSqs();
    return new SqsShop(server, await startAwsProxy(server.port));
  }

  /** The broker, through the proxy. */
  get url(): string {
    return `sqs://test:test@127.0.0.1:${this.proxy.port}//?is_secure=false`;
  }

  /** An application with one task, `tasks.note`, which gives back its argument. */
  app(transport: Readonly<Record<string, unknown>> = {}, options: LovageOptions = {}): Lovage {
    const app = new Lovage('shop', {
      broker: this.url,
      backend: `memory://${this.proxy.port}`,
      brokerTransportOptions: { createMissing: true, visibilityTimeout: 2, ...transport },
      logger: this.#logger(),
      workerShutdownTimeout: 2,
      ...options,
    });
    app.task('tasks.note', (name: string) => {
      this.notes.push(name);
      return name;
    });
    this.#apps.push(app);
    return app;
  }

  /** Starts a worker in this process. */
  async worker(app: Lovage, options: WorkerOptions = {}): Promise<Worker> {
    const worker = new Worker(app, options);
    this.#workers.push(worker);
    await worker.start();
    return worker;
  }

  /** Waits until tasks have told so much. */
  async noted(count: number, ms?: number): Promise<void> {
    await until(() => this.notes.length >= count, ms);
  }

  /** Waits for a line of the log. */
  says(text: string | RegExp): Promise<LogLine> {
    const has = (line: LogLine) => (typeof text === 'string' ? line.text.includes(text) : text.test(line.text));
    return until(() => this.log.find(has), 20_000);
  }

  /** What lies in a queue, by its name in SQS: nothing is received for it. */
  lying(name: string) {
    const messages = this.server.server.inspectQueue(name)?.messages;
    if (!messages) return [];
    return [...messages.ready, ...messages.delayed, ...messages.inflight.map(({ message }) => message)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.proxy.heal();
    await Promise.all(this.#workers.map((worker) => worker.stop({ now: true })));
    await Promise.all(this.#apps.map((app) => app.close().catch(() => {})));
    await this.proxy[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }

  #logger() {
    const say = (level: LogLine['level']) => (fields: object, text?: string) => {
      const error = (fields as { error?: Error }).error;
      this.log.push({ level, text: `${text ?? ''} ${error?.message ?? ''}` });
    };
    return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
  }
}
