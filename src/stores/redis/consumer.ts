import type { Consumer } from '../../contracts/broker.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Delivery } from '../../contracts/message.ts';
import {
  asTag,
  MAX_BATCH,
  MAX_BATCH_BYTES,
  type Received,
  type RedisMessages,
  type Settlement,
  toDelivery,
} from './messages.ts';
import { CLOSED_MS, NO_LIST } from './scripts.ts';
import type { RedisStore } from './store.ts';
import { RedisWake } from './wake.ts';

/** Empty queues are looked at so often, whatever is heard of them. */
const LOOK_MS = 20_000;

/** A queue whose key is of another type is told of so often. */
const TELL_MS = 60_000;

/** What a consumer is made with. */
export interface RedisConsumerOptions {
  readonly store: RedisStore;
  readonly messages: RedisMessages;
  readonly queues: readonly string[];
  readonly leaseMs: number;
  /** Called when it has closed. */
  readonly onClose: (consumer: RedisConsumer) => void;
}

/** One window on some queues of a Redis. */
export class RedisConsumer implements Consumer {
  readonly #messages: RedisMessages;
  readonly #wake: RedisWake;
  readonly #leaseMs: number;
  readonly #onClose: (consumer: RedisConsumer) => void;
  readonly #held = new Map<string, Delivery>();
  readonly #closing = new AbortController();
  readonly #receiving = new Set<Promise<unknown>>();
  #queues: readonly string[];
  #toldAt = Number.NEGATIVE_INFINITY;
  /** When all was taken, by the version of {@link RedisWake}, and how long that may be believed. */
  #emptied = { version: -1, until: 0 };
  /** Mean length of the envelopes that came last. */
  #usualBytes = 1;
  /** Where the last message came from: the next one will probably come from there, too. */
  #likeliest: string | undefined;

  constructor({ store, messages, queues, leaseMs, onClose }: RedisConsumerOptions) {
    this.#messages = messages;
    this.#wake = new RedisWake(store, messages);
    this.#leaseMs = leaseMs;
    this.#onClose = onClose;
    this.#queues = [...new Set(queues)];
  }

  /** Begins to listen, so that no message is overlooked later. */
  async open(): Promise<void> {
    await this.#wake.follow(this.#queues);
  }

  async receive(max: number, waitMs: number, signal: AbortSignal): Promise<Delivery[]> {
    const receiving = this.#receive(max, performance.now() + waitMs, signal);
    this.#receiving.add(receiving);
    try {
      return await receiving;
    } finally {
      this.#receiving.delete(receiving);
    }
  }

  ackMany(deliveries: readonly Delivery[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, { what: 'ack' });
  }

  releaseMany(deliveries: readonly Delivery[], delayMs = 0): Promise<ItemFailure[]> {
    return this.#settle(deliveries, { what: 'release', delayMs });
  }

  rejectMany(deliveries: readonly Delivery[], reasons: readonly string[]): Promise<ItemFailure[]> {
    const attempts = deliveries.map(({ attempt }) => attempt);
    return this.#settle(deliveries, { what: 'reject', reasons, attempts });
  }

  deferMany(deliveries: readonly Delivery[], dueAt: readonly number[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, { what: 'defer', dueAt });
  }

  async setQueues(queues: readonly string[]): Promise<void> {
    this.#queues = [...new Set(queues)];
    this.#likeliest = undefined;
    await this.#wake.follow(this.#queues);
    // A receive under way shall look at the new ones.
    this.#wake.wake();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    // What a receive under way may still take is to be released, too.
    await Promise.allSettled(this.#receiving);
    const held = [...this.#held.values()];
    this.#held.clear();
    try {
      // Failures are leases that ended by themselves.
      if (held.length > 0) await this.#messages.settle(held, { what: 'release', delayMs: 0 });
    } finally {
      await this.#wake.close();
      this.#onClose(this);
    }
  }

  async #receive(max: number, deadline: number, signal: AbortSignal): Promise<Delivery[]> {
    const wanted = Math.min(max, MAX_BATCH);
    while (wanted > 0 && this.#queues.length > 0 && !signal.aborted && !this.#closing.signal.aborted) {
      if (this.#mayHaveSome) {
        const deliveries = await this.#take(wanted);
        if (deliveries.length > 0) return deliveries;
        continue;
      }
      const left = deadline - performance.now();
      if (left <= 0) break;
      const { version, until } = this.#emptied;
      const ms = Math.min(left, until - performance.now());
      await this.#wake.wait(version, ms, this.#watchable, this.#queues, signal, this.#closing.signal);
    }
    return [];
  }

  /** False where all was taken the last time, and nothing has happened since. */
  get #mayHaveSome(): boolean {
    return this.#wake.version !== this.#emptied.version || performance.now() >= this.#emptied.until;
  }

  get #watchable(): string {
    return this.#likeliest ?? this.#queues[0] ?? '';
  }

  async #take(wanted: number): Promise<Delivery[]> {
    const { version } = this.#wake;
    const queues = this.#queues;
    // What a batch could not carry would be taken and put back by the server each time.
    const max = Math.max(1, Math.min(wanted, Math.floor(MAX_BATCH_BYTES / this.#usualBytes)));
    const { received, nextMs } = await this.#messages
      .receive(queues, max, this.#leaseMs)
      .catch((error: Error) => this.#told(error));
    if (received.length > 0) {
      // The first queue goes to the back, so that each comes first in its turn.
      if (this.#queues === queues) this.#queues = [...queues.slice(1), ...queues.slice(0, 1)];
      this.#likeliest = received.at(-1)?.tag.list;
      const bytes = received.reduce((sum, { envelope }) => sum + envelope.length, 0);
      this.#usualBytes = bytes / received.length;
    }
    this.#emptied = { version, until: performance.now() + Math.min(nextMs, LOOK_MS) };
    if (nextMs > 0) this.#wake.watch(this.#watchable);
    return this.#deliver(received);
  }

  /**
   * A key that is no list, in the place of one queue, is told of now and then. In between the other queues are served as if
   * that one were empty: a failed receive has whoever called it wait.
   */
  #told(error: Error): { received: Received[]; nextMs: number } {
    const now = performance.now();
    if (!error.message.includes(NO_LIST) || now - this.#toldAt >= TELL_MS) {
      this.#toldAt = now;
      throw error;
    }
    return { received: [], nextMs: CLOSED_MS };
  }

  /** What cannot be read becomes a dead letter here, and the others go on. */
  async #deliver(received: readonly Received[]): Promise<Delivery[]> {
    const deliveries: Delivery[] = [];
    const unreadable: { lease: { queue: string; tag: unknown }; reason: string }[] = [];
    for (const one of received) {
      const queue = this.#messages.layout.queueOf(one.tag.list);
      try {
        const delivery = toDelivery(one, queue);
        deliveries.push(delivery);
        this.#held.set(one.tag.key, delivery);
      } catch (error) {
        unreadable.push({
          lease: { queue, tag: one.tag },
          reason: error instanceof Error ? error.message : String(error),
        });
      }
    }
    if (unreadable.length > 0) {
      await this.#messages.settle(
        unreadable.map(({ lease }) => lease),
        { what: 'reject', reasons: unreadable.map(({ reason }) => reason), attempts: unreadable.map(() => 1) },
      );
    }
    return deliveries;
  }

  async #settle(deliveries: readonly Delivery[], settlement: Settlement): Promise<ItemFailure[]> {
    const failures = await this.#messages.settle(deliveries, settlement);
    // Settled or lost, it is no longer held.
    for (const { tag } of deliveries) this.#held.delete(asTag(tag).key);
    return failures;
  }
}
