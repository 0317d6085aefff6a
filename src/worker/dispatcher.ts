import type { LovageApp } from '../app/app.ts';
import { deliveryLimit } from '../app/task.ts';
import type { Delivery } from '../contracts/broker.ts';
import type { PoolOutcome } from '../contracts/pool.ts';
import { type LeaseLostError, TaskRevokedError, WorkerShutdownError } from '../errors.ts';
import type { Gates } from './gates/gates.ts';
import type { Intake } from './intake.ts';
import type { Lanes } from './lanes.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import type { Held, Outcome, Run, Sorted } from './outcome.ts';
import type { Settler } from './settler.ts';
import type { TaskLog } from './task-log.ts';

export interface DispatcherParts {
  readonly app: LovageApp;
  readonly intake: Intake;
  readonly gates: Pick<Gates, 'drop'>;
  readonly lanes: Lanes;
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
/** A message whose lane is full comes back after this, and more where there are many. */
const laterMs = 250;
const maxLaterMs = 60_000;
/** How long tasks may start one after the other before timers, signals and sockets get their turn. */
const turnMs = 10;

/** Holds the messages between their arrival and their end: hands them to the pool as slots are free, and outcomes to the settler. */
export class Dispatcher {
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
  /** Runs that were asked to end because their tasks are revoked. */
  readonly #terminated = new WeakSet<Held>();
  /** Runs that are being acked before they begin; they have slots already. */
  readonly #acking = new Set<Promise<void>>();
  #ackingRuns = 0;
  #burst = 0;
  /** Messages in a row that found no room in their lane. */
  #over = 0;
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

  /** Read, and not yet at their end, in the main lane. */
  get #unfinished(): number {
    return this.#waiting.length + this.#ackingRuns + this.#running.size - this.#parts.lanes.elsewhere;
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
    const fit = this.#fitting(alone);
    for (const held of fit) log.received(held);
    this.#waiting.push(...fit);
    this.#turnEnds = performance.now() + turnMs;
    this.#start();
  }

  /** Those whose lane has room for them; the others go back for a while, the longer the more there are. */
  #fitting(runs: readonly Held[]): readonly Held[] {
    const { lanes, settler } = this.#parts;
    const main = runs.filter((held) => !lanes.isElsewhere(held));
    if (main.length === runs.length) return runs;
    const over: Held[] = [];
    for (const held of runs) {
      if (!lanes.hasRoomFor(held)) over.push(held);
      else if (lanes.isElsewhere(held)) this.#run([held]);
    }
    this.#over = over.length === 0 ? 0 : this.#over + over.length;
    const later = Math.min(maxLaterMs, laterMs + 10 * this.#over);
    settler.add(over.map((held) => ({ held, outcome: { kind: 'release', later } })));
    return main;
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
    const limit = deliveryLimit(definition, this.#parts.app.config, delivery);
    // Where retries are deliveries, many of them are no sign of a crash.
    return delivery.attempt > 1 && delivery.attempt >= (delivery.ordered ? limit : Math.min(suspectAttempt, limit));
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
    this.#parts.settler.add([...this.#waiting.splice(0), ...this.#parts.gates.drop(() => true)].map(release));
    await Promise.all(this.#acking);
  }

  /** Asks what still runs to stop, waits a moment, and gives back what does not. Returns how many were running. */
  async abandon(waitMs: number): Promise<number> {
    const { lanes } = this.#parts;
    const { unfinished } = lanes;
    if (unfinished === 0) return 0;
    const reason = new WorkerShutdownError('the worker is stopping; the task will run again elsewhere');
    for (const jobId of this.#running.keys()) lanes.cancel(jobId, reason);
    const timer = Promise.withResolvers<void>();
    const waiting = setTimeout(timer.resolve, waitMs);
    await Promise.race([lanes.drained(), timer.promise]);
    clearTimeout(waiting);
    for (const jobId of this.#running.keys()) lanes.kill(jobId, reason);
    const stuck = [...this.#running.values()];
    this.#running.clear();
    this.#parts.settler.add(stuck.map((held) => ({ held, outcome: { kind: 'release', stillRuns: true } })));
    return unfinished;
  }

  /** Takes what was held back for a moment and may begin now. */
  enter(sorted: Sorted): void {
    void this.#begin(sorted);
  }

  /** Ids of tasks that have been held for so long. */
  heldTasks(sinceMs: number): string[] {
    const before = Date.now() - sinceMs;
    const held = [...this.#waiting, ...this.#running.values()].filter(({ receivedAt }) => receivedAt <= before);
    return held.flatMap(({ taskId }) => taskId ?? []);
  }

  /** Tasks that were revoked, by id: they do not begin, and those that run are ended where the value says so. */
  revoke(revoked: ReadonlyMap<string, boolean>): void {
    const gone = this.#drop(({ taskId }) => taskId !== undefined && revoked.has(taskId));
    const settlements = gone.map((held) => ({ held, outcome: { kind: 'revoked', reason: 'revoked' } }) as const);
    this.#parts.settler.add(settlements);
    for (const settlement of settlements) this.#parts.log.settled(settlement);
    for (const [taskId, terminate] of revoked) if (terminate) this.terminate(taskId);
    this.wake();
  }

  /** Ends a running task because it is revoked: whatever comes of it, REVOKED is its result. False where none runs. */
  terminate(taskId: string): boolean {
    const running = [...this.#running].filter(([, held]) => held.taskId === taskId);
    for (const [id, held] of running) {
      this.#terminated.add(held);
      this.#parts.lanes.end(id, new TaskRevokedError('terminated'));
    }
    return running.length > 0;
  }

  /** Takes out messages that have not begun. */
  #drop(picks: (held: Held) => boolean): Held[] {
    const gone = this.#waiting.filter(picks);
    this.#waiting = this.#waiting.filter((held) => !picks(held));
    for (const held of gone) this.#endQuarantine(held);
    return [...gone, ...this.#parts.gates.drop(picks)];
  }

  /** A claim could not be kept: somebody else may run this task now. */
  claimLost(delivery: Delivery, error: LeaseLostError): void {
    this.#lost(delivery, error, () => true);
  }

  /** Somebody else may have this message now: its task is asked to stop, or does not begin. Who runs it once goes on. */
  leaseLost(delivery: Delivery, error: LeaseLostError): void {
    this.#lost(delivery, error, ({ claims }) => claims?.once === undefined);
  }

  #lost(delivery: Delivery, error: LeaseLostError, stops: (held: Held) => boolean): void {
    const gone = this.#drop((held) => held.delivery === delivery);
    // The store will say that it is lost; only so is it forgotten everywhere.
    this.#parts.settler.add(gone.map(release));
    for (const [id, held] of this.#running)
      if (held.delivery === delivery && stops(held)) this.#parts.lanes.cancel(id, error);
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
    const next = this.#waiting.splice(0, Math.max(0, this.#parts.lanes.main.free - this.#ackingRuns));
    if (next.length > 0) this.#run(next);
  }

  /** Hands messages to their lanes; those that are acked early are acked now. */
  #run(next: readonly Held[]): void {
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
    const others = early.filter(({ delivery }) => !ours.has(delivery));
    for (const held of others) this.#endQuarantine(held);
    await this.#parts.settler.dropClaims(others);
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
      return [{ id, held, request: { message: held.message, queue, attempt } }];
    });
    if (jobs.length > 0) this.#parts.lanes.submit(jobs);
  }

  /** Takes what has ended. */
  ended(outcomes: readonly PoolOutcome<Run, Outcome>[]): void {
    const settlements = outcomes.flatMap(({ job, outcome }) => {
      const held = this.#running.get(job.id);
      this.#running.delete(job.id);
      // None where it was given back already.
      if (!held) return [];
      return [{ held, outcome: this.#terminated.has(held) ? terminated : outcome }];
    });
    this.#parts.settler.add(settlements);
    for (const settlement of settlements) this.#parts.log.settled(settlement);
    for (const { held } of settlements) this.#endQuarantine(held);
    this.#start();
    this.wake();
  }
}

const terminated = { kind: 'revoked', reason: 'terminated' } as const;

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
