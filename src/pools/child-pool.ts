import type { ChildPoolOptions, Pool, PoolFailure, PoolFeatures, PoolJob, PoolOutcome } from '../contracts/pool.ts';
import { ConfigError } from '../errors.ts';
import { lostError, type PoolChild } from './child.ts';
import type { ChildJob } from './child-job.ts';
import type { ChildEnd, ChildKind } from './child-kind.ts';
import type { AboutJob } from './child-messages.ts';
import { checkLimits, startLimits } from './limits.ts';
import { unpackError } from './packed-error.ts';
import { unpackValue } from './packed-value.ts';
import { Roster } from './roster.ts';

/** A pool whose jobs run in threads or processes, one at a time in each. */
export class ChildPool<Request, Outcome> implements Pool<Request> {
  readonly name: string;
  readonly features: PoolFeatures;
  readonly #options: ChildPoolOptions<Request, Outcome>;
  readonly #roster: Roster<Request>;
  /** Every job without an outcome. */
  readonly #jobs = new Map<string, ChildJob<Request>>();
  /** Those of them that no child has. */
  readonly #waiting: ChildJob<Request>[] = [];
  readonly #outcomes: PoolOutcome<Request, Outcome>[] = [];
  readonly #onDrained: (() => void)[] = [];

  constructor(kind: ChildKind, options: ChildPoolOptions<Request, Outcome>) {
    this.name = kind.name;
    this.features = kind.features;
    this.#options = options;
    this.#roster = new Roster<Request>({
      kind,
      options,
      onJob: (child, entry, message) => this.#heard(child, entry, message),
      onUnsendable: (child, entry, error) => {
        this.#fail(entry, { kind: 'error', error });
        this.#freed(child);
      },
      onOutput: (output) => {
        if (options.onOutput) options.onOutput(output);
        else process[output.stream].write(`${output.line}\n`);
      },
      onRoom: () => this.#dispatch(),
      onDeath: (child, end) => this.#orphaned(child, end),
    });
  }

  get slots(): number {
    return this.#roster.slots;
  }

  get running(): number {
    return this.#roster.busy;
  }

  get waiting(): number {
    return this.#jobs.size - this.running;
  }

  /** A slot whose child fails to start is not free. */
  get free(): number {
    return Math.max(0, this.slots - this.#roster.vacant - this.#jobs.size);
  }

  /** Starts all children at once. @throws ConfigError where one of them cannot start, with its error as `cause` */
  start(): Promise<void> {
    return this.#roster.start();
  }

  async stop(): Promise<void> {
    await this.drained();
    await this.#roster.stop();
  }

  submit(jobs: readonly PoolJob<Request>[]): void {
    if (this.#roster.state !== 'started') {
      throw new ConfigError(
        `The pool of ${this.name} takes no jobs: it is ${this.#roster.state}. Await start() first.`,
      );
    }
    for (const job of jobs) {
      const entry = { job, child: undefined, begun: false, limits: undefined, reason: undefined, doomed: false };
      this.#jobs.set(job.id, entry);
      const wrong = checkLimits(job);
      if (wrong) this.#fail(entry, { kind: 'error', error: wrong });
      else this.#waiting.push(entry);
    }
    this.#dispatch();
  }

  cancel(jobId: string, reason: Error, mode: 'soft' | 'hard' = 'soft'): boolean {
    const entry = this.#jobs.get(jobId);
    if (!entry) return false;
    const { child } = entry;
    entry.reason = reason;
    if (!child) {
      this.#waiting.splice(this.#waiting.indexOf(entry), 1);
      this.#fail(entry, { kind: 'cancelled', error: reason });
    } else if (mode === 'hard' && isFirst(child, entry)) {
      this.#kill(entry, { kind: 'cancelled', error: reason });
    } else {
      entry.doomed ||= mode === 'hard';
      child.cancel(jobId, reason);
    }
    return true;
  }

  withdraw(jobIds: ReadonlySet<string>, reason: Error): void {
    for (const { job } of this.#waiting.filter((entry) => jobIds.has(entry.job.id))) this.cancel(job.id, reason);
  }

  resize(slots: number): void {
    this.#roster.resize(slots);
  }

  drained(): Promise<void> {
    if (this.#jobs.size === 0 && this.#outcomes.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onDrained.push(resolve));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const child = this.#roster.pick(this.#options.lookAhead ?? 0);
      const entry = child && this.#waiting.shift();
      if (!entry) return;
      child.send(entry);
      this.#roster.sent(child);
    }
  }

  #heard(child: PoolChild<Request>, entry: ChildJob<Request>, message: AboutJob): void {
    if (message.kind === 'begun') {
      this.#begun(child, entry);
      return;
    }
    if (message.kind === 'ended') this.#end(entry, unpackValue(message.outcome) as Outcome);
    else if (message.kind === 'failed') this.#fail(entry, { kind: 'error', error: unpackError(message.error) });
    else this.#skipped(child, entry);
    this.#freed(child);
  }

  /** A child has one job less. */
  #freed(child: PoolChild<Request>): void {
    if (child.jobs.size === 0) this.#roster.idle(child);
    else this.#dispatch();
  }

  #begun(child: PoolChild<Request>, entry: ChildJob<Request>): void {
    const { job, doomed, reason } = entry;
    entry.begun = true;
    this.#roster.proved(child);
    if (doomed && reason) {
      this.#kill(entry, { kind: 'cancelled', error: reason });
    } else {
      entry.limits = startLimits(
        job,
        (error) => child.cancel(job.id, error),
        (error) => this.#kill(entry, { kind: 'timeLimit', error }),
      );
    }
  }

  /** It did not begin in the child that had it. */
  #skipped(child: PoolChild<Request>, entry: ChildJob<Request>): void {
    if (entry.reason) {
      this.#fail(entry, { kind: 'cancelled', error: entry.reason });
    } else {
      child.jobs.delete(entry.job.id);
      waitAgain(entry);
      this.#waiting.unshift(entry);
    }
  }

  /** The job that had begun is lost; those that had not begin elsewhere, before all others. */
  #orphaned(child: PoolChild<Request>, end: ChildEnd): void {
    const again: ChildJob<Request>[] = [];
    for (const entry of child.jobs.values()) {
      if (entry.begun) {
        this.#fail(entry, { kind: 'lost', error: lostError(child.title, end) });
      } else if (entry.reason) {
        this.#fail(entry, { kind: 'cancelled', error: entry.reason });
      } else {
        waitAgain(entry);
        again.push(entry);
      }
    }
    child.jobs.clear();
    this.#waiting.unshift(...again);
    this.#dispatch();
  }

  #kill(entry: ChildJob<Request>, failure: PoolFailure): void {
    const { child } = entry;
    this.#fail(entry, failure);
    if (child) this.#roster.kill(child);
  }

  #fail(entry: ChildJob<Request>, failure: PoolFailure): void {
    this.#end(entry, this.#options.failed(entry.job, failure));
  }

  #end({ job, child, limits }: ChildJob<Request>, outcome: Outcome): void {
    limits?.clear();
    child?.jobs.delete(job.id);
    this.#jobs.delete(job.id);
    if (this.#outcomes.push({ job, outcome }) === 1) queueMicrotask(() => this.#tell());
  }

  #tell(): void {
    this.#options.onOutcomes(this.#outcomes.splice(0));
    if (this.#jobs.size > 0 || this.#outcomes.length > 0) return;
    for (const resolve of this.#onDrained.splice(0)) resolve();
  }
}

/** Makes a job what it was before a child had it. */
function waitAgain<Request>(entry: ChildJob<Request>): void {
  entry.limits?.clear();
  entry.limits = undefined;
  entry.begun = false;
  entry.child = undefined;
}

/** Whether a child runs this job, or will do so next. */
function isFirst<Request>(child: PoolChild<Request>, entry: ChildJob<Request>): boolean {
  for (const first of child.jobs.values()) return first === entry;
  return false;
}
