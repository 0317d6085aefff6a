import type { LovageApp } from '../app/app.ts';
import { Lifecycle } from '../app/lifecycle.ts';
import { checkTimeLimits } from '../app/task-options.ts';
import type { Broker } from '../contracts/broker.ts';
import { listenForControl } from '../control/responder.ts';
import { ConfigError, WorkerShutdownError } from '../errors.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../util/options.ts';
import { isPoolChild } from './child-runner.ts';
import { Dispatcher } from './dispatcher.ts';
import { Executor } from './executor.ts';
import { Fetcher } from './fetcher.ts';
import { firstConnection, retryLimit } from './first-connection.ts';
import { Gates } from './gates/gates.ts';
import { claimsFor, needsClaims } from './gates/setup.ts';
import { type Grace, graceOf, platformOf } from './grace.ts';
import { Intake } from './intake.ts';
import { defaultChildren, Lanes, type PoolName, poolNames } from './lanes.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { nodeName } from './node-name.ts';
import { RenewableConsumer } from './renewable-consumer.ts';
import { Revocations } from './revocations.ts';
import { Settler } from './settler.ts';
import { type Ending, Shutdown } from './shutdown.ts';
import { echoMs, isRemapped, listenForSignals, readSignal, type StopMode } from './signals.ts';
import { StateKeeper } from './state-keeper.ts';
import { TaskLog, type WorkerCounts } from './task-log.ts';
import { Watchdog } from './watchdog.ts';
import type { WorkerState } from './worker-state.ts';

/** Every option of a worker; the same names as the command line's. */
export const workerOptionTable = {
  queues: option({ kind: kinds.texts, doc: 'Queues to consume. Without it: taskQueues, or the default queue.' }),
  concurrency: option({ kind: kinds.int(1, 100_000), doc: 'Overrides workerConcurrency.' }),
  pool: option({ kind: kinds.oneOf(...poolNames), doc: 'Overrides workerPool.' }),
  appFile: option({
    kind: kinds.text,
    doc: 'The file that exports the app, for threads and processes. Without it: the file that made it.',
  }),
  timeLimit: option({ kind: kinds.seconds(), doc: 'Overrides taskTimeLimit, in seconds.' }),
  softTimeLimit: option({ kind: kinds.seconds(), doc: 'Overrides taskSoftTimeLimit, in seconds.' }),
  maxTasksPerChild: option({ kind: kinds.int(1), doc: 'Overrides workerMaxTasksPerChild.' }),
  maxMemoryPerChild: option({ kind: kinds.int(1), doc: 'Overrides workerMaxMemoryPerChild, in KiB.' }),
  prefetchMultiplier: option({ kind: kinds.int(1, 1000), doc: 'Overrides workerPrefetchMultiplier.' }),
  name: option({
    kind: kinds.text,
    doc: "Node name; `%h` is the host, `%n` the name, `%d` the domain. Default 'celery@%h'.",
  }),
  shutdownTimeout: option({ kind: kinds.seconds(), doc: 'Overrides workerShutdownTimeout, in seconds.' }),
  softShutdownTimeout: option({ kind: kinds.seconds(), doc: 'Overrides workerSoftShutdownTimeout, in seconds.' }),
} satisfies OptionTable;

export type WorkerOptions = OptionsOf<typeof workerOptionTable>;

/** Runs an application's tasks: puts fetcher, dispatcher, settler and lease keeper together, starts and stops them in order. */
export class Worker {
  readonly app: LovageApp;
  readonly hostname: string;
  readonly queues: readonly string[];
  readonly pool: PoolName;
  /** How many tasks run at once in the main pool. */
  readonly concurrency: number;
  readonly counts: WorkerCounts = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, dead: 0 };
  readonly #options: WorkerOptions;
  /** How long its end may take. */
  readonly grace: Grace;
  readonly #capacity: number;
  readonly #shutdown: Shutdown;
  /** A start that waits for its broker is given up. */
  readonly #unwanted = new AbortController();
  readonly #life: StateKeeper;
  #starting: Promise<Parts> | undefined;
  #stopping: Promise<number> | undefined;

  /** @throws ConfigError for an unknown or wrong option */
  constructor(app: LovageApp, options: WorkerOptions = {}) {
    checkOptions(workerOptionTable, options, 'the worker');
    const { config } = app;
    if (isPoolChild()) throw new ConfigError(inChild);
    checkTimeLimits('the worker', {
      timeLimit: options.timeLimit ?? config.taskTimeLimit,
      softTimeLimit: options.softTimeLimit ?? config.taskSoftTimeLimit,
    });
    this.app = app;
    this.#options = options;
    this.hostname = nodeName(options.name ?? 'celery@%h');
    this.queues = options.queues ?? config.taskQueues ?? [config.taskDefaultQueue];
    if (this.queues.length === 0) throw new ConfigError('a worker needs at least one queue, got an empty list');
    this.pool = options.pool ?? config.workerPool;
    this.concurrency = this.#slots(options.concurrency);
    this.#capacity = this.concurrency * (options.prefetchMultiplier ?? config.workerPrefetchMultiplier);
    this.grace = graceOf(options.shutdownTimeout ?? config.workerShutdownTimeout, platformOf(process.env));
    this.#shutdown = new Shutdown({
      hostname: this.hostname,
      grace: this.grace,
      softMs: (options.softShutdownTimeout ?? config.workerSoftShutdownTimeout) * 1000,
      logger: () => app.logger,
    });
    this.#life = new StateKeeper(
      retryLimit(config),
      () => app.logger,
      () => void this.#end('warm', 'it cannot go on').catch(() => {}),
    );
  }

  #slots(given: number | undefined): number {
    const { workerConcurrency, workerChildren = defaultChildren } = this.app.config;
    if (this.pool === 'solo') return 1;
    return given ?? (this.pool === 'async' ? workerConcurrency : workerChildren);
  }

  /** What the worker is doing now. */
  get state(): WorkerState {
    return this.#life.state;
  }

  /** Why it is in the state `failed`. */
  get failure(): Error | undefined {
    return this.state === 'failed' ? this.#life.failure : undefined;
  }

  /** Calls `listener` at each change of `state`, until the returned function is called. */
  onState(listener: (state: WorkerState) => void): () => void {
    return this.#life.listen(listener);
  }

  /**
   * Resolves when the worker takes messages. Waits for a broker that is not there yet, as `brokerConnectionRetryOnStartup`
   * says.
   * @throws StoreError, ConfigError
   */
  async start(): Promise<void> {
    if (!this.#starting) {
      this.#life.happen({ kind: 'start' });
      this.#starting = this.#start();
    }
    await this.#starting;
  }

  /** It holds messages: some run, wait for a slot, or are not settled yet. */
  get busy(): boolean {
    return this.#shutdown.parts?.dispatcher.busy ?? false;
  }

  /** Its end took longer than there was time, and was not waited for: something of it may hang for ever. */
  get overdue(): boolean {
    return this.#shutdown.overdue;
  }

  /**
   * Stops: takes nothing more, gives back what has not begun, lets running tasks end within the grace time, then aborts
   * them and gives their messages back. Resolves with 0 when every task ended by itself, 1 when some were aborted, or when
   * something hung. `{ now: true }` does not wait for running tasks, also where the worker is stopping already.
   */
  stop({ now = false } = {}): Promise<number> {
    return this.#end(now ? 'cold' : 'warm', 'stop()');
  }

  /**
   * Runs until a signal (see docs/shutdown.md) or an abort of `signal`; resolves with the exit status.
   * @throws WorkerStuckError when it received nothing though there was work, or the error of a broker that stayed away too
   *   long; the worker has stopped then
   */
  async run({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const onState = () => {
      if (this.failure) reject(this.failure);
      else if (this.state === 'stopped') this.#stopping?.then(resolve, reject);
    };
    const onAbort = () => void this.#end('warm', 'its signal').catch(() => {});
    const onStray = (error: unknown) => {
      this.app.logger.error({ error }, 'a task left a promise behind that was rejected; await it, or catch its errors');
    };
    const remapped = isRemapped(process.env, (text) => this.app.logger.warn({}, text));
    const stopListening = listenForSignals((name, sinceMs) => {
      const mode = readSignal(name, { mode: this.#shutdown.mode, sinceMs, remapped });
      // What comes of it shows in the state.
      if (mode) this.#end(mode, name).catch(() => {});
      else if (sinceMs >= echoMs) this.#shutdown.remind(name);
    });
    process.on('unhandledRejection', onStray);
    signal?.addEventListener('abort', onAbort, { once: true });
    const stopWatching = this.onState(onState);
    try {
      onState();
      this.start().catch(() => {});
      if (signal?.aborted) onAbort();
      return await promise;
    } finally {
      stopWatching();
      stopListening();
      process.off('unhandledRejection', onStray);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async #start(): Promise<Parts> {
    const lifecycle = new Lifecycle(this.app, { hostname: this.hostname });
    try {
      await lifecycle.start();
      const parts = { ...(await this.#assemble()), lifecycle };
      this.#shutdown.attach(parts);
      this.#life.happen({ kind: 'started', broker: parts.broker.url });
      parts.fetcher.start();
      parts.watchdog?.start();
      parts.revocations.start();
      await lifecycle.ready();
      return parts;
    } catch (error) {
      this.#starting = undefined;
      await lifecycle.abandon();
      this.#life.happen({ kind: 'startFailed', error: error as Error });
      throw error;
    }
  }

  async #assemble(): Promise<Omit<Parts, 'lifecycle'>> {
    const { app, hostname, queues } = this;
    const { logger } = app;
    const { broker, publisher, results } = await firstConnection(app, queues, this.#unwanted.signal);
    const { leaseMs } = broker.features;
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
    const claims = claimsFor(app, results, leaseMs ?? 30_000, (delivery, error) => {
      logger.warn({ queue: delivery.queue, error }, 'a claim was lost: its task is asked to stop');
      dispatcher.claimLost(delivery, error);
    });
    const endLeases = async () => {
      await leases.stop();
      await claims?.stop();
    };
    if (claims && needsClaims(app)) await orElse(claims.start(), endLeases);
    const first = await orElse(broker.consume(queues), endLeases);
    const consumer = new RenewableConsumer(first, () => broker.consume(queues));
    const settler = new Settler({
      app,
      consumer,
      publisher,
      results,
      leases,
      claims,
      hostname,
      patienceMs: leaseMs ?? 30_000,
      onSettled: () => dispatcher.wake(),
    });
    const lanes = new Lanes({
      app,
      executor: new Executor(app, hostname),
      pool: this.pool,
      slots: this.concurrency,
      hostname,
      appFile: this.#options.appFile,
      timeLimit: this.#options.timeLimit ?? app.config.taskTimeLimit,
      softTimeLimit: this.#options.softTimeLimit ?? app.config.taskSoftTimeLimit,
      maxTasksPerChild: this.#options.maxTasksPerChild ?? app.config.workerMaxTasksPerChild,
      maxMemoryPerChild: this.#options.maxMemoryPerChild ?? app.config.workerMaxMemoryPerChild,
      onOutcomes: (outcomes) => dispatcher.ended(outcomes),
      onRoom: () => dispatcher.wake(),
    });
    const gates = new Gates({ app, results, claims, hostname, onDue: (sorted) => dispatcher.enter(sorted) });
    const revocations = new Revocations({
      results,
      everyMs: (leaseMs ?? 30_000) / 3,
      held: (sinceMs) => dispatcher.heldTasks(sinceMs),
      revoke: (revoked) => dispatcher.revoke(revoked),
      logger,
    });
    const dispatcher = new Dispatcher(
      {
        app,
        intake: new Intake(app, results, gates, revocations),
        gates,
        lanes,
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
      ask: () => broker.countMany(queues, { readyOnly: true }),
      onLost: (error) => this.#life.happen({ kind: 'lost', error }),
      onBack: () => this.#life.happen({ kind: 'back' }),
    });
    const listening = broker.bus
      ? listenForControl(broker.bus, hostname, revocations)
      : Promise.resolve(async () => {});
    const undo = async () => {
      await endLeases();
      await consumer.close();
    };
    await orElse(lanes.start(), undo);
    const stopControl = await orElse(listening, async () => {
      await lanes.stop();
      await undo();
    });
    return {
      broker,
      dispatcher,
      lanes,
      settler,
      leases,
      claims,
      revocations,
      consumer,
      fetcher,
      watchdog: this.#watchdog(broker, fetcher, consumer),
      stopControl,
    };
  }

  #watchdog(broker: Broker, fetcher: Fetcher, consumer: RenewableConsumer): Watchdog | undefined {
    const { workerWatchdog } = this.app.config;
    if (workerWatchdog === 0) return undefined;
    return new Watchdog({
      broker,
      queues: this.queues,
      fetcher,
      intervalMs: workerWatchdog * 1000,
      rebuild: () => consumer.renew(),
      onStuck: (error) => this.#life.happen({ kind: 'stuck', error }),
      logger: this.app.logger,
    });
  }

  /** Ends once, however often it is asked to; a more urgent request hurries the end that is under way. */
  #end(mode: StopMode, cause: string): Promise<number> {
    if (!this.#starting) return Promise.resolve(0);
    this.#shutdown.request(mode, cause);
    this.#life.happen({ kind: 'stop' });
    this.#stopping ??= this.#shutdown
      .limit(this.#stop(this.#starting))
      .finally(() => this.#life.happen({ kind: 'stopped' }));
    return this.#stopping;
  }

  async #stop(starting: Promise<Parts>): Promise<number> {
    this.#unwanted.abort(new WorkerShutdownError('the worker was stopped before it had a connection'));
    const parts = await starting.catch((error) => {
      if (error === this.#unwanted.signal.reason) return undefined;
      throw error;
    });
    if (!parts) return 0;
    const wentWell = await this.#shutdown.carryOut(parts);
    return wentWell && !this.#life.failure ? 0 : 1;
  }
}

const inChild =
  'a worker was made in a thread or process of another: these load the file that exports the app, which makes a worker as well. Do that in another file, or inside of `if (import.meta.main)`';

interface Parts extends Ending {
  readonly broker: Broker;
}

/** Undoes what was done before where the next step fails. */
async function orElse<T>(step: Promise<T>, undo: () => Promise<void>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    await undo().catch(() => {});
    throw error;
  }
}
