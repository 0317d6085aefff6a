import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { LovageApp } from '../app/app.ts';
import { ConfigError, StoreError } from '../errors.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../util/options.ts';
import { sleep } from '../util/sleep.ts';
import { type BacklogReading, backlogOf, formulas } from './backlog.ts';
import { meanRuntimes } from './runtimes.ts';
import type { BacklogSink, ScalingTarget } from './target.ts';

/** The options of a monitor. */
export const monitorOptionTable = {
  queues: option({
    kind: kinds.texts,
    doc: 'Queues whose messages count. Without it: taskQueues, or the default queue.',
  }),
  interval: option({ kind: kinds.seconds(1), default: 60, doc: 'Seconds from one look to the next.' }),
  formula: option({
    kind: kinds.oneOf(...formulas),
    default: 'work',
    doc: "'work': messages that wait or run, over tasks that run or start; 'ready': messages that wait, over tasks that run.",
  }),
  serviceTime: option({
    kind: kinds.seconds(0.001),
    doc: 'Seconds that a run takes. Without it: as workers with --report-runtimes have measured.',
  }),
  concurrency: option({ kind: kinds.int(1), doc: 'Runs at once in one task. Default: workerConcurrency.' }),
  leader: option({
    kind: kinds.flag,
    default: false,
    doc: 'Of all monitors of these queues, only one looks: the one that has the claim, in the result backend.',
  }),
} satisfies OptionTable;

export type MonitorOptions = OptionsOf<typeof monitorOptionTable>;

export interface MonitorParts {
  readonly app: LovageApp;
  readonly target: ScalingTarget;
  readonly sinks: readonly BacklogSink<BacklogReading>[];
}

/** A look may take so long, if the interval is not shorter. */
const patienceMs = 30_000;

/**
 * Looks at queues and tasks, reckons the backlog of a task, and hands it on: once, or in a loop that nothing ends but
 * `stop()`. A look that fails is told of once, and passed over: a wrong value would do more harm than none.
 */
export class BacklogMonitor {
  readonly queues: readonly string[];
  readonly #parts: MonitorParts;
  readonly #options: MonitorOptions;
  readonly #intervalMs: number;
  readonly #holder = `${hostname()}:${process.pid}:${randomUUID()}`;
  readonly #ended = new AbortController();
  #running: Promise<void> | undefined;
  #failures = 0;
  #leads = false;

  /** @throws ConfigError for an unknown or wrong option */
  constructor(parts: MonitorParts, options: MonitorOptions = {}) {
    checkOptions(monitorOptionTable, options, 'the backlog monitor');
    const { config } = parts.app;
    this.#parts = parts;
    this.#options = options;
    this.#intervalMs = (options.interval ?? monitorOptionTable.interval.default) * 1000;
    this.queues = options.queues ?? config.taskQueues ?? [config.taskDefaultQueue];
    if (this.queues.length === 0)
      throw new ConfigError('the backlog monitor needs at least one queue, got an empty list');
  }

  /** Looks once, and hands the reading on. Rejects where that cannot be done. `undefined` where another monitor leads. */
  async once(): Promise<BacklogReading | undefined> {
    const ms = Math.max(5_000, Math.min(patienceMs, this.#intervalMs));
    const signal = AbortSignal.any([AbortSignal.timeout(ms), this.#ended.signal]);
    return unlessAborted(this.#once(signal), signal, () => {
      const what = this.#ended.signal.aborted ? 'the monitor was stopped' : `no answer within ${ms / 1000} s`;
      return new StoreError(`the backlog of ${this.#parts.target.name}: ${what}`);
    });
  }

  async #once(signal: AbortSignal): Promise<BacklogReading | undefined> {
    if (this.#options.leader && !(await this.#claim())) return undefined;
    const reading = await this.read(signal);
    const outcomes = await Promise.allSettled(this.#parts.sinks.map((sink) => sink.take(reading, signal)));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason;
    return reading;
  }

  /** Looks, and hands nothing on. */
  async read(signal = AbortSignal.timeout(patienceMs)): Promise<BacklogReading> {
    const { app, target } = this.#parts;
    const { formula = monitorOptionTable.formula.default, concurrency = app.config.workerConcurrency } = this.#options;
    const broker = await app.broker();
    const [depths, tasks, runtimes] = await Promise.all([
      broker.countMany(this.queues),
      target.counts(signal),
      this.#runtimes(),
    ]);
    return backlogOf({ at: new Date(), queues: this.queues, depths, tasks, formula, runtimes, concurrency });
  }

  /** Begins the loop. `onReading` hears of each look that went well. */
  start(onReading: (reading: BacklogReading) => void = () => {}): void {
    this.#running ??= this.#loop(onReading);
  }

  /** Ends the loop, and the look that is under way, and lets another monitor lead. */
  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#running;
    const { app, target, sinks } = this.#parts;
    if (this.#leads) await this.#release(app).catch(() => {});
    this.#leads = false;
    await Promise.all([target, ...sinks].map((part) => part.close()));
  }

  async #loop(onReading: (reading: BacklogReading) => void): Promise<void> {
    const { logger } = this.#parts.app;
    let next = Date.now();
    while (!this.#ended.signal.aborted) {
      try {
        const reading = await this.once();
        if (this.#failures > 0) logger.warn({ failures: this.#failures }, 'the backlog is known again');
        this.#failures = 0;
        if (reading) onReading(reading);
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        this.#failures += 1;
        const fields = { error, target: this.#parts.target.name };
        const text = 'the backlog could not be read or handed on; trying again';
        if (this.#failures === 1) logger.error(fields, text);
        else logger.debug({ ...fields, failures: this.#failures }, text);
      }
      // Looks keep their beat; those that one which took long has missed are left out.
      next += this.#intervalMs * Math.max(1, Math.ceil((Date.now() - next) / this.#intervalMs));
      await sleep(next - Date.now(), this.#ended.signal);
    }
  }

  async #runtimes(): Promise<ReadonlyMap<string, number>> {
    const { serviceTime } = this.#options;
    if (serviceTime !== undefined) return new Map(this.queues.map((queue) => [queue, serviceTime]));
    return meanRuntimes(this.#parts.app, this.queues);
  }

  #key() {
    return { key: `backlog-monitor:${this.queues.join(',')}:${this.#parts.target.name}`, holder: this.#holder };
  }

  async #release(app: LovageApp): Promise<void> {
    await (await app.results()).backend?.limits?.releaseMany([this.#key()]);
  }

  /** Whether this one leads. A leader that dies is followed by another after two and a half intervals. */
  async #claim(): Promise<boolean> {
    const { backend } = await this.#parts.app.results();
    if (!backend?.limits) {
      const got = backend ? `${backend.name} keeps none` : 'this application has none (backend: false)';
      throw new ConfigError(`leader: expected a result backend that keeps claims; ${got}`);
    }
    const [answer] = await backend.limits.claimMany([{ ...this.#key(), leaseMs: 2.5 * this.#intervalMs }]);
    this.#leads = answer?.granted === true;
    return this.#leads;
  }
}

/** What a promise comes to, or an error as soon as the signal aborts: a store may hang. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal, reason: () => Error): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  // A moment later: whoever hears the signal, too, can say better what went wrong.
  const onAbort = () => setTimeout(() => reject(reason()), 100);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    // What comes of it later is no one's business.
    promise.catch(() => {});
    aborted.catch(() => {});
  }
}
