import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Broker, BrokerFeatures, Consumer } from '../contracts/broker.ts';
import type { Delivery, Outgoing } from '../contracts/message.ts';
import type { WireMessage } from '../wire/message.ts';
import { ChildRunner } from './child-runner.ts';
import { namedMessage } from './message.ts';
import type { Law } from './runner.ts';

/** One store for one test, as the test of a driver provides it. */
export interface BrokerFixture {
  /** A new connection to that store, not started. */
  create(): Broker;
  cleanup(): Promise<void>;
  /** The lease that tests let run out, default 200 ms. Longer where the store counts in seconds. */
  readonly leaseMs?: number;
}

/** How {@link BrokerWorld.publish} sends. */
interface PublishOptions {
  readonly label?: string;
  readonly delayMs?: number;
  readonly priority?: number;
  /** Default: each message has one of its own. */
  readonly groupKey?: string;
}

/** A law for brokers. */
export type BrokerLaw = Law<BrokerWorld>;

const LONG_MS = 60_000;

/** What one law gets to work with: connections, queue names of its own, and child processes; all are closed at the end. */
export class BrokerWorld {
  readonly features: BrokerFeatures;
  /** A short lease, to be waited out. */
  readonly leaseMs: number;
  readonly children = new ChildRunner();
  readonly #fixture: BrokerFixture;
  readonly #first: Broker;
  readonly #open = new Set<Broker>();
  readonly #names = new Map<string, string>();

  constructor(fixture: BrokerFixture) {
    this.#fixture = fixture;
    this.#first = fixture.create();
    this.features = this.#first.features;
    this.leaseMs = fixture.leaseMs ?? 200;
  }

  get recipe() {
    return this.#first.recipe;
  }

  get hasBus(): boolean {
    return this.#first.bus !== undefined;
  }

  get canSeeParked(): boolean {
    return this.#first.parked !== undefined;
  }

  get canPublishOnce(): boolean {
    return this.#first.publishOnce !== undefined;
  }

  get canLookThrough(): boolean {
    return this.#first.lookThrough !== undefined;
  }

  /** A new started connection. */
  async open(): Promise<Broker> {
    const broker = this.#fixture.create();
    this.#open.add(broker);
    await broker.start();
    return broker;
  }

  /** Stops all connections, as when everything is restarted. */
  async stopAll(): Promise<void> {
    for (const broker of this.#open) await broker.stop();
    this.#open.clear();
  }

  /** The name of a queue that no other law uses. */
  queue(label = 'q'): string {
    const name = this.#names.get(label) ?? `${label}-${randomUUID().slice(0, 8)}`;
    this.#names.set(label, name);
    return name;
  }

  /** A consumer of queues by label, with a lease that does not run out by itself. */
  consume(
    broker: Broker,
    { labels = ['q'], leaseMs = LONG_MS }: { labels?: string[]; leaseMs?: number } = {},
  ): Promise<Consumer> {
    return broker.consume(
      labels.map((label) => this.queue(label)),
      this.features.leaseMs === undefined ? {} : { leaseMs },
    );
  }

  /** Publishes messages that are recognised by these ids. */
  async publish(
    broker: Broker,
    ids: readonly string[],
    { label = 'q', delayMs = 0, priority = 0, groupKey }: PublishOptions = {},
  ): Promise<void> {
    const queue = this.queue(label);
    const failures = await broker.publishMany(
      ids.map((id) => ({ ...this.outgoing(namedMessage(id, priority), groupKey), queue, delayMs })),
    );
    assert.deepEqual(failures, []);
  }

  /** A message for a queue, in a group of its own where there are groups. */
  outgoing(message: WireMessage, groupKey: string = randomUUID()): Outgoing {
    return { queue: this.queue(), message, ...(this.features.groups && { groupKey }) };
  }

  /** `undefined` where the store counts no deliveries, and so nothing can be said. */
  assertAttempt(delivery: Delivery | undefined, attempt: number): void {
    assert.equal(delivery?.attempt, this.features.attempts ? attempt : 0);
  }

  /** The same after a release, which counts in some stores. */
  assertAttemptReleased(delivery: Delivery | undefined, attempt: number): void {
    if (!this.features.countsReleases) this.assertAttempt(delivery, attempt);
    else assert.ok((delivery?.attempt ?? 0) >= attempt, `attempt ${delivery?.attempt}`);
  }

  async close(): Promise<void> {
    this.children.killAll();
    await this.stopAll();
    await this.#fixture.cleanup();
  }
}

const NEVER = new AbortController().signal;

/** Receives exactly `count` deliveries, in as many calls as it takes; fails after `ms`. */
export async function take(consumer: Consumer, count: number, ms = 10_000): Promise<Delivery[]> {
  const [started, startedAt] = [performance.now(), Date.now()];
  const deadline = started + ms;
  const got: Delivery[] = [];
  while (got.length < count && performance.now() < deadline) {
    got.push(...(await consumer.receive(count - got.length, deadline - performance.now(), NEVER)));
  }
  // Stores go by the clock of the wall: one that was put back keeps hidden what should be there by now.
  const stepMs = Math.round(Date.now() - startedAt - (performance.now() - started));
  const clock = Math.abs(stepMs) < 100 ? '' : `; meanwhile the clock was put by ${stepMs} ms`;
  assert.equal(got.length, count, `expected ${count} deliveries within ${ms} ms, got ${got.length}${clock}`);
  return got;
}

/** Receives exactly one delivery. */
export async function takeOne(consumer: Consumer, ms?: number): Promise<Delivery> {
  const [delivery] = await take(consumer, 1, ms);
  assert.ok(delivery);
  return delivery;
}

/** Makes sure that nothing is there to receive. */
export async function assertEmpty(consumer: Consumer): Promise<void> {
  const got = await consumer.receive(10, 50, NEVER);
  assert.deepEqual(
    got.map(({ message }) => message.properties.correlation_id),
    [],
  );
}
