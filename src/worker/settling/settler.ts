import type { LovageApp } from '../../app/app.ts';
import { isLater, lookUpChain, lookUpLater } from '../../app/results/later.ts';
import type { Results } from '../../app/results/results.ts';
import { begin, type Launch, needsBegin } from '../../app/sending/launch.ts';
import type { Prepared } from '../../app/sending/prepare.ts';
import type { Publisher } from '../../app/sending/publisher.ts';
import type { ResultRecord } from '../../contracts/backend.ts';
import type { Consumer } from '../../contracts/broker.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Delivery } from '../../contracts/message.ts';
import { isPassing, LeaseLostError } from '../../errors.ts';
import { backoffMs } from '../../util/backoff.ts';
import { Batcher } from '../../util/batcher.ts';
import { sleep } from '../../util/sleep.ts';
import type { Claims } from '../gates/claims.ts';
import { claimsOf } from '../gates/names.ts';
import type { LeaseKeeper } from '../leases/lease-keeper.ts';
import type { Held, Settlement } from '../outcome.ts';
import { Chords } from './chords.ts';
import { callErrbacks } from './errbacks.ts';
import { type ClaimEnds, type Disposition, type Plan, Planner } from './plan.ts';

export interface SettlerParts {
  readonly app: LovageApp;
  readonly consumer: Consumer;
  readonly publisher: Publisher;
  readonly results: Results;
  readonly leases: LeaseKeeper;
  /** `undefined` where the result backend keeps none. */
  readonly claims: Claims | undefined;
  readonly hostname: string;
  /** How long a failed step is tried again. */
  readonly patienceMs: number;
  /** Called when settlements have ended. */
  readonly onSettled: () => void;
}

/** Why a step was not done for an item, or is not known to be: the answer to an earlier try was lost. */
interface Lost {
  readonly error: Error;
  readonly mayBeDone: boolean;
}

/** Outcomes after which the rest of a chain does not run. */
const endings: ReadonlySet<string> = new Set(['failure', 'dead', 'revoked', 'reject']);

/** Settlements joined into one pass. */
const maxBatch = 500;

/**
 * Ends deliveries, in this order: retries are sent, results are stored, follow-ups are sent, claims are ended, and only
 * then is the message acked. A crash anywhere in between repeats work and loses none. A step that fails for a passing reason is tried again
 * for as long as the lease lasts; then the message goes back to its queue. One that can never succeed is the failure of
 * its task, and the message goes to the dead letters. Whatever happens to one settlement, the others of its pass go on,
 * and no message stays held.
 */
export class Settler {
  readonly #parts: SettlerParts;
  readonly #planner: Planner;
  readonly #chords: Chords;
  readonly #batcher: Batcher<Settlement>;
  readonly #open = new Set<Promise<unknown>>();
  readonly #hurry = new AbortController();
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

  /** From now on nothing is tried twice: the worker has no time left. */
  hurry(): void {
    this.#hurry.abort();
  }

  /** Takes settlements; `drained` waits for them. */
  add(settlements: readonly Settlement[]): void {
    if (settlements.length === 0) return;
    this.#pending += settlements.length;
    const ended = this.#batcher
      .addMany(settlements)
      .catch((error: Error) => this.#count(settlements.length, error, 'settle'))
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
    const { leases, consumer } = this.#parts;
    await leases.removeMany(deliveries);
    const began = Date.now();
    const { patienceMs } = this.#parts;
    const lost = await this.#persist('ack', deliveries, (items) => consumer.ackMany(items), began + patienceMs);
    // Renewed not long ago, a lease has at least half of its time left: a message that is gone before was acked by a try
    // whose answer was lost, and nobody else will run it.
    const isStillLeased = Date.now() - began < patienceMs / 2;
    return new Set(deliveries.filter((one) => !lost.has(one) || (lost.get(one)?.mayBeDone && isStillLeased)));
  }

  async #settle(settlements: readonly Settlement[]): Promise<[]> {
    const { publisher, results, claims } = this.#parts;
    const { backend } = results;
    const deadline = Date.now() + this.#parts.patienceMs;
    const send = (items: readonly Prepared[]) => publisher.tryMany(items, { retry: false });
    const store = async (items: readonly ResultRecord[]) => backend?.storeMany(items, results.ttlMs) ?? [];
    const stuck = new Map<Plan, Error>();
    const ready = new Map<Launch, readonly Prepared[]>();
    const step = async <T>(
      what: string,
      plans: readonly Plan[],
      pick: (plan: Plan) => readonly T[],
      act: (items: readonly T[]) => Promise<ItemFailure[]>,
    ) => {
      const items = plans.flatMap((plan) => pick(plan).map((item) => ({ plan, item })));
      if (items.length === 0) return plans;
      const lost = await this.#persist(what, items, (some) => act(some.map(({ item }) => item)), deadline);
      for (const [{ plan }, { error }] of lost) stuck.set(plan, error);
      return lost.size === 0 ? plans : plans.filter((plan) => !stuck.has(plan));
    };
    const looksUp = settlements.some(({ held }) => held.message?.chain?.some(isLater));
    let plans: readonly Plan[] = looksUp
      ? await Promise.all(settlements.map((settlement) => this.#planWithChain(settlement)))
      : settlements.map((settlement) => this.#planner.plan(settlement));
    plans = await step(
      'claim',
      plans,
      (plan) => (plan.claims?.retried ? [plan.claims] : []),
      (some) => this.#endAttempts(some),
    );
    plans = await step('send', plans, (plan) => plan.before, send);
    plans = await step('store', plans, (plan) => plan.records, store);
    plans = await step(
      'join',
      plans,
      (plan) => plan.arrivals ?? [],
      (some) => this.#chords.arrive(some),
    );
    plans = await step(
      'begin',
      plans,
      ({ after }) => (after && needsBegin(this.#parts.app, after) ? [after] : []),
      (some) => this.#begin(some, ready),
    );
    plans = await step('send', plans, ({ after }) => (after && ready.get(after)) ?? after?.messages ?? [], send);
    for (const { errbacks } of plans) if (errbacks?.length) await callErrbacks(this.#parts.app, errbacks);
    plans = await step(
      'claim',
      plans,
      (plan) => (plan.claims?.finished ? [plan.claims.finished] : []),
      async (some) => claims?.finishMany(some) ?? [],
    );
    await this.#dispose(plans, deadline);
    if (stuck.size > 0) await this.#giveUp(stuck);
    const back = new Set([...stuck.keys()].map(({ held }) => held));
    await this.#forget(settlements.filter(({ held }) => !back.has(held)));
    return [];
  }

  /** Works a settlement out, with what follows its task looked up where it is kept in the result backend. */
  async #planWithChain(settlement: Settlement): Promise<Plan> {
    const { held, outcome } = settlement;
    const { message } = held;
    const next = message?.chain?.at(-1);
    const isOver = outcome.kind === 'success' || endings.has(outcome.kind);
    if (!message || !next || !isOver || !message.chain?.some(isLater)) return this.#planner.plan(settlement);
    const { results } = this.#parts;
    try {
      // All of it, if it will not run: each of its tasks has to end.
      const chain =
        outcome.kind === 'success'
          ? [...message.chain.slice(0, -1), await lookUpLater(results, next)]
          : await lookUpChain(results, message.chain);
      const plan = this.#planner.plan({ held: { ...held, message: { ...message, chain } }, outcome });
      return { ...plan, held };
    } catch (error) {
      if (isPassing(error as Error)) return this.#planner.stuck(held, error as Error, true);
      return this.#planner.plan({ held, outcome: { kind: 'failure', error, children: [] } });
    }
  }

  /** Tells the store of chords that are about to be sent. */
  async #begin(launches: readonly Launch[], ready: Map<Launch, readonly Prepared[]>): Promise<ItemFailure[]> {
    const { app, results } = this.#parts;
    const ends = await Promise.allSettled(launches.map(async (one) => ready.set(one, await begin(app, results, one))));
    return ends.flatMap((end, index) => (end.status === 'rejected' ? [{ index, error: end.reason as Error }] : []));
  }

  /** Removes what finished tasks have left behind; where that fails, it vanishes with time. */
  async #forget(settlements: readonly Settlement[]): Promise<void> {
    const { app, results } = this.#parts;
    const old = settlements.flatMap(({ outcome }) => ('forget' in outcome && outcome.forget) || []);
    if (old.length === 0) return;
    await results.backend?.forgetMany(old).catch((error) => app.logger.debug({ error }, 'checkpoints are left behind'));
  }

  /** Ends the messages whose settlement got stuck, each by what its error says of another try. */
  async #giveUp(stuck: ReadonlyMap<Plan, Error>): Promise<void> {
    const { results } = this.#parts;
    const now = Date.now();
    const plans = [...stuck].map(([{ held }, error]) => this.#planner.stuck(held, error, isPassing(error)));
    const records = plans.flatMap((plan) => plan.records);
    if (records.length > 0)
      await this.#persist('store', records, async (some) => results.backend?.storeMany(some, results.ttlMs) ?? [], now);
    const arrivals = plans.flatMap((plan) => plan.arrivals ?? []);
    if (arrivals.length > 0) await this.#persist('join', arrivals, (some) => this.#chords.arrive(some), now);
    await this.#dispose(plans, now);
  }

  async #dispose(plans: readonly Plan[], deadline: number): Promise<void> {
    const { consumer, leases } = this.#parts;
    // Before the messages: whoever gets one next must not be refused.
    await this.#endClaims(plans.flatMap(({ claims }) => (claims && !claims.retried ? [claims] : [])));
    const held = plans.filter((plan) => !plan.held.acked);
    await leases.removeMany(held.map((plan) => plan.held.delivery));
    const end = async <K extends Disposition['kind']>(
      kind: K,
      act: (deliveries: Delivery[], dispositions: Extract<Disposition, { kind: K }>[]) => Promise<ItemFailure[]>,
    ) => {
      const some = held.filter((plan) => plan.disposition.kind === kind);
      const run = (items: readonly Plan[]) =>
        act(
          items.map((plan) => plan.held.delivery),
          items.map((plan) => plan.disposition as Extract<Disposition, { kind: K }>),
        );
      if (some.length > 0) await this.#persist(kind, some, run, deadline);
    };
    await end('ack', (deliveries) => consumer.ackMany(deliveries));
    await end('release', (deliveries) => consumer.releaseMany(deliveries));
    await end('later', (deliveries, when) => releaseLater(consumer, deliveries, when));
    await end('reject', (deliveries, why) =>
      consumer.rejectMany(
        deliveries,
        why.map(({ reason }) => reason),
      ),
    );
    await end('defer', (deliveries, when) =>
      consumer.deferMany(
        deliveries,
        when.map(({ dueAt }) => dueAt),
      ),
    );
  }

  /** Lets go of the claims of messages that turned out to be somebody else's. */
  async dropClaims(held: readonly Held[]): Promise<void> {
    const claims = held.flatMap((one) => (one.claims ? claimsOf(one.claims) : []));
    if (claims.length > 0) await this.#endClaims([{ released: claims, forgotten: claims }]);
  }

  /** Notes that attempts are over, and lets go of their claims before the next ones are sent, which want the same. */
  async #endAttempts(ends: readonly ClaimEnds[]): Promise<ItemFailure[]> {
    const { claims } = this.#parts;
    const failures = (await claims?.markMany(ends.flatMap(({ retried }) => retried ?? []))) ?? [];
    const failed = new Set(failures.map(({ index }) => index));
    await this.#endClaims(ends.filter((_, i) => !failed.has(i)));
    return failures;
  }

  async #endClaims(ends: readonly ClaimEnds[]): Promise<void> {
    if (ends.length === 0) return;
    const { claims } = this.#parts;
    await claims?.releaseMany(ends.flatMap(({ released }) => released));
    await claims?.forget(ends.flatMap(({ forgotten }) => forgotten));
  }

  /** Does a step for all items, again and again for those that fail for a passing reason. Returns those it was not done for. */
  async #persist<T>(
    what: string,
    items: readonly T[],
    step: (items: readonly T[]) => Promise<ItemFailure[]>,
    deadline: number,
  ): Promise<ReadonlyMap<T, Lost>> {
    const lost = new Map<T, Lost>();
    const unanswered = new Set<T>();
    let left = items;
    for (let attempt = 0; left.length > 0; attempt += 1) {
      const current = left;
      const failures = await step(current).catch((error: Error) => current.map((_, index) => ({ index, error })));
      const wait = backoffMs(attempt, { startMs: 50, maxMs: 1000 });
      const again: T[] = [];
      for (const { index, error } of failures) {
        const item = current[index];
        if (item === undefined) continue;
        if (isPassing(error) && Date.now() + wait < deadline && !this.#hurry.signal.aborted) {
          again.push(item);
          unanswered.add(item);
          continue;
        }
        const mayBeDone = error instanceof LeaseLostError && unanswered.has(item);
        lost.set(item, { error, mayBeDone });
        if (mayBeDone)
          this.#parts.app.logger.debug({ what }, 'a message is no longer leased here; it may have been settled');
        else this.#count(1, error, what);
      }
      left = again;
      if (left.length > 0) await sleep(wait, this.#hurry.signal);
    }
    return lost;
  }

  #count(count: number, error: Error, what: string): void {
    this.#failures += count;
    const { logger } = this.#parts.app;
    if (error instanceof LeaseLostError) {
      logger.warn(
        { what, error },
        'a message was taken from this worker: its lease ran out before it was settled, and it may run again',
      );
    } else {
      const end = isPassing(error) ? 'it goes back to its queue' : 'it goes to the dead letters';
      logger.error({ what, count, error }, `a message could not be settled; ${end}`);
    }
  }
}

/** Releases together what is to come back after the same time. */
async function releaseLater(
  consumer: Consumer,
  deliveries: readonly Delivery[],
  when: readonly { readonly delayMs: number }[],
): Promise<ItemFailure[]> {
  const failures: ItemFailure[] = [];
  const places = Map.groupBy(deliveries.keys(), (i) => when[i]?.delayMs ?? 0);
  for (const [delayMs, group] of places) {
    const some = group.flatMap((i) => deliveries[i] ?? []);
    const failed = await consumer
      .releaseMany(some, delayMs)
      .catch((error: Error) => group.map((_, index) => ({ index, error })));
    for (const { index, error } of failed) failures.push({ index: group[index] ?? index, error });
  }
  return failures;
}
