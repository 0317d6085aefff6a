import type { ChildPoolOptions, Pool, PoolFailure, PoolFeatures, PoolJob, PoolOutcome } from '../contracts/pool.ts';
import { ConfigError } from '../errors.ts';
import { backoffMs } from '../util/backoff.ts';
import { lostError, PoolChild, type PoolChildEvents } from './child.ts';
import type { ChildJob } from './child-job.ts';
import type { ChildEnd, ChildKind } from './child-kind.ts';
import type { AboutJob } from './child-messages.ts';
import { checkLimits, startLimits } from './limits.ts';
import { unpackError } from './packed-error.ts';
import { unpackValue } from './packed-value.ts';
import { checkSlots } from './slots.ts';

/** Before the next child is started where the last one died without having been of use. */
const restarts = { startMs: 200, maxMs: 30_000 };

/** A pool whose jobs run in threads or processes, one at a time in each. */
export class ChildPool<Request, Outcome> implements Pool<Request> {
  readonly name: string;
  readonly features: PoolFeatures;
  readonly #kind: ChildKind;
  readonly #options: ChildPoolOptions<Request, Outcome>;
  readonly #events: PoolChildEvents<Request>;
  #slots: number;
  /** Every job without an outcome. */
  readonly #jobs = new Map<string, ChildJob<Request>>();
  readonly #waiting: ChildJob<Request>[] = [];
  readonly #outcomes: PoolOutcome<Request, Outcome>[] = [];
  /** Those that have a slot. */
  readonly #children = new Set<PoolChild<Request>>();
  /** Those that exist: also the ones on their way out, and the heirs. */
  readonly #alive = new Set<PoolChild<Request>>();
  /** Slots whose child is to be started later. */
  readonly #retries = new Set<NodeJS.Timeout>();
  /** How many children died one after the other without having been of use. */
  #failures = 0;
  #state: 'new' | 'starting' | 'started' | 'stopped' = 'new';
  #starting: PromiseWithResolvers<void> | undefined;
  #startError: Error | undefined;
  #onDrained: (() => void)[] = [];
  #onAllEnded: (() => void)[] = [];

  constructor(kind: ChildKind, options: ChildPoolOptions<Request, Outcome>) {
    this.name = kind.name;
    this.features = kind.features;
    this.#kind = kind;
    this.#options = options;
    this.#slots = checkSlots(options.slots);
    this.#events = {
      onReady: (child) => this.#ready(child),
      onJob: (child, entry, message) => this.#heard(child, entry, message),
      onUnsendable: (entry, error) => {
        const { child } = entry;
        this.#fail(entry, { kind: 'error', error });
        if (child) this.#idle(child);
      },
      onLeaving: (child) => {
        // For one that was of no use the next must not come at once: see #died.
        if (child.hasProved) this.#replace(child);
      },
      onOutput: (output) => {
        if (options.onOutput) options.onOutput(output);
        else process[output.stream].write(`${output.line}\n`);
      },
      onEnd: (child, end) => this.#ended(child, end),
    };
  }

  get slots(): number {
    return this.#slots;
  }

  get running(): number {
    let running = 0;
    for (const child of this.#children) if (child.jobs.size > 0) running += 1;
    return running;
  }

  get waiting(): number {
    return this.#jobs.size - this.running;
  }

  /** A slot whose child fails to start is not free. */
  get free(): number {
    return Math.max(0, this.#slots - this.#retries.size - this.#jobs.size);
  }

  /** Starts all children at once. @throws ConfigError where one of them cannot start, with its error as `cause` */
  async start(): Promise<void> {
    if (this.#state === 'new') {
      this.#state = 'starting';
      this.#startError = undefined;
      this.#starting = Promise.withResolvers();
      // Whoever called `start` hears of it.
      this.#starting.promise.catch(() => {});
      this.#fill();
    }
    await this.#starting?.promise;
  }

  async stop(): Promise<void> {
    if (this.#state === 'starting') {
      this.#startError ??= new ConfigError(`The pool of ${this.name} was stopped while it started.`);
      for (const child of this.#alive) child.kill();
    } else if (this.#state === 'started') {
      await this.drained();
      this.#state = 'stopped';
      for (const timer of this.#retries) clearTimeout(timer);
      this.#retries.clear();
      this.#children.clear();
      for (const child of this.#alive) child.close();
    }
    await this.#allEnded();
  }

  submit(jobs: readonly PoolJob<Request>[]): void {
    if (this.#state !== 'started') {
      throw new ConfigError(`The pool of ${this.name} takes no jobs: it is ${this.#state}. Await start() first.`);
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

  resize(slots: number): void {
    this.#slots = checkSlots(slots);
    if (this.#state === 'started') this.#shrink();
    this.#fill();
  }

  drained(): Promise<void> {
    if (this.#jobs.size === 0 && this.#outcomes.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onDrained.push(resolve));
  }

  // --- Children ---

  #spawn(): PoolChild<Request> {
    const { recipe, maxMemoryPerChild, startTimeoutMs = 60_000, closeTimeoutMs = 5_000 } = this.#options;
    const tellMemory = maxMemoryPerChild !== undefined;
    const child = new PoolChild(this.#kind, { recipe, tellMemory, startTimeoutMs, closeTimeoutMs }, this.#events);
    this.#alive.add(child);
    return child;
  }

  #fill(): void {
    if (this.#state !== 'starting' && this.#state !== 'started') return;
    while (!this.#isFull) this.#children.add(this.#spawn());
  }

  #shrink(): void {
    for (const timer of this.#retries) {
      if (this.#children.size + this.#retries.size <= this.#slots) break;
      clearTimeout(timer);
      this.#retries.delete(timer);
    }
    // Those that are busy see to it when their job has ended.
    for (const child of this.#children) if (child.jobs.size === 0) this.#idle(child);
  }

  #ready(child: PoolChild<Request>): void {
    if (this.#state === 'starting') {
      for (const each of this.#children) if (!each.isReady) return;
      this.#state = 'started';
      this.#starting?.resolve();
      // In case it was resized meanwhile.
      this.#shrink();
    } else {
      this.#idle(child);
    }
  }

  /** A child has nothing to do: is it still needed? */
  #idle(child: PoolChild<Request>): void {
    if (!this.#children.has(child)) return;
    if (this.#children.size > this.#slots || (child.isReady && this.#isUsedUp(child))) this.#replace(child);
    else this.#dispatch();
  }

  #isUsedUp({ taken }: PoolChild<Request>): boolean {
    return taken >= (this.#options.maxTasksPerChild ?? Number.POSITIVE_INFINITY);
  }

  /** Lets a child end, and has another one in its place. */
  #replace(child: PoolChild<Request>): void {
    if (child.isReady || child.isStarting) child.close();
    this.#vacate(child);
  }

  /** The slot of a child goes to its heir, to a new one, or to nobody where there are too many. */
  #vacate(child: PoolChild<Request>): void {
    const { heir } = child;
    child.heir = undefined;
    this.#children.delete(child);
    if (heir && (this.#state === 'stopped' || this.#isFull)) heir.close();
    else if (heir) this.#children.add(heir);
    this.#fill();
    this.#dispatch();
  }

  get #isFull(): boolean {
    return this.#children.size + this.#retries.size >= this.#slots;
  }

  #ended(child: PoolChild<Request>, end: ChildEnd): void {
    this.#alive.delete(child);
    for (const other of this.#children) if (other.heir === child) other.heir = undefined;
    this.#orphaned(child, end);
    if (this.#state === 'starting') this.#startFailed(child);
    else if (this.#children.has(child)) this.#died(child, end);
    if (this.#alive.size === 0) for (const resolve of this.#onAllEnded.splice(0)) resolve();
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
        entry.child = undefined;
        again.push(entry);
      }
    }
    child.jobs.clear();
    this.#waiting.unshift(...again);
    this.#dispatch();
  }

  /** A child with a slot died by itself. Where none is of use, new ones come ever more slowly. */
  #died(child: PoolChild<Request>, end: ChildEnd): void {
    if (child.hasProved || child.heir) {
      this.#vacate(child);
      return;
    }
    this.#children.delete(child);
    const retryMs = backoffMs(this.#failures, restarts);
    this.#failures += 1;
    if (!this.#isFull && this.#state === 'started') this.#retryLater(retryMs);
    const error = child.startError ? this.#explain(child.startError) : lostError(child.title, end);
    if (this.#options.onTrouble) this.#options.onTrouble(error, retryMs);
    else process.emitWarning(error);
  }

  #retryLater(ms: number): void {
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      this.#fill();
      this.#options.onRoom?.();
    }, ms);
    this.#retries.add(timer);
  }

  #explain(cause: Error): ConfigError {
    const { module, factory } = this.#options.recipe;
    const times = this.#failures > 1 ? `, ${this.#failures} times in a row` : '';
    return new ConfigError(
      `A child of the pool of ${this.name}, which runs ${factory}() of ${module}, could not start${times}: ${cause.message}`,
      { cause },
    );
  }

  /** One is enough: all end, and `start` tells why. */
  #startFailed(child: PoolChild<Request>): void {
    this.#startError ??= this.#explain(child.startError ?? new Error('it ended by itself'));
    this.#children.delete(child);
    for (const other of this.#alive) other.kill();
    if (this.#alive.size > 0) return;
    this.#children.clear();
    this.#state = 'new';
    this.#starting?.reject(this.#startError);
  }

  #allEnded(): Promise<void> {
    if (this.#alive.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onAllEnded.push(resolve));
  }

  // --- Jobs ---

  #dispatch(): void {
    for (let child = this.#pick(); child && this.#waiting.length > 0; child = this.#pick()) {
      const entry = this.#waiting.shift();
      if (!entry) return;
      child.send(entry);
      // Its successor gets ready while it runs the last one.
      if (this.#isUsedUp(child)) child.heir ??= this.#spawn();
    }
  }

  /** An idle child, or else the one with the fewest jobs ahead. */
  #pick(): PoolChild<Request> | undefined {
    if (this.#waiting.length === 0 || this.#children.size > this.#slots) return undefined;
    const { lookAhead = 0 } = this.#options;
    let best: PoolChild<Request> | undefined;
    for (const child of this.#children) {
      if (!child.isReady || this.#isUsedUp(child)) continue;
      if (child.jobs.size === 0) return child;
      if (child.jobs.size <= lookAhead && child.jobs.size < (best?.jobs.size ?? Number.POSITIVE_INFINITY)) best = child;
    }
    return best;
  }

  #heard(child: PoolChild<Request>, entry: ChildJob<Request>, message: AboutJob): void {
    if (message.kind === 'begun') this.#begun(child, entry);
    else if (message.kind === 'skipped') this.#skipped(entry);
    else {
      if (message.kind === 'ended') this.#end(entry, unpackValue(message.outcome) as Outcome);
      else this.#fail(entry, { kind: 'error', error: unpackError(message.error) });
      const { maxMemoryPerChild = Number.POSITIVE_INFINITY } = this.#options;
      if ((message.memoryKiB ?? 0) > maxMemoryPerChild && child.isReady) this.#replace(child);
      else if (child.jobs.size === 0) this.#idle(child);
    }
  }

  #skipped(entry: ChildJob<Request>): void {
    if (entry.reason) {
      this.#fail(entry, { kind: 'cancelled', error: entry.reason });
    } else {
      entry.child?.jobs.delete(entry.job.id);
      entry.child = undefined;
      this.#waiting.unshift(entry);
      this.#dispatch();
    }
  }

  #begun(child: PoolChild<Request>, entry: ChildJob<Request>): void {
    entry.begun = true;
    child.hasProved = true;
    this.#failures = 0;
    if (entry.doomed && entry.reason) {
      this.#kill(entry, { kind: 'cancelled', error: entry.reason });
    } else {
      entry.limits = startLimits(
        entry.job,
        (error) => child.cancel(entry.job.id, error),
        (error) => this.#kill(entry, { kind: 'timeLimit', error }),
      );
    }
  }

  #kill(entry: ChildJob<Request>, failure: PoolFailure): void {
    const { child } = entry;
    this.#fail(entry, failure);
    if (!child) return;
    child.kill();
    this.#vacate(child);
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

/** Whether a child runs this job, or will do so next. */
function isFirst<Request>(child: PoolChild<Request>, entry: ChildJob<Request>): boolean {
  for (const first of child.jobs.values()) return first === entry;
  return false;
}
