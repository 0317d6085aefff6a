import type { ChildPoolOptions } from '../contracts/pool.ts';
import { ConfigError } from '../errors.ts';
import { backoffMs } from '../util/backoff.ts';
import { lostError, PoolChild, type PoolChildEvents } from './child.ts';
import type { ChildEnd, ChildKind } from './child-kind.ts';
import { checkSlots } from './slots.ts';

/** Before the next child is started where the last one died without having been of use. */
const restarts = { startMs: 200, maxMs: 30_000 };

/** What the roster needs to know of the pool whose children it keeps. */
export interface RosterParts<Request> extends Pick<PoolChildEvents<Request>, 'onJob' | 'onUnsendable' | 'onOutput'> {
  readonly kind: ChildKind;
  readonly options: Pick<
    ChildPoolOptions<Request, never>,
    | 'slots'
    | 'recipe'
    | 'startTimeoutMs'
    | 'closeTimeoutMs'
    | 'maxTasksPerChild'
    | 'maxMemoryPerChild'
    | 'onTrouble'
    | 'onRoom'
  >;
  /** A child may take a job. */
  onRoom(): void;
  /** What a child that has died leaves behind is to be looked after. */
  onDeath(child: PoolChild<Request>, end: ChildEnd): void;
}

/** The children of a pool: as many as there are slots, each replaced when it is used up, killed or dead. */
export class Roster<Request> {
  readonly #parts: RosterParts<Request>;
  readonly #events: PoolChildEvents<Request>;
  #slots: number;
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
  #onAllEnded: (() => void)[] = [];

  constructor(parts: RosterParts<Request>) {
    this.#parts = parts;
    this.#slots = checkSlots(parts.options.slots);
    this.#events = {
      onReady: (child) => this.#ready(child),
      onJob: parts.onJob,
      onUnsendable: parts.onUnsendable,
      onOutput: parts.onOutput,
      onGrown: (child) => this.replace(child),
      onLeaving: (child) => {
        // For one that was of no use the next must not come at once: see #died.
        if (child.hasProved) this.replace(child);
      },
      onEnd: (child, end) => this.#ended(child, end),
    };
  }

  get state(): 'new' | 'starting' | 'started' | 'stopped' {
    return this.#state;
  }

  get slots(): number {
    return this.#slots;
  }

  /** How many slots have no child for a while, because it does not start. */
  get vacant(): number {
    return this.#retries.size;
  }

  /** How many have jobs. */
  get busy(): number {
    let busy = 0;
    for (const child of this.#children) if (child.jobs.size > 0) busy += 1;
    return busy;
  }

  /** Starts all children at once; rejects with the first error, when all have ended again. */
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

  /** Ends all children, and waits for it. To be called when they have no jobs, or while they start. */
  async stop(): Promise<void> {
    if (this.#state === 'starting') {
      this.#startError ??= new ConfigError(`The pool of ${this.#parts.kind.name} was stopped while it started.`);
      for (const child of this.#alive) child.kill();
    } else if (this.#state === 'started') {
      this.#state = 'stopped';
      for (const timer of this.#retries) clearTimeout(timer);
      this.#retries.clear();
      this.#children.clear();
      for (const child of this.#alive) child.close();
    }
    if (this.#alive.size > 0) await new Promise<void>((resolve) => this.#onAllEnded.push(resolve));
  }

  resize(slots: number): void {
    this.#slots = checkSlots(slots);
    if (this.#state === 'started') this.#shrink();
    this.#fill();
  }

  /** A child for the next job: an idle one, or else the one with the fewest jobs, up to `lookAhead` beyond the one it runs. */
  pick(lookAhead: number): PoolChild<Request> | undefined {
    if (this.#children.size > this.#slots) return undefined;
    let best: PoolChild<Request> | undefined;
    for (const child of this.#children) {
      if (!child.isReady || this.#isUsedUp(child)) continue;
      if (child.jobs.size === 0) return child;
      if (child.jobs.size <= lookAhead && child.jobs.size < (best?.jobs.size ?? Number.POSITIVE_INFINITY)) best = child;
    }
    return best;
  }

  /** A child was sent a job: the successor of one that is used up gets ready while it runs the last one. */
  sent(child: PoolChild<Request>): void {
    if (this.#isUsedUp(child)) child.heir ??= this.#spawn();
  }

  /** A child has begun a job. */
  proved(child: PoolChild<Request>): void {
    child.hasProved = true;
    this.#failures = 0;
  }

  /** A child has nothing to do: is it still needed? */
  idle(child: PoolChild<Request>): void {
    if (!this.#children.has(child)) return;
    if (this.#children.size > this.#slots || (child.isReady && this.#isUsedUp(child))) this.replace(child);
    else this.#parts.onRoom();
  }

  /** Lets a child end, and has another one in its place. */
  replace(child: PoolChild<Request>): void {
    if (child.isReady || child.isStarting) child.close();
    this.#vacate(child);
  }

  /** Ends a child at once, and has another one in its place. */
  kill(child: PoolChild<Request>): void {
    child.kill();
    this.#vacate(child);
  }

  #spawn(): PoolChild<Request> {
    const { kind, options } = this.#parts;
    const { recipe, maxMemoryPerChild: maxMemoryKiB = Number.POSITIVE_INFINITY } = options;
    const { startTimeoutMs = 60_000, closeTimeoutMs = 5_000 } = options;
    const child = new PoolChild(kind, { recipe, maxMemoryKiB, startTimeoutMs, closeTimeoutMs }, this.#events);
    this.#alive.add(child);
    return child;
  }

  get #isFull(): boolean {
    return this.#children.size + this.#retries.size >= this.#slots;
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
    for (const child of this.#children) if (child.jobs.size === 0) this.idle(child);
  }

  #isUsedUp({ taken }: PoolChild<Request>): boolean {
    return taken >= (this.#parts.options.maxTasksPerChild ?? Number.POSITIVE_INFINITY);
  }

  #ready(child: PoolChild<Request>): void {
    if (this.#state === 'starting') {
      for (const each of this.#children) if (!each.isReady) return;
      this.#state = 'started';
      this.#starting?.resolve();
      // In case it was resized meanwhile.
      this.#shrink();
    } else {
      this.idle(child);
    }
  }

  /** The slot of a child goes to its heir, to a new one, or to nobody where there are too many. */
  #vacate(child: PoolChild<Request>): void {
    const { heir } = child;
    child.heir = undefined;
    this.#children.delete(child);
    if (heir && (this.#state === 'stopped' || this.#isFull)) heir.close();
    else if (heir) this.#children.add(heir);
    this.#fill();
    this.#parts.onRoom();
  }

  #ended(child: PoolChild<Request>, end: ChildEnd): void {
    this.#alive.delete(child);
    for (const other of this.#children) if (other.heir === child) other.heir = undefined;
    this.#parts.onDeath(child, end);
    if (this.#state === 'starting') this.#startFailed(child);
    else if (this.#children.has(child)) this.#died(child, end);
    if (this.#alive.size === 0) for (const resolve of this.#onAllEnded.splice(0)) resolve();
  }

  /** A child with a slot died by itself. Where none is of use, new ones come ever more slowly. */
  #died(child: PoolChild<Request>, end: ChildEnd): void {
    if (child.hasProved || child.heir) {
      this.#vacate(child);
      return;
    }
    const { onTrouble } = this.#parts.options;
    this.#children.delete(child);
    const retryMs = backoffMs(this.#failures, restarts);
    this.#failures += 1;
    if (!this.#isFull && this.#state === 'started') this.#retryLater(retryMs);
    const error = child.startError ? this.#explain(child.startError) : lostError(child.title, end);
    if (onTrouble) onTrouble(error, retryMs);
    else process.emitWarning(error);
  }

  #retryLater(ms: number): void {
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      this.#fill();
      this.#parts.options.onRoom?.();
    }, ms);
    this.#retries.add(timer);
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

  #explain(cause: Error): ConfigError {
    const { kind, options } = this.#parts;
    const { module, factory } = options.recipe;
    const times = this.#failures > 1 ? `, ${this.#failures} times in a row` : '';
    return new ConfigError(
      `A child of the pool of ${kind.name}, which runs ${factory}() of ${module}, could not start${times}: ${cause.message}`,
      { cause },
    );
  }
}
