import type { LovageApp } from '../app/app.ts';
import type { Prepared } from '../app/prepare.ts';
import type { Publisher } from '../app/publisher.ts';
import type { Results } from '../app/results.ts';
import type { ResultRecord } from '../contracts/backend.ts';
import type { Consumer, Delivery } from '../contracts/broker.ts';
import type { ItemFailure } from '../contracts/common.ts';
import { LeaseLostError, LovageError, PublishError } from '../errors.ts';
import { backoffMs } from '../util/backoff.ts';
import { Batcher } from '../util/batcher.ts';
import { sleep } from '../util/sleep.ts';
import { Chords } from './chords.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import type { Settlement } from './outcome.ts';
import { type Plan, Planner } from './plan.ts';

export interface SettlerParts {
  readonly app: LovageApp;
  readonly consumer: Consumer;
  readonly publisher: Publisher;
  readonly results: Results;
  readonly leases: LeaseKeeper;
  readonly hostname: string;
  /** How long a failed step is tried again: as long as the message stays ours. */
  readonly patienceMs: number;
  /** Called when settlements have ended. */
  readonly onSettled: () => void;
}

/** Settlements joined into one pass. */
const maxBatch = 500;

/**
 * Ends deliveries, in this order: retries are sent, results are stored, follow-ups are sent, and only then is the message
 * acked. A crash anywhere in between repeats work and loses none. A step that fails is tried again for as long as the
 * lease lasts; then it is logged and counted, and the message comes back by itself.
 */
export class Settler {
  readonly #parts: SettlerParts;
  readonly #planner: Planner;
  readonly #chords: Chords;
  readonly #batcher: Batcher<Settlement>;
  readonly #open = new Set<Promise<unknown>>();
  #pending = 0;
  #failures = 0;

  constructor(parts: SettlerParts) {
    this.#parts = parts;
    this.#planner = new Planner(parts.app, parts.results, parts.hostname);
    this.#chords = new Chords(parts.app, parts.results, parts.publisher);
    this.#batcher = new Batcher((items) => this.#settle(items), maxBatch);
  }

  /** Settlements not yet ended. */
  get pending(): number {
    return this.#pending;
  }

  /** Settlements that could not be ended. */
  get failures(): number {
    return this.#failures;
  }

  /** Takes settlements; `drained` waits for them. */
  add(settlements: readonly Settlement[]): void {
    if (settlements.length === 0) return;
    this.#pending += settlements.length;
    const ended = this.#batcher
      .addMany(settlements)
      .catch((error) => this.#lost(settlements.length, error as Error))
      .finally(() => {
        this.#pending -= settlements.length;
        this.#open.delete(ended);
        this.#parts.onSettled();
      });
    this.#open.add(ended);
  }

  /** Resolves when all that was added has ended. */
  async drained(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(this.#open);
  }

  /** Acks deliveries before their run (`acksLate: false`). Returns those that are really ours to run. */
  async ackEarly(deliveries: readonly Delivery[]): Promise<ReadonlySet<Delivery>> {
    await this.#parts.leases.removeMany(deliveries);
    const lost = await this.#persist('ack', deliveries, (items) => this.#parts.consumer.ackMany(items));
    return new Set(deliveries.filter((delivery) => !lost.has(delivery)));
  }

  async #settle(settlements: readonly Settlement[]): Promise<[]> {
    const deadline = Date.now() + this.#parts.patienceMs;
    let plans = settlements.map((settlement) => this.#planner.plan(settlement));
    plans = await this.#publish(plans, (plan) => plan.before, deadline);
    plans = await this.#store(plans, deadline);
    plans = await this.#arrive(plans, deadline);
    plans = await this.#publish(plans, (plan) => plan.after, deadline);
    await this.#dispose(plans, deadline);
    return [];
  }

  async #publish(plans: Plan[], pick: (plan: Plan) => readonly Prepared[], deadline: number): Promise<Plan[]> {
    const items = plans.flatMap((plan) => pick(plan).map((prepared) => ({ plan, prepared })));
    if (items.length === 0) return plans;
    const lost = await this.#persist(
      'send',
      items,
      (some) => this.#send(some.map(({ prepared }) => prepared)),
      deadline,
    );
    const stuck = new Set([...lost].map(({ plan }) => plan));
    return plans.filter((plan) => !stuck.has(plan));
  }

  async #send(prepared: readonly Prepared[]): Promise<ItemFailure[]> {
    try {
      await this.#parts.publisher.publishMany(prepared, { retry: false });
      return [];
    } catch (error) {
      if (error instanceof PublishError) return [...error.failures];
      return prepared.map((_, index) => ({ index, error: error as Error }));
    }
  }

  async #store(plans: Plan[], deadline: number): Promise<Plan[]> {
    const { results } = this.#parts;
    const items = plans.flatMap((plan) => plan.records.map((record) => ({ plan, record })));
    if (items.length === 0 || !results.backend) return plans;
    const { backend } = results;
    const store = (some: readonly { record: ResultRecord }[]) =>
      backend.storeMany(
        some.map(({ record }) => record),
        results.ttlMs,
      );
    const lost = await this.#persist('store', items, store, deadline);
    const stuck = new Set([...lost].map(({ plan }) => plan));
    return plans.filter((plan) => !stuck.has(plan));
  }

  async #arrive(plans: Plan[], deadline: number): Promise<Plan[]> {
    const items = plans.flatMap((plan) => (plan.arrival ? [{ plan, arrival: plan.arrival }] : []));
    if (items.length === 0) return plans;
    const lost = await this.#persist(
      'join',
      items,
      (some) => this.#chords.arrive(some.map(({ arrival }) => arrival)),
      deadline,
    );
    const stuck = new Set([...lost].map(({ plan }) => plan));
    return plans.filter((plan) => !stuck.has(plan));
  }

  async #dispose(plans: readonly Plan[], deadline: number): Promise<void> {
    const { consumer, leases } = this.#parts;
    const held = plans.filter((plan) => !plan.held.acked);
    await leases.removeMany(held.map((plan) => plan.held.delivery));
    const of = (kind: Plan['disposition']['kind']) => held.filter((plan) => plan.disposition.kind === kind);
    const deliveries = (some: readonly Plan[]) => some.map((plan) => plan.held.delivery);
    await this.#persist('ack', of('ack'), (some) => consumer.ackMany(deliveries(some)), deadline);
    await this.#persist('release', of('release'), (some) => consumer.releaseMany(deliveries(some)), deadline);
    await this.#persist(
      'reject',
      of('reject'),
      (some) =>
        consumer.rejectMany(
          deliveries(some),
          some.map(({ disposition }) => (disposition.kind === 'reject' ? disposition.reason : '')),
        ),
      deadline,
    );
    await this.#persist(
      'defer',
      of('defer'),
      (some) =>
        consumer.deferMany(
          deliveries(some),
          some.map(({ disposition }) => (disposition.kind === 'defer' ? disposition.dueAt : 0)),
        ),
      deadline,
    );
  }

  /** Does a step for all items, again and again for those that fail for a passing reason. Returns those it was not done for. */
  async #persist<T>(
    what: string,
    items: readonly T[],
    step: (items: readonly T[]) => Promise<ItemFailure[]>,
    deadline = Date.now() + this.#parts.patienceMs,
  ): Promise<ReadonlySet<T>> {
    const lost = new Set<T>();
    let left = items;
    for (let attempt = 0; left.length > 0; attempt += 1) {
      const current = left;
      const failures = await step(current).catch((error: Error) => current.map((_, index) => ({ index, error })));
      const wait = backoffMs(attempt, { startMs: 50, maxMs: 1000 });
      const again: T[] = [];
      for (const { index, error } of failures) {
        const item = current[index];
        if (item === undefined) continue;
        if (isPassing(error) && Date.now() + wait < deadline) again.push(item);
        else {
          lost.add(item);
          this.#lost(1, error, what);
        }
      }
      left = again;
      if (left.length > 0) await sleep(wait);
    }
    return lost;
  }

  #lost(count: number, error: Error, what = 'settle'): void {
    this.#failures += count;
    const { logger } = this.#parts.app;
    if (error instanceof LeaseLostError) {
      logger.warn(
        { what, error },
        'a message was taken from this worker: its lease ran out before it was settled, and it may run again',
      );
    } else {
      logger.error({ what, count, error }, 'a message could not be settled; it will be delivered again');
    }
  }
}

function isPassing(error: Error): boolean {
  return !(error instanceof LovageError) || error.retryable;
}
