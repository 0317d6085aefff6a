import type { LovageApp } from '../app/app.ts';
import type { Autoscale } from '../app/autoscale.ts';
import { Lifecycle } from '../app/lifecycle.ts';
import { type Running, runOutside } from '../app/tasks/current-task.ts';
import { ConfigError, WorkerShutdownError } from '../errors.ts';
import { toError } from '../pools/thrown.ts';
import { type Assembly, assemble } from './assembly.ts';
import { retryLimit } from './life/first-connection.ts';
import type { Grace } from './life/grace.ts';
import { warnOfNamesakes } from './life/namesakes.ts';
import { type Ending, Shutdown } from './life/shutdown.ts';
import { echoMs, isRemapped, listenForSignals, readSignal, type StopMode } from './life/signals.ts';
import { StateKeeper } from './life/state-keeper.ts';
import type { WorkerEvent, WorkerState } from './life/worker-state.ts';
import { isPoolChild } from './running/child-runner.ts';
import type { PoolName } from './running/lanes.ts';
import { watchStrays } from './running/strays.ts';
import type { WorkerCounts } from './running/task-log.ts';
import { type WorkerOptions, type WorkerSetup, workerSetup } from './setup.ts';

/** Runs an application's tasks: puts fetcher, dispatcher, settler and lease keeper together, starts and stops them in order. */
export class Worker {
  readonly app: LovageApp;
  readonly counts: WorkerCounts = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, dead: 0 };
  readonly #setup: WorkerSetup;
  readonly #shutdown: Shutdown;
  /** Aborts when it is to end: a start that waits for its broker is given up. */
  readonly #unwanted = new AbortController();
  readonly #life: StateKeeper;
  #starting: Promise<Ending> | undefined;
  #stopping: Promise<number> | undefined;

  /** @throws ConfigError for an unknown or wrong option */
  constructor(app: LovageApp, options: WorkerOptions = {}) {
    if (isPoolChild()) throw new ConfigError(inChild);
    this.app = app;
    this.#setup = workerSetup(app, options);
    const { grace, softShutdownMs } = this.#setup;
    this.#shutdown = new Shutdown({
      hostname: this.hostname,
      grace,
      softMs: softShutdownMs,
      logger: () => app.logger,
    });
    this.#life = new StateKeeper(
      retryLimit(app.config),
      () => app.logger,
      () => void this.#end('warm', 'it cannot go on').catch(() => {}),
    );
  }

  /** The node name. */
  get hostname(): string {
    return this.#setup.hostname;
  }

  get queues(): readonly string[] {
    return this.#setup.queues;
  }

  /** The main pool. */
  get pool(): PoolName {
    return this.#setup.pool;
  }

  /** How many tasks run at once in the main pool; with `autoscale` now. */
  get concurrency(): number {
    return this.#shutdown.parts?.lanes.main.slots ?? this.#setup.slots;
  }

  /** Between which numbers it sets that by itself, if it does. */
  get autoscale(): Autoscale | undefined {
    return this.#setup.autoscale;
  }

  /** How long its end may take. */
  get grace(): Grace {
    return this.#setup.grace;
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
    const remapped = isRemapped(process.env, (text) => this.app.logger.warn({}, text));
    const stopListening = listenForSignals((name, sinceMs) => {
      const mode = readSignal(name, { mode: this.#shutdown.mode, sinceMs, remapped });
      // What comes of it shows in the state.
      if (mode) this.#end(mode, name).catch(() => {});
      else if (sinceMs >= echoMs) this.#shutdown.remind(name);
    });
    const stopWatchingStrays = watchStrays({
      out: this.app.logger.out,
      onRejection: (reason, running) => this.#rejected(toError(reason), running),
      onExit: (error, running) => this.#spoil(running, error),
    });
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
      stopWatchingStrays();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #rejected(error: Error, running: Running | undefined): void {
    const { message } = running ?? {};
    const fields = message ? { task: message.task, id: message.id, error } : { error };
    const end = running && this.#spoil(running, error) ? ': the task fails' : '';
    this.app.logger.error(fields, `a promise was rejected that nobody handles${end}. Await it, or catch its errors`);
  }

  /** Has a task fail that runs beside others; returns whether it runs here. */
  #spoil({ message }: Running, error: Error): boolean {
    // What follows is the worker's doing, not the task's.
    return runOutside(() => this.#shutdown.parts?.lanes.spoil(message, error) ?? false);
  }

  async #start(): Promise<Ending> {
    const lifecycle = new Lifecycle(this.app, { hostname: this.hostname });
    try {
      await lifecycle.start();
      const parts = { ...(await this.#assembled()), lifecycle };
      this.#shutdown.attach(parts);
      this.#life.happen({ kind: 'started', broker: parts.broker.url });
      parts.fetcher.start();
      parts.watchdog?.start();
      parts.autoscaler?.start();
      parts.revocations.start();
      await lifecycle.ready();
      const { bus } = parts.broker;
      if (bus) void warnOfNamesakes(bus, this.hostname, this.app.logger, this.#unwanted.signal);
      return parts;
    } catch (error) {
      this.#starting = undefined;
      await lifecycle.abandon();
      this.#life.happen({ kind: 'startFailed', error: error as Error });
      throw error;
    }
  }

  #assembled(): Promise<Assembly> {
    const happen = (event: WorkerEvent) => this.#life.happen(event);
    return assemble({ app: this.app, setup: this.#setup, counts: this.counts, happen, signal: this.#unwanted.signal });
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

  async #stop(starting: Promise<Ending>): Promise<number> {
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
