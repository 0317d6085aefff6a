import { hostname } from 'node:os';
import type { LovageApp } from '../app/app.ts';
import type { Consumer, Delivery } from '../contracts/broker.ts';
import type { PoolOutcome } from '../contracts/pool.ts';
import { listenForControl } from '../control/responder.ts';
import { ConfigError, type LeaseLostError, WorkerShutdownError } from '../errors.ts';
import { AsyncPool } from '../pools/async.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../util/options.ts';
import { sleep } from '../util/sleep.ts';
import { Executor } from './executor.ts';
import { Fetcher } from './fetcher.ts';
import { Intake } from './intake.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import type { Held, Outcome, Run, Settlement } from './outcome.ts';
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

/** Runs an application's tasks: composes fetcher, intake, pool, settler and lease keeper, and starts and stops them in order. */
export class Worker {
  readonly app: LovageApp;
  readonly hostname: string;
  readonly queues: readonly string[];
  readonly concurrency: number;
  readonly counts: WorkerCounts = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, dead: 0 };
  readonly #prefetch: number;
  readonly #graceMs: number;
  readonly #log: TaskLog;
  readonly #held = new Map<string, Held>();
  #waiting: Held[] = [];
  #parts: Parts | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<number> | undefined;
  readonly #hurry = new AbortController();
  #wake: (() => void) | undefined;
  #nextJob = 1;

  /** @throws ConfigError for an unknown or wrong option */
  constructor(app: LovageApp, options: WorkerOptions = {}) {
    checkOptions(workerOptionTable, options, 'the worker');
    const { config } = app;
    this.app = app;
    this.hostname = nodeName(options.name ?? 'celery@%h');
    this.queues = options.queues ?? config.taskQueues ?? [config.taskDefaultQueue];
    if (this.queues.length === 0) throw new ConfigError('a worker needs at least one queue, got an empty list');
    this.concurrency = options.concurrency ?? config.workerConcurrency;
    this.#prefetch = this.concurrency * (options.prefetchMultiplier ?? config.workerPrefetchMultiplier);
    this.#graceMs = (options.shutdownTimeout ?? config.workerShutdownTimeout) * 1000;
    this.#log = new TaskLog(app, this.counts);
  }

  /** Resolves when the worker takes messages. */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /**
   * Stops: takes nothing more, gives back what has not begun, lets running tasks end within the grace time, then aborts
   * them and gives their messages back. Resolves with 0 when every task ended by itself, 1 when some were aborted.
   * A second call, or `{ now: true }`, cuts the grace time short.
   */
  stop({ now = false } = {}): Promise<number> {
    if (now || this.#stopping) this.#hurry.abort();
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Runs until SIGTERM or SIGINT (a second one hurries) or an abort of `signal`; resolves with the exit status. */
  async run({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const onSignal = () => this.stop().then(resolve, reject);
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
    signal?.addEventListener('abort', onSignal, { once: true });
    try {
      await this.start();
      if (signal?.aborted) onSignal();
      return await promise;
    } finally {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
      signal?.removeEventListener('abort', onSignal);
    }
  }

  async #start(): Promise<void> {
    const { broker, publisher, results } = await this.app.connections();
    await broker.declareMany(this.queues.map((name) => ({ name })));
    const leaseMs = broker.features.leaseMs;
    const leases = new LeaseKeeper({
      broker,
      leaseMs: leaseMs ?? Number.MAX_SAFE_INTEGER,
      onLost: this.#leaseLost,
      logger: this.app.logger,
    });
    if (leaseMs !== undefined) await leases.start();
    const consumer = await broker.consume(this.queues);
    const settler = new Settler({
      app: this.app,
      consumer,
      publisher,
      results,
      leases,
      hostname: this.hostname,
      patienceMs: leaseMs ?? 30_000,
    });
    const executor = new Executor(this.app, this.hostname);
    const pool = new AsyncPool<Run, Outcome>({
      slots: this.concurrency,
      run: (run, signal) => executor.run(run, signal),
      onOutcomes: this.#outcomes,
    });
    const fetcher = new Fetcher({
      consumer,
      room: () => this.#room(),
      hasRoom: (signal) => this.#hasRoom(signal),
      onDeliveries: (deliveries) => this.#take(deliveries),
      logger: this.app.logger,
    });
    const control = broker.bus && (await listenForControl(broker.bus, this.hostname));
    this.#parts = {
      intake: new Intake(this.app, results),
      pool,
      settler,
      leases,
      consumer,
      fetcher,
      stopControl: control ?? (async () => {}),
    };
    fetcher.start();
  }

  async #stop(): Promise<number> {
    if (!this.#starting) return 0;
    await this.#starting;
    const parts = this.#parts;
    if (!parts) return 0;
    const { fetcher, pool, settler, leases, consumer, stopControl } = parts;
    await fetcher.stop();
    settler.add(this.#waiting.splice(0).map((held) => ({ held, outcome: { kind: 'release' } })));
    const grace = AbortSignal.any([this.#hurry.signal, AbortSignal.timeout(Math.max(1, Math.ceil(this.#graceMs)))]);
    await Promise.race([pool.drained(), aborted(grace)]);
    const unfinished = await this.#abandon(parts);
    await settler.drained();
    await stopControl();
    await leases.stop();
    await consumer.close();
    return unfinished > 0 || settler.failures > 0 ? 1 : 0;
  }

  /** Asks what still runs to stop, waits a moment, and gives back what does not. Returns how many were running. */
  async #abandon({ pool, settler }: Parts): Promise<number> {
    const unfinished = pool.running;
    if (unfinished === 0) return 0;
    this.app.logger.warn(
      { running: unfinished },
      'the grace time is over: aborting what still runs and giving it back',
    );
    for (const jobId of this.#held.keys())
      pool.cancel(jobId, new WorkerShutdownError('the worker is stopping; the task will run again elsewhere'));
    await Promise.race([pool.drained(), sleep(200)]);
    const stuck = [...this.#held.values()];
    this.#held.clear();
    settler.add(stuck.map((held) => ({ held, outcome: { kind: 'release' } })));
    return unfinished;
  }

  #room(): number {
    return Math.max(0, this.#prefetch - this.#waiting.length - this.#held.size);
  }

  /** Room in the pool, and settlements not lagging behind: otherwise finished work would pile up in memory. */
  async #hasRoom(signal: AbortSignal): Promise<void> {
    const settler = this.#parts?.settler;
    while (!signal.aborted && (this.#room() === 0 || (settler && settler.pending > 2 * this.#prefetch + 100))) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  async #take(deliveries: Delivery[]): Promise<void> {
    const parts = this.#parts;
    if (!parts) return;
    this.counts.received += deliveries.length;
    if (parts.consumer && deliveries.length > 0) parts.leases.addMany(deliveries);
    const { runs, settled } = await parts.intake.sort(deliveries);
    for (const settlement of settled) this.#log.settled(settlement);
    this.#settle(settled);
    for (const held of runs) this.#log.received(held);
    const early = runs.filter(({ definition }) => !(definition?.options.acksLate ?? this.app.config.taskAcksLate));
    if (early.length > 0) {
      const ours = await parts.settler.ackEarly(early.map(({ delivery }) => delivery));
      for (const held of early) held.acked = ours.has(held.delivery);
      this.#waiting.push(...runs.filter((held) => held.acked || !early.includes(held)));
    } else this.#waiting.push(...runs);
    this.#startWaiting();
  }

  /** Starts what waits, as far as there are slots. */
  #startWaiting(): void {
    const pool = this.#parts?.pool;
    if (!pool || this.#waiting.length === 0 || pool.free === 0) return;
    const jobs = this.#waiting.splice(0, pool.free).flatMap((held) => {
      if (!held.message) return [];
      const id = String(this.#nextJob++);
      this.#held.set(id, held);
      return [{ id, request: { message: held.message, queue: held.delivery.queue, attempt: held.delivery.attempt } }];
    });
    pool.submit(jobs);
  }

  readonly #outcomes = (outcomes: readonly PoolOutcome<Run, Outcome>[]): void => {
    const settlements: Settlement[] = [];
    for (const { job, outcome } of outcomes) {
      const held = this.#held.get(job.id);
      // Gone from the list: given back already.
      if (!held) continue;
      this.#held.delete(job.id);
      const settlement = { held, outcome };
      this.#log.settled(settlement);
      settlements.push(settlement);
    }
    this.#settle(settlements);
    if (!this.#stopping) this.#startWaiting();
  };

  #settle(settlements: readonly Settlement[]): void {
    this.#parts?.settler.add(settlements);
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  readonly #leaseLost = (delivery: Delivery, error: LeaseLostError): void => {
    this.app.logger.warn({ queue: delivery.queue, error }, 'the lease of a running task was lost: asking it to stop');
    for (const [id, held] of this.#held) if (held.delivery === delivery) this.#parts?.pool.cancel(id, error);
    this.#waiting = this.#waiting.filter((held) => held.delivery !== delivery);
  };
}

interface Parts {
  readonly intake: Intake;
  readonly pool: AsyncPool<Run, Outcome>;
  readonly settler: Settler;
  readonly leases: LeaseKeeper;
  readonly consumer: Consumer;
  readonly fetcher: Fetcher;
  readonly stopControl: () => Promise<void>;
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
