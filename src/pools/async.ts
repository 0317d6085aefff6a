import type { Pool, PoolFailure, PoolFeatures, PoolJob, PoolOptions, PoolOutcome, PoolRun } from '../contracts/pool.ts';
import { checkLimits, type JobLimits, startLimits } from './limits.ts';
import { checkSlots } from './slots.ts';
import { toError } from './thrown.ts';

export interface AsyncPoolOptions<Request, Outcome> extends Omit<PoolOptions<Request, Outcome>, 'failed'> {
  /** As for every pool. It may be left out where `run` never throws, and no job has a limit or is cancelled while it waits. */
  readonly failed?: PoolOptions<Request, Outcome>['failed'];
  /** A plain value, in place of a promise, says that it was done at once. */
  readonly run: PoolRun<Request, Outcome>;
}

interface Running<Request> {
  readonly job: PoolJob<Request>;
  readonly controller: AbortController;
  limits: JobLimits | undefined;
  /** It has failed, whatever it returns. */
  spoiled?: Error;
  grace?: NodeJS.Timeout;
}

/** How long a spoiled job may go on: it may also never end, because of what spoiled it. */
const graceMs = 5_000;

/**
 * Runs tasks in this process, on its event loop: as many at once as there are slots, which suits work that waits for
 * others. A body that computes without pause holds up the rest, and a running body cannot be killed, only asked to stop.
 * At its hard time limit a job that goes on regardless is given up: it has its outcome and its slot is free, but what it
 * does later is done behind the back of the pool.
 */
export class AsyncPool<Request, Outcome> implements Pool<Request> {
  readonly name: string = 'async';
  readonly features: PoolFeatures = { parallel: false, kill: false, isolation: 'none' };
  readonly #options: AsyncPoolOptions<Request, Outcome>;
  readonly #running = new Map<string, Running<Request>>();
  readonly #waiting: PoolJob<Request>[] = [];
  #slots: number;
  #onDrained: (() => void)[] = [];

  constructor(options: AsyncPoolOptions<Request, Outcome>) {
    this.#options = options;
    this.#slots = checkSlots(options.slots);
  }

  get slots(): number {
    return this.#slots;
  }

  get running(): number {
    return this.#running.size;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get free(): number {
    return Math.max(0, this.#slots - this.#running.size - this.#waiting.length);
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    await this.drained();
  }

  submit(jobs: readonly PoolJob<Request>[]): void {
    this.#waiting.push(...jobs);
    this.#begin([]);
  }

  cancel(jobId: string, reason: Error, mode: 'soft' | 'hard' = 'soft'): boolean {
    const place = this.#waiting.findIndex(({ id }) => id === jobId);
    const [job] = place < 0 ? [] : this.#waiting.splice(place, 1);
    if (job) {
      this.#begin([this.#failed(job, { kind: 'cancelled', error: reason })]);
      return true;
    }
    const running = this.#running.get(jobId);
    if (mode === 'hard' || !running) return false;
    running.controller.abort(reason);
    return true;
  }

  /**
   * Something went wrong in a running job that its own code does not hear of: its signal aborts, and it fails with the error
   * when it ends, or after five seconds. Returns whether there is such a job.
   */
  spoil(picks: (request: Request) => boolean, error: Error): boolean {
    for (const running of this.#running.values()) {
      if (!picks(running.job.request)) continue;
      if (running.spoiled) return true;
      running.spoiled = error;
      running.grace = setTimeout(() => this.#later(running, { kind: 'error', error }), graceMs).unref();
      running.controller.abort(error);
      return true;
    }
    return false;
  }

  withdraw(jobIds: ReadonlySet<string>, reason: Error): void {
    const gone = this.#waiting.filter(({ id }) => jobIds.has(id));
    if (gone.length === 0) return;
    this.#waiting.splice(0, Number.POSITIVE_INFINITY, ...this.#waiting.filter(({ id }) => !jobIds.has(id)));
    this.#begin(gone.map((job) => this.#failed(job, { kind: 'cancelled', error: reason })));
  }

  resize(slots: number): void {
    this.#slots = checkSlots(slots);
    this.#begin([]);
  }

  drained(): Promise<void> {
    if (this.#running.size + this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onDrained.push(resolve));
  }

  /** Begins what waits, as far as there are slots, and tells of it together with what has ended before. */
  #begin(done: PoolOutcome<Request, Outcome>[]): void {
    while (this.#running.size < this.#slots) {
      const job = this.#waiting.shift();
      if (!job) break;
      const ended = this.#run(job);
      if (ended) done.push(ended);
    }
    if (done.length > 0) this.#options.onOutcomes(done);
    this.#checkDrained();
  }

  #run(job: PoolJob<Request>): PoolOutcome<Request, Outcome> | undefined {
    const wrong = checkLimits(job);
    if (wrong) return this.#failed(job, { kind: 'error', error: wrong });
    const running: Running<Request> = { job, controller: new AbortController(), limits: undefined };
    this.#running.set(job.id, running);
    try {
      const outcome = this.#options.run(job.request, running.controller.signal);
      if (!(outcome instanceof Promise)) return this.#ended(running, outcome);
      running.limits = startLimits(
        job,
        (error) => running.controller.abort(error),
        (error) => {
          this.#later(running, { kind: 'timeLimit', error });
          running.controller.abort(error);
        },
      );
      outcome.then(
        (value) => {
          const ended = this.#ended(running, value);
          if (ended) this.#begin([ended]);
        },
        (error) => this.#later(running, { kind: 'error', error: toError(error) }),
      );
      return undefined;
    } catch (error) {
      this.#running.delete(job.id);
      return this.#failed(job, { kind: 'error', error: toError(error) });
    }
  }

  #later(running: Running<Request>, failure: PoolFailure): void {
    if (this.#running.get(running.job.id) !== running) return;
    this.#running.delete(running.job.id);
    running.limits?.clear();
    clearTimeout(running.grace);
    this.#begin([this.#failed(running.job, failure)]);
  }

  /** `undefined` where the job was given up before. */
  #ended(running: Running<Request>, outcome: Outcome): PoolOutcome<Request, Outcome> | undefined {
    const { job, limits, spoiled } = running;
    if (this.#running.get(job.id) !== running) return undefined;
    this.#running.delete(job.id);
    limits?.clear();
    if (!spoiled) return { job, outcome };
    clearTimeout(running.grace);
    return this.#failed(job, { kind: 'error', error: spoiled });
  }

  #failed(job: PoolJob<Request>, failure: PoolFailure): PoolOutcome<Request, Outcome> {
    if (!this.#options.failed) throw failure.error;
    return { job, outcome: this.#options.failed(job, failure) };
  }

  #checkDrained(): void {
    if (this.#running.size + this.#waiting.length === 0) for (const resolve of this.#onDrained.splice(0)) resolve();
  }
}
