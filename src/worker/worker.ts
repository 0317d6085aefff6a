import type { LovageApp } from '../app/app.ts';
import { Lifecycle } from '../app/lifecycle.ts';
import { checkTimeLimits } from '../app/task-options.ts';
import type { Broker } from '../contracts/broker.ts';
import { listenForControl } from '../control/responder.ts';
import { ConfigError, WorkerShutdownError } from '../errors.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../util/options.ts';
import { maxTimerMs } from '../util/sleep.ts';
import { within } from '../util/within.ts';
import { isPoolChild } from './child-runner.ts';
import { Dispatcher } from './dispatcher.ts';
import { Executor } from './executor.ts';
import { Fetcher } from './fetcher.ts';
import { firstConnection, retryLimit } from './first-connection.ts';
import type { Claims } from './gates/claims.ts';
import { Gates } from './gates/gates.ts';
import { claimsFor, needsClaims } from './gates/setup.ts';
import { Intake } from './intake.ts';
import { defaultChildren, Lanes, type PoolName, poolNames } from './lanes.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { nodeName } from './node-name.ts';
import { RenewableConsumer } from './renewable-consumer.ts';
import { Revocations } from './revocations.ts';
import { Settler } from './settler.ts';
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
  readonly #capacity: number;
  readonly #graceMs: number;
  readonly #hurry = new AbortController();
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
    this.#graceMs = (options.shutdownTimeout ?? config.workerShutdownTimeout) * 1000;
    this.#life = new StateKeeper(
      retryLimit(config),
      () => app.logger,
      () => void this.stop().catch(() => {}),
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

  /**
   * Stops: takes nothing more, gives back what has not begun, lets running tasks end within the grace time, then aborts
   * them and gives their messages back. Resolves with 0 when every task ended by itself, 1 when some were aborted.
   * A second call, or `{ now: true }`, cuts the grace time short.
   */
  stop({ now = false } = {}): Promise<number> {
    if (!this.#starting) return Promise.resolve(0);
    if (now || this.#stopping) this.#hurry.abort();
    this.#life.happen({ kind: 'stop' });
    return this.#end(this.#starting);
  }

  /**
   * Runs until SIGTERM or SIGINT (a second one hurries) or an abort of `signal`; resolves with the exit status.
   * @throws WorkerStuckError when it received nothing though there was work, or the error of a broker that stayed away too
   *   long; the worker has stopped then
   */
  async run({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const onState = () => {
      if (this.failure) reject(this.failure);
      else if (this.state === 'stopped') this.#stopping?.then(resolve, reject);
    };
    const onSignal = () => void this.stop();
    const onStray = (error: unknown) => {
      this.app.logger.error({ error }, 'a task left a promise behind that was rejected; await it, or catch its errors');
    };
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal).on('unhandledRejection', onStray);
    signal?.addEventListener('abort', onSignal, { once: true });
    const stopWatching = this.onState(onState);
    try {
      onState();
      // What comes of it shows in the state.
      this.start().catch(() => {});
      if (signal?.aborted) onSignal();
      return await promise;
    } finally {
      stopWatching();
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal).off('unhandledRejection', onStray);
      signal?.removeEventListener('abort', onSignal);
    }
  }

  async #start(): Promise<Parts> {
    const lifecycle = new Lifecycle(this.app, { hostname: this.hostname });
    try {
      await lifecycle.start();
      const parts = { ...(await this.#assemble()), lifecycle };
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
    const { broker, publisher, results } = await firstConnection(app, this.#unwanted.signal);
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
      ask: () => broker.countMany(queues),
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

  /** Stops once, however often it is asked to. */
  #end(starting: Promise<Parts>): Promise<number> {
    if (!this.#stopping) {
      const stopping = this.#stop(starting);
      // A broker that is stuck may never answer; the end must come all the same.
      const limitMs = Math.min(this.#graceMs + stuckMs, maxTimerMs);
      const ending = this.#life.failure ? within(stopping, limitMs).then((status) => status ?? 1) : stopping;
      this.#stopping = ending.finally(() => this.#life.happen({ kind: 'stopped' }));
    }
    return this.#stopping;
  }

  async #stop(starting: Promise<Parts>): Promise<number> {
    this.#unwanted.abort(new WorkerShutdownError('the worker was stopped before it had a connection'));
    const parts = await starting.catch((error) => {
      if (error === this.#unwanted.signal.reason) return undefined;
      throw error;
    });
    if (!parts) return 0;
    const { logger } = this.app;
    const { dispatcher, lanes, settler, leases, claims, revocations } = parts;
    const { consumer, fetcher, watchdog, stopControl, lifecycle } = parts;
    lifecycle.stopping();
    watchdog?.stop();
    await revocations.stop();
    const timeIsUp = new AbortController();
    const timer = setTimeout(() => timeIsUp.abort(), Math.min(this.#graceMs, maxTimerMs));
    const noMoreTime = AbortSignal.any([this.#hurry.signal, timeIsUp.signal]);
    // A store in trouble must not hold up the end: what cannot be settled then comes back by itself.
    noMoreTime.addEventListener('abort', () => settler.hurry(), { once: true });
    if (noMoreTime.aborted) settler.hurry();
    await fetcher.stop();
    await dispatcher.close();
    await Promise.race([lanes.drained(), aborted(noMoreTime)]);
    const unfinished = await dispatcher.abandon(abortMs);
    if (unfinished > 0) logger.warn({ tasks: unfinished }, 'the grace time was over: running tasks were aborted');
    await settler.drained();
    await within(lanes.stop(), childrenMs);
    await lifecycle.stop(noMoreTime);
    clearTimeout(timer);
    await stopControl();
    await leases.stop();
    await claims?.stop();
    const closed = await consumer.close().catch((error: Error) => error);
    if (closed) logger.warn({ error: closed }, 'messages could not be given back; they return when their leases end');
    return unfinished > 0 || closed || settler.failures > 0 || this.#life.failure ? 1 : 0;
  }
}

const inChild =
  'a worker was made in a thread or process of another: these load the file that exports the app, which makes a worker as well. Do that in another file, or inside of `if (import.meta.main)`';

/** How long an aborted task may take to notice. */
const abortMs = 200;
/** How long threads and processes that have nothing to do may take to end. */
const childrenMs = 5_000;
/** How much longer than the grace time the end may take where the worker ends because it cannot go on. */
const stuckMs = 10_000;

interface Parts {
  readonly broker: Broker;
  readonly dispatcher: Dispatcher;
  readonly lanes: Lanes;
  readonly settler: Settler;
  readonly leases: LeaseKeeper;
  readonly claims: Claims | undefined;
  readonly revocations: Revocations;
  readonly consumer: RenewableConsumer;
  readonly fetcher: Fetcher;
  readonly watchdog: Watchdog | undefined;
  readonly stopControl: () => Promise<void>;
  readonly lifecycle: Lifecycle;
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

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
