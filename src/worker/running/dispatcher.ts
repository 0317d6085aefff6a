import type { LovageApp } from '../../app/app.ts';
import type { Delivery } from '../../contracts/message.ts';
import type { PoolOutcome } from '../../contracts/pool.ts';
import { type LeaseLostError, TaskRevokedError, WorkerShutdownError } from '../../errors.ts';
import { Bell } from '../../util/bell.ts';
import { within } from '../../util/within.ts';
import type { Gates } from '../gates/gates.ts';
import type { LeaseKeeper } from '../leases/lease-keeper.ts';
import { type Held, type Outcome, type Run, release, type Settlement, type Sorted, unread } from '../outcome.ts';
import type { Settler } from '../settling/settler.ts';
import type { Intake } from '../taking/intake.ts';
import { Quarantine } from '../taking/quarantine.ts';
import { Ahead } from './ahead.ts';
import { Burst } from './burst.ts';
import { EarlyAcks } from './early-acks.ts';
import type { Lanes } from './lanes.ts';
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

/** How long tasks may start one after the other before timers, signals and sockets get their turn. */
const turnMs = 10;

/** Holds the messages between their arrival and their end: hands them to the pool as slots are free, and outcomes to the settler. */
export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #multiplier: number;
  readonly #burst: Burst;
  readonly #ahead: Ahead;
  /** Deliveries that are being read. */
  #arriving = 0;
  /** The end of what arrived last: batches begin in the order in which they came. */
  #begun: Promise<void> = Promise.resolve();
  #waiting: Held[] = [];
  readonly #running = new Map<string, Held>();
  /** Runs that were asked to end because their tasks are revoked. */
  readonly #terminated = new WeakSet<Held>();
  readonly #earlyAcks: EarlyAcks;
  readonly #quarantine: Quarantine;
  #turnEnds = 0;
  #nextJob = 1;
  #closed = false;
  readonly #bell = new Bell();

  /** `multiplier` times as many messages are held as the main lane has slots. */
  constructor(parts: DispatcherParts, multiplier: number) {
    this.#parts = parts;
    const { workerBursts } = parts.app.config;
    this.#burst = new Burst(workerBursts);
    const hasChildren = parts.lanes.main.features.isolation !== 'none';
    this.#ahead = new Ahead(workerBursts && hasChildren, () => this.#trim());
    this.#multiplier = multiplier;
    this.#earlyAcks = new EarlyAcks(parts.settler);
    this.#quarantine = new Quarantine(parts.app, () => this.wake());
  }

  /** What runs now. */
  get running(): readonly Held[] {
    return [...this.#running.values()];
  }

  /** Messages that have not begun. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The main lane has more slots than before, or fewer. */
  resized(): void {
    this.#start();
    this.wake();
  }

  /** How many messages may be held, those that run included. */
  get #capacity(): number {
    const { slots } = this.#parts.lanes.main;
    return slots * this.#multiplier + this.#ahead.size(slots);
  }

  /** How many more messages may come. In a burst, one batch is fetched while the one before it is read and run. */
  room(): number {
    if (this.#quarantine.isOn || this.#ahead.isEnough(this.#waiting.length, this.#parts.lanes.main.slots)) return 0;
    const batch = this.#capacity + this.#burst.size;
    const limit = this.#burst.size > 0 ? 2 * batch : batch;
    return Math.max(0, Math.min(batch, limit - this.#arriving - this.#unfinished));
  }

  /** Read, and not yet at their end, in the main lane. */
  get #unfinished(): number {
    return this.#waiting.length + this.#earlyAcks.count + this.#running.size - this.#parts.lanes.elsewhere;
  }

  /** Resolves when there is room and settlements do not lag behind (finished work would pile up in memory), or at an abort. */
  async hasRoom(signal: AbortSignal): Promise<void> {
    const limit = () => 2 * (this.#capacity + this.#burst.size) + 100;
    await this.#bell.until(() => this.room() > 0 && this.#parts.settler.pending <= limit(), signal);
  }

  /** Has `hasRoom` look again. */
  readonly wake = (): void => this.#bell.ring();

  /** Takes what has been delivered. Resolves when more may be asked for, as far as there is room. */
  async take(deliveries: readonly Delivery[]): Promise<void> {
    const { leases, intake } = this.#parts;
    leases.addMany(deliveries);
    this.#arriving += deliveries.length;
    this.#begun = this.#arrive(deliveries, intake.sort(deliveries), this.#begun);
    if (this.#burst.size === 0) await this.#begun;
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
    const { settler, lanes, log } = this.#parts;
    this.#settle(settled);
    const { alone, others } = this.#quarantine.split(runs);
    const beside = this.#quarantine.isOn ? [...others, ...this.#waiting.splice(0)] : others;
    if (beside.length > 0) {
      this.#giveBack(beside);
      // They must be back in their queue, uncounted, before the suspect begins.
      await settler.drained();
    }
    if (this.#closed) return this.#giveBack(alone);
    const { main, elsewhere, over, laterMs } = lanes.place(alone);
    settler.add(over.map((held) => ({ held, outcome: { kind: 'release', later: laterMs } })));
    for (const held of [...elsewhere, ...main]) log.received(held);
    for (const held of elsewhere) this.#run([held]);
    this.#waiting.push(...main);
    this.#turnEnds = performance.now() + turnMs;
    this.#start();
  }

  /** After a batch that did not end at once, what exceeds the capacity goes back, for other workers. */
  #adapt(wholeBatch: boolean): void {
    const { slots } = this.#parts.lanes.main;
    this.#burst.adapt(wholeBatch && this.#unfinished === 0 && performance.now() < this.#turnEnds, slots);
    if (this.#burst.size === 0) this.#trim();
  }

  /** Gives back what waits beyond the capacity. */
  #trim(): void {
    this.#giveBack(this.#waiting.splice(Math.max(0, this.#capacity - this.#parts.lanes.main.slots)));
    this.wake();
  }

  /** From now on nothing begins; what has not begun is given back. Resolves when the pools have all that will run. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#begun;
    this.#giveBack(this.#drop(() => true));
    this.#ahead.watch(false);
    await this.#earlyAcks.settled();
    // What is acked cannot go back: it keeps its turn.
    const ids = [...this.#running].flatMap(([id, held]) => (held.acked ? [] : [id]));
    this.#parts.lanes.withdraw(new Set(ids), givenBack);
  }

  #giveBack(held: readonly Held[]): void {
    this.#parts.settler.add(held.map(release));
  }

  #settle(settlements: readonly Settlement[]): void {
    this.#parts.settler.add(settlements);
    for (const settlement of settlements) this.#parts.log.settled(settlement);
  }

  /** Asks what still runs to stop, waits a moment, and gives back what does not. Returns how many were running. */
  async abandon(waitMs: number): Promise<number> {
    const { lanes } = this.#parts;
    const { unfinished } = lanes;
    if (unfinished === 0) return 0;
    for (const jobId of this.#running.keys()) lanes.cancel(jobId, givenBack);
    await within(lanes.drained(), waitMs);
    for (const jobId of this.#running.keys()) lanes.kill(jobId, givenBack);
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
    this.#settle(gone.map((held) => ({ held, outcome: { kind: 'revoked', reason: 'revoked' } })));
    for (const [taskId, terminate] of revoked) if (terminate) this.#terminate(taskId);
    this.wake();
  }

  /** Ends a running task: whatever comes of it, REVOKED is its result. */
  #terminate(taskId: string): void {
    for (const [id, held] of this.#running) {
      if (held.taskId !== taskId) continue;
      this.#terminated.add(held);
      this.#parts.lanes.end(id, new TaskRevokedError('terminated'));
    }
  }

  /** Takes out messages that have not begun. */
  #drop(picks: (held: Held) => boolean): Held[] {
    const gone = this.#waiting.filter(picks);
    this.#waiting = this.#waiting.filter((held) => !picks(held));
    for (const held of gone) this.#quarantine.end(held);
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
    this.#giveBack(gone);
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
    const next = this.#waiting.splice(0, Math.max(0, this.#parts.lanes.main.free - this.#earlyAcks.count));
    this.#ahead.watch(this.#waiting.length > 0);
    if (next.length > 0) this.#run(next);
  }

  /** Hands messages to their lanes; those that are acked early are acked now. */
  #run(next: readonly Held[]): void {
    const isLate = ({ definition }: Held) => definition?.options.acksLate ?? this.#parts.app.config.taskAcksLate;
    const early = next.filter((held) => !isLate(held));
    if (early.length > 0) {
      this.#earlyAcks.ack(early, (ours, others) => {
        for (const held of others) this.#quarantine.end(held);
        this.#submit(ours);
        this.#start();
        this.wake();
      });
    }
    this.#submit(early.length > 0 ? next.filter(isLate) : next);
  }

  #submit(runs: readonly Held[]): void {
    const now = performance.now();
    const jobs = runs.flatMap((held) => {
      if (!held.message) return [];
      const id = String(this.#nextJob++);
      this.#running.set(id, held);
      held.startedAt = now;
      const { queue, attempt } = held.delivery;
      return [{ id, held, request: { message: held.message, queue, attempt } }];
    });
    if (jobs.length > 0) this.#parts.lanes.submit(jobs);
  }

  /** It holds messages: some are read, wait, run, or are not settled yet. */
  get busy(): boolean {
    return this.#arriving + this.#waiting.length + this.#running.size + this.#parts.settler.pending > 0;
  }

  /** Takes what has ended. */
  ended(outcomes: readonly PoolOutcome<Run, Outcome>[]): void {
    const settlements = outcomes.flatMap(({ job, outcome }) => {
      const held = this.#running.get(job.id);
      this.#running.delete(job.id);
      // None where it was given back already.
      if (!held) return [];
      if (this.#parts.lanes.isMain(held)) this.#ahead.ended(performance.now() - (held.startedAt ?? 0));
      return [{ held, outcome: this.#terminated.has(held) ? terminated : outcome }];
    });
    for (const { held } of settlements) this.#quarantine.end(held);
    // First of all: a child has nothing to do.
    this.#start();
    this.#settle(settlements);
    this.wake();
  }
}

const givenBack = new WorkerShutdownError('the worker is stopping; the task will run again elsewhere');
const terminated = { kind: 'revoked', reason: 'terminated' } as const;
