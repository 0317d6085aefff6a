import type { Broker, BrokerFeatures, Consumer, DeadLetters, QueueDepth, QueueSpec } from '../../contracts/broker.ts';
import type { Bus } from '../../contracts/bus.ts';
import type { ItemFailure, Recipe } from '../../contracts/common.ts';
import type { Delivery, Lease, Outgoing } from '../../contracts/message.ts';
import { ConfigError } from '../../errors.ts';
import { sleep } from '../../util/sleep.ts';

/** One message that was handed to this process, and how it is ended: the four ways of a delivery. */
export interface Errand {
  readonly delivery: Delivery;
  /** Keeps it for another lease, while it waits here for its time. */
  renew(): Promise<void>;
  ack(): Promise<void>;
  release(delayMs: number): Promise<void>;
  reject(reason: string): Promise<void>;
}

/** What is due so soon is waited for here; a container that waits costs less than another one. */
const waitMs = 5 * 60_000;

/** How an errand ended; `abandon`: it was let go of, as a run whose process died is. */
export type ErrandEnd = 'ack' | 'release' | 'reject' | 'abandon';

/** Hands out one delivery, and ends it. */
export class ErrandConsumer implements Consumer {
  /** Resolves when the delivery has ended. */
  readonly ended: Promise<ErrandEnd>;
  readonly #errand: Errand;
  readonly #leaseMs: number;
  readonly #end: (how: ErrandEnd) => void;
  /** Since when there is room for more though it has not ended: its settlement is under way, or it was abandoned. */
  #askedAt: number | undefined;
  /** When it may be handed out (again); `undefined`: it is out. */
  #dueAt: number | undefined = 0;

  constructor(errand: Errand, leaseMs: number) {
    this.#errand = errand;
    this.#leaseMs = leaseMs;
    const { promise, resolve } = Promise.withResolvers<ErrandEnd>();
    this.ended = promise;
    this.#end = resolve;
  }

  async receive(_max: number, ms: number, signal: AbortSignal): Promise<Delivery[]> {
    const until = Date.now() + ms;
    while (!signal.aborted) {
      const now = Date.now();
      if (this.#dueAt !== undefined && this.#dueAt <= now) {
        this.#dueAt = undefined;
        this.#askedAt = undefined;
        return [this.#errand.delivery];
      }
      if (now >= until) return [];
      if (this.#dueAt === undefined) this.#notice(now);
      else await this.#errand.renew();
      await sleep(Math.min(until - now, (this.#dueAt ?? Number.POSITIVE_INFINITY) - now, this.#leaseMs / 3), signal);
    }
    return [];
  }

  /** Settling takes a lease at most. */
  #notice(now: number): void {
    this.#askedAt ??= now;
    if (now - this.#askedAt > 1.5 * this.#leaseMs) this.#end('abandon');
  }

  ackMany(deliveries: readonly Delivery[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, 'ack', () => this.#errand.ack());
  }

  releaseMany(deliveries: readonly Delivery[], delayMs = 0): Promise<ItemFailure[]> {
    return this.#settle(deliveries, 'release', () => this.#errand.release(delayMs));
  }

  rejectMany(deliveries: readonly Delivery[], reasons: readonly string[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, 'reject', () => this.#errand.reject(reasons[0] ?? ''));
  }

  async deferMany(deliveries: readonly Delivery[], dueAt: readonly number[]): Promise<ItemFailure[]> {
    const left = (dueAt[0] ?? 0) - Date.now();
    if (left > waitMs) return this.releaseMany(deliveries, left);
    if (deliveries.length > 0) this.#dueAt = dueAt[0] ?? 0;
    return [];
  }

  async setQueues(): Promise<void> {}

  /** What is waited for here goes back. */
  async close(): Promise<void> {
    if (this.#dueAt !== undefined) await this.releaseMany([this.#errand.delivery]);
  }

  async #settle(deliveries: readonly Delivery[], how: ErrandEnd, act: () => Promise<void>): Promise<ItemFailure[]> {
    if (deliveries.length === 0) return [];
    await act();
    this.#dueAt = undefined;
    this.#end(how);
    return [];
  }
}

/**
 * Has an application's worker run one message that it did not receive: stands in front of the real broker, which gets all
 * that is sent, and hands out the errand.
 */
export class ErrandBroker implements Broker {
  readonly name: string;
  readonly url: string;
  readonly features: BrokerFeatures;
  readonly deadLetters: DeadLetters;
  readonly bus?: Bus;
  recipe?: Recipe;
  readonly #real: Broker;
  #consumer: ErrandConsumer | undefined;
  #renewer: Pick<Broker, 'extendMany'> | undefined;

  constructor(real: Broker, leaseMs: number) {
    this.#real = real;
    this.name = real.name;
    this.url = real.url;
    this.features = { ...real.features, leaseMs };
    this.deadLetters = real.deadLetters;
    if (real.bus) this.bus = real.bus;
  }

  /** Gives the message that the next consumer hands out, and what renews its lease: here, and by a recipe elsewhere. */
  hand(consumer: ErrandConsumer, renewer: Pick<Broker, 'extendMany'>, recipe: Recipe | undefined): void {
    this.#consumer = consumer;
    this.#renewer = renewer;
    if (recipe) this.recipe = recipe;
  }

  start(): Promise<void> {
    return this.#real.start();
  }

  stop(): Promise<void> {
    return this.#real.stop();
  }

  declareMany(queues: readonly QueueSpec[]): Promise<void> {
    return this.#real.declareMany(queues);
  }

  publishMany(messages: readonly Outgoing[]): Promise<ItemFailure[]> {
    return this.#real.publishMany(messages);
  }

  async consume(): Promise<Consumer> {
    if (this.#consumer) return this.#consumer;
    throw new ConfigError('this process runs one message, and was given none');
  }

  extendMany(leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
    return (this.#renewer ?? this.#real).extendMany(leases, leaseMs);
  }

  listQueues(): Promise<string[]> {
    return this.#real.listQueues();
  }

  /** What waits there is for others. */
  async countMany(queues: readonly string[]): Promise<QueueDepth[]> {
    return queues.map(() => ({ ready: 0, inFlight: 0, delayed: 0, dead: 0 }));
  }

  purge(queue: string): Promise<number> {
    return this.#real.purge(queue);
  }
}
