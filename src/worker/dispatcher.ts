import type { LovageApp } from '../app/app.ts';
import { deliveryLimit } from '../app/task.ts';
import type { Delivery } from '../contracts/broker.ts';
import type { PoolOutcome } from '../contracts/pool.ts';
import { type LeaseLostError, WorkerShutdownError } from '../errors.ts';
import { AsyncPool } from '../pools/async.ts';
import type { Executor } from './executor.ts';
import type { Intake, Sorted } from './intake.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import type { Held, Outcome, Run } from './outcome.ts';
import type { Settler } from './settler.ts';
import type { TaskLog } from './task-log.ts';

export interface DispatcherParts {
  readonly app: LovageApp;
  readonly intake: Intake;
  readonly executor: Executor;
  readonly settler: Settler;
  readonly leases: LeaseKeeper;
  readonly log: TaskLog;
}

/** While tasks end as fast as they begin, up to so many times the slots are asked for at once. */
const burstFactor = 5;
/** A message of this many deliveries may be the one that kills its workers. */
const suspectAttempt = 3;
/** How long a suspect runs with nothing else beside it. */
const quarantineMs = 5_000;
/** How long tasks may start one after the other before timers, signals and sockets get their turn. */
const turnMs = 10;

/** Holds the messages between their arrival and their end: hands them to the pool as slots are free, and outcomes to the settler. */
export class Dispatcher {
  readonly pool: AsyncPool<Run, Outcome>;
  readonly #parts: DispatcherParts;
  readonly #slots: number;
  readonly #capacity: number;
  readonly #bursts: boolean;
  /** Deliveries that are being read. */
  #arriving = 0;
  /** The end of what arrived last: batches begin in the order in which they came. */
  #begun: Promise<void> = Promise.resolve();
  #waiting: Held[] = [];
  readonly #running = new Map<string, Held>();
  /** Runs that are being acked before they begin; they have slots already. */
  readonly #acking = new Set<Promise<void>>();
  #ackingRuns = 0;
  #burst = 0;
  /** The message that runs with nothing new beside it. */
  #suspect: Held | undefined;
  #turnEnds = 0;
  #nextJob = 1;
  #closed = false;
  #wake: (() => void) | undefined;

  /** `slots` run at once; `capacity` are held at once. */
  constructor(parts: DispatcherParts, slots: number, capacity: number) {
    this.#parts = parts;
    this.#slots = slots;
    this.#bursts = parts.app.config.workerBursts;
    this.#capacity = capacity;
    this.pool = new AsyncPool<Run, Outcome>({
      slots,
      run: (run, signal) => parts.executor.run(run, signal),
      onOutcomes: (outcomes) => this.#ended(outcomes),
    });
  }

  /** What runs now. */
  get running(): readonly Held[] {
    return [...this.#running.values()];
  }

  /** How many more messages may come. In a burst, one batch is fetched while the one before it is read and run. */
  room(): number {
    if (this.#suspect) return 0;
    const batch = this.#capacity + this.#burst;
    const limit = this.#burst > 0 ? 2 * batch : batch;
    return Math.max(0, Math.min(batch, limit - this.#arriving - this.#unfinished));
  }

  /** Read, and not yet at their end. */
  get #unfinished(): number {
    return this.#waiting.length + this.#ackingRuns + this.#running.size;
  }

  /** Resolves when there is room and settlements do not lag behind (finished work would pile up in memory), or at an abort. */
  async hasRoom(signal: AbortSignal): Promise<void> {
    const lags = () => this.#parts.settler.pending > 2 * (this.#capacity + this.#burst) + 100;
    while (!signal.aborted && (this.room() === 0 || lags())) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = () => resolve();
      this.#wake = wake;
      signal.addEventListener('abort', wake, { once: true });
      await promise;
      signal.removeEventListener('abort', wake);
    }
  }

  /** Has `hasRoom` look again. */
  readonly wake = (): void => {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  };

  /** Takes what has been delivered. Resolves when more may be asked for, as far as there is room. */
  async take(deliveries: readonly Delivery[]): Promise<void> {
    const { leases, intake } = this.#parts;
    leases.addMany(deliveries);
    this.#arriving += deliveries.length;
    this.#begun = this.#arrive(deliveries, intake.sort(deliveries), this.#begun);
    if (this.#burst === 0) await this.#begun;
  }

  async #arrive(deliveries: readonly Delivery[], sorting: Promise<Sorted>, before: Promise<void>): Promise<void> {
    const sorted = await sorting.catch((error) => {
      this.#parts.app.logger.error({ error }, 'messages could not be read; they go back to their queues');
      return { runs: [], settled: deliveries.map((delivery) => release(unread(delivery))) };
    });
    await before;
    this.#arriving -= deliveries.length;
    await this.#begin(sorted);
    this.#adapt(deliveries.length >= this.#capacity);
    this.wake();
  }

  async #begin({ runs, settled }: Sorted): Promise<void> {
    const { settler, log } = this.#parts;
    settler.add(settled);
    for (const settlement of settled) log.settled(settlement);
    const { alone, others } = this.#quarantine(runs);
    if (others.length > 0) {
      settler.add(others.map(release));
      // They must be back in their queue, uncounted, before the suspect begins.
      await settler.drained();
    }
    for (const held of alone) log.received(held);
    this.#waiting.push(...alone);
    this.#turnEnds = performance.now() + turnMs;
    this.#start();
  }

  /**
   * A message that kills its worker takes along whatever runs beside it, and the same ones each time they are delivered
   * again. So a suspect begins with nothing new beside it: either it shows what it is, or it was a bystander and ends.
   */
  #quarantine(runs: readonly Held[]): { alone: readonly Held[]; others: readonly Held[] } {
    // What was fetched while the suspect was being read.
    if (this.#suspect) return { alone: [], others: runs };
    const suspect = runs.find((held) => this.#isSuspect(held));
    if (!suspect) return { alone: runs, others: [] };
    this.#suspect = suspect;
    setTimeout(() => this.#endQuarantine(suspect), quarantineMs).unref();
    return { alone: [suspect], others: runs.filter((held) => held !== suspect) };
  }

  #isSuspect({ delivery, definition }: Held): boolean {
    const limit = deliveryLimit(definition, this.#parts.app.config);
    return delivery.attempt > 1 && delivery.attempt >= Math.min(suspectAttempt, limit);
  }

  #endQuarantine(suspect: Held | undefined): void {
    if (suspect === undefined || suspect !== this.#suspect) return;
    this.#suspect = undefined;
    this.wake();
  }

  /**
   * Short tasks are taken in bursts: as long as whole batches come and end at once, the next may be twice as large, which
   * spares trips to the store. When one does not end, what exceeds the capacity goes back at once, for other workers.
   */
  #adapt(wholeBatch: boolean): void {
    const ended = this.#unfinished === 0 && performance.now() < this.#turnEnds;
    if (ended && wholeBatch && this.#bursts) {
      this.#burst = Math.min((burstFactor - 1) * this.#slots, 2 * this.#burst + this.#slots);
      return;
    }
    this.#burst = 0;
    const excess = this.#waiting.splice(this.#capacity - this.#slots);
    this.#parts.settler.add(excess.map(release));
  }

  /** From now on nothing begins; what has not begun is given back. Resolves when the pool has all that will run. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#begun;
    this.#parts.settler.add(this.#waiting.splice(0).map(release));
    await Promise.all(this.#acking);
  }

  /** Asks what still runs to stop, waits a moment, and gives back what does not. Returns how many were running. */
  async abandon(waitMs: number): Promise<number> {
    const unfinished = this.pool.running;
    if (unfinished === 0) return 0;
    const reason = new WorkerShutdownError('the worker is stopping; the task will run again elsewhere');
    for (const jobId of this.#running.keys()) this.pool.cancel(jobId, reason);
    const timer = Promise.withResolvers<void>();
    const waiting = setTimeout(timer.resolve, waitMs);
    await Promise.race([this.pool.drained(), timer.promise]);
    clearTimeout(waiting);
    const stuck = [...this.#running.values()];
    this.#running.clear();
    this.#parts.settler.add(stuck.map(release));
    return unfinished;
  }

  /** Somebody else may have this message now: its task is asked to stop, or does not begin. */
  leaseLost(delivery: Delivery, error: LeaseLostError): void {
    const gone = this.#waiting.filter((held) => held.delivery === delivery);
    this.#waiting = this.#waiting.filter((held) => held.delivery !== delivery);
    // The store will say that it is lost; only so is it forgotten everywhere.
    this.#parts.settler.add(gone.map(release));
    for (const [id, held] of this.#running) if (held.delivery === delivery) this.pool.cancel(id, error);
    this.wake();
  }

  /** Starts what waits, as far as there are slots. What is acked early is acked only now, when it really begins. */
  #start(): void {
    if (this.#closed || this.#waiting.length === 0) return;
    if (performance.now() > this.#turnEnds) {
      setImmediate(() => {
        this.#turnEnds = performance.now() + turnMs;
        this.#start();
      });
      return;
    }
    const next = this.#waiting.splice(0, Math.max(0, this.pool.free - this.#ackingRuns));
    if (next.length === 0) return;
    const isLate = ({ definition }: Held) => definition?.options.acksLate ?? this.#parts.app.config.taskAcksLate;
    const early = next.filter((held) => !isLate(held));
    if (early.length > 0) {
      const acking = this.#ackThenRun(early).finally(() => this.#acking.delete(acking));
      this.#acking.add(acking);
    }
    this.#submit(early.length > 0 ? next.filter(isLate) : next);
  }

  async #ackThenRun(early: readonly Held[]): Promise<void> {
    this.#ackingRuns += early.length;
    const ours = await this.#parts.settler.ackEarly(early.map(({ delivery }) => delivery));
    this.#ackingRuns -= early.length;
    for (const held of early) held.acked = true;
    for (const held of early) if (!ours.has(held.delivery)) this.#endQuarantine(held);
    this.#submit(early.filter(({ delivery }) => ours.has(delivery)));
    this.#start();
    this.wake();
  }

  #submit(runs: readonly Held[]): void {
    const jobs = runs.flatMap((held) => {
      if (!held.message) return [];
      const id = String(this.#nextJob++);
      this.#running.set(id, held);
      const { queue, attempt } = held.delivery;
      return [{ id, request: { message: held.message, queue, attempt } }];
    });
    if (jobs.length > 0) this.pool.submit(jobs);
  }

  #ended(outcomes: readonly PoolOutcome<Run, Outcome>[]): void {
    const settlements = outcomes.flatMap(({ job, outcome }) => {
      const held = this.#running.get(job.id);
      this.#running.delete(job.id);
      // None where it was given back already.
      return held ? [{ held, outcome }] : [];
    });
    this.#parts.settler.add(settlements);
    for (const settlement of settlements) this.#parts.log.settled(settlement);
    for (const { held } of settlements) this.#endQuarantine(held);
    this.#start();
    this.wake();
  }
}

function release(held: Held): { held: Held; outcome: Outcome } {
  return { held, outcome: { kind: 'release' } };
}

function unread(delivery: Delivery): Held {
  return {
    delivery,
    taskId: undefined,
    message: undefined,
    definition: undefined,
    acked: false,
    receivedAt: Date.now(),
  };
}
