import { hostname } from 'node:os';
import type { LovageApp } from '../app/app.ts';
import { Lifecycle } from '../app/lifecycle.ts';
import type { Consumer } from '../contracts/broker.ts';
import { listenForControl } from '../control/responder.ts';
import { ConfigError } from '../errors.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../util/options.ts';
import { maxTimerMs } from '../util/sleep.ts';
import { Dispatcher } from './dispatcher.ts';
import { Executor } from './executor.ts';
import { Fetcher } from './fetcher.ts';
import { Intake } from './intake.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { Settler } from './settler.ts';
import { TaskLog, type WorkerCounts } from './task-log.ts';

/** Every option of a worker; the same names as the command line's. */
export const workerOptionTable = {
  queues: option({ kind: kinds.texts, doc: 'Queues to consume. Without it: taskQueues, or the default queue.' }),
  concurrency: option({ kind: kinds.int(1, 100_000), doc: 'Overrides workerConcurrency.' }),
  pool: option<'async'>({
    kind: kinds.custom("'async' (the only pool of this version)", (v) => v === 'async'),
    doc: 'Overrides workerPool.',
  }),
  prefetchMultiplier: option({ kind: kinds.int(1, 1000), doc: 'Overrides workerPrefetchMultiplier.' }),
  name: option({
    kind: kinds.text,
    doc: "Node name; `%h` is the host, `%n` the name, `%d` the domain. Default 'celery@%h'.",
  }),
  shutdownTimeout: option({ kind: kinds.seconds(), doc: 'Overrides workerShutdownTimeout, in seconds.' }),
} satisfies OptionTable;

export type WorkerOptions = OptionsOf<typeof workerOptionTable>;

/** Runs an application's tasks: puts fetcher, dispatcher, settler and lease keeper together, starts and stops them in order. */
export class Worker {
  readonly app: LovageApp;
  readonly hostname: string;
  readonly queues: readonly string[];
  readonly concurrency: number;
  readonly counts: WorkerCounts = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, dead: 0 };
  readonly #capacity: number;
  readonly #graceMs: number;
  readonly #hurry = new AbortController();
  #starting: Promise<Parts> | undefined;
  #stopping: Promise<number> | undefined;

  /** @throws ConfigError for an unknown or wrong option */
  constructor(app: LovageApp, options: WorkerOptions = {}) {
    checkOptions(workerOptionTable, options, 'the worker');
    const { config } = app;
    this.app = app;
    this.hostname = nodeName(options.name ?? 'celery@%h');
    this.queues = options.queues ?? config.taskQueues ?? [config.taskDefaultQueue];
    if (this.queues.length === 0) throw new ConfigError('a worker needs at least one queue, got an empty list');
    this.concurrency = options.concurrency ?? config.workerConcurrency;
    this.#capacity = this.concurrency * (options.prefetchMultiplier ?? config.workerPrefetchMultiplier);
    this.#graceMs = (options.shutdownTimeout ?? config.workerShutdownTimeout) * 1000;
  }

  /** Resolves when the worker takes messages. */
  async start(): Promise<void> {
    this.#starting ??= this.#begin();
    await this.#starting;
  }

  /**
   * Stops: takes nothing more, gives back what has not begun, lets running tasks end within the grace time, then aborts
   * them and gives their messages back. Resolves with 0 when every task ended by itself, 1 when some were aborted.
   * A second call, or `{ now: true }`, cuts the grace time short.
   */
  stop({ now = false } = {}): Promise<number> {
    if (!this.#starting) return Promise.resolve(0);
    if (now || this.#stopping) this.#hurry.abort();
    this.#stopping ??= this.#stop(this.#starting);
    return this.#stopping;
  }

  /** Runs until SIGTERM or SIGINT (a second one hurries) or an abort of `signal`; resolves with the exit status. */
  async run({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const onSignal = () => this.stop().then(resolve, reject);
    const onStray = (error: unknown) => {
      this.app.logger.error({ error }, 'a task left a promise behind that was rejected; await it, or catch its errors');
    };
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal).on('unhandledRejection', onStray);
    signal?.addEventListener('abort', onSignal, { once: true });
    try {
      await this.start();
      if (signal?.aborted) onSignal();
      return await promise;
    } finally {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal).off('unhandledRejection', onStray);
      signal?.removeEventListener('abort', onSignal);
    }
  }

  async #begin(): Promise<Parts> {
    const lifecycle = new Lifecycle(this.app, { hostname: this.hostname });
    try {
      await lifecycle.start();
      const parts = { ...(await this.#start()), lifecycle };
      await lifecycle.ready();
      return parts;
    } catch (error) {
      this.#starting = undefined;
      await lifecycle.abandon();
      throw error;
    }
  }

  async #start(): Promise<Omit<Parts, 'lifecycle'>> {
    const { app, hostname } = this;
    const { logger } = app;
    const { broker, publisher, results } = await app.connections();
    const { leaseMs } = broker.features;
    await broker.declareMany(this.queues.map((name) => ({ name })));
    const leases = new LeaseKeeper({
      broker,
      leaseMs,
      logger,
      onLost: (delivery, error) => {
        logger.warn(
          { queue: delivery.queue, error },
          'the lease of a held message was lost: its task is asked to stop',
        );
        dispatcher.leaseLost(delivery, error);
      },
    });
    await leases.start();
    const consumer = await broker.consume(this.queues).catch(async (error) => {
      await leases.stop();
      throw error;
    });
    const settler = new Settler({
      app,
      consumer,
      publisher,
      results,
      leases,
      hostname,
      patienceMs: leaseMs ?? 30_000,
      onSettled: () => dispatcher.wake(),
    });
    const dispatcher = new Dispatcher(
      {
        app,
        intake: new Intake(app, results),
        executor: new Executor(app, hostname),
        settler,
        leases,
        log: new TaskLog(app, this.counts),
      },
      this.concurrency,
      this.#capacity,
    );
    const fetcher = new Fetcher({
      consumer,
      room: () => dispatcher.room(),
      hasRoom: (signal) => dispatcher.hasRoom(signal),
      onDeliveries: (deliveries) => {
        this.counts.received += deliveries.length;
        return dispatcher.take(deliveries);
      },
      logger,
    });
    const stopControl = broker.bus ? await listenForControl(broker.bus, hostname) : async () => {};
    fetcher.start();
    return { dispatcher, settler, leases, consumer, fetcher, stopControl };
  }

  async #stop(starting: Promise<Parts>): Promise<number> {
    const { dispatcher, settler, leases, consumer, fetcher, stopControl, lifecycle } = await starting;
    lifecycle.stopping();
    const timeIsUp = new AbortController();
    const timer = setTimeout(() => timeIsUp.abort(), Math.min(this.#graceMs, maxTimerMs));
    const noMoreTime = AbortSignal.any([this.#hurry.signal, timeIsUp.signal]);
    // A store in trouble must not hold up the end: what cannot be settled then comes back by itself.
    noMoreTime.addEventListener('abort', () => settler.hurry(), { once: true });
    if (noMoreTime.aborted) settler.hurry();
    await fetcher.stop();
    await dispatcher.close();
    await Promise.race([dispatcher.pool.drained(), aborted(noMoreTime)]);
    const unfinished = await dispatcher.abandon(abortMs);
    if (unfinished > 0)
      this.app.logger.warn({ tasks: unfinished }, 'the grace time was over: running tasks were aborted');
    await settler.drained();
    await lifecycle.stop(noMoreTime);
    clearTimeout(timer);
    await stopControl();
    await leases.stop();
    await consumer.close();
    return unfinished > 0 || settler.failures > 0 ? 1 : 0;
  }
}

/** How long an aborted task may take to notice. */
const abortMs = 200;

interface Parts {
  readonly dispatcher: Dispatcher;
  readonly settler: Settler;
  readonly leases: LeaseKeeper;
  readonly consumer: Consumer;
  readonly fetcher: Fetcher;
  readonly stopControl: () => Promise<void>;
  readonly lifecycle: Lifecycle;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** A node name from Celery's pattern: `%h` full host, `%n` its first part, `%d` the rest; a name without `@` gets the host. */
function nodeName(pattern: string): string {
  const host = hostname();
  const [first = host, ...rest] = host.split('.');
  const full = pattern.includes('@') ? pattern : `${pattern}@%h`;
  return full.replaceAll('%h', host).replaceAll('%n', first).replaceAll('%d', rest.join('.'));
}
