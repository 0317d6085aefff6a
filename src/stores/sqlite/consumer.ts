import { randomInt } from 'node:crypto';
import type { Consumer } from '../../contracts/broker.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Delivery, Lease } from '../../contracts/message.ts';
import { ConfigError, LeaseLostError } from '../../errors.ts';
import { inSlices } from '../../util/slices.ts';
import { unpackLabel } from './label.ts';
import type { Claimed, SqliteMessages, Tag } from './messages.ts';
import type { SqliteStore } from './store.ts';

/** Most messages that are claimed or settled in one transaction. */
export const MAX_BATCH = 1000;

/** What a consumer is made with. */
export interface SqliteConsumerOptions {
  readonly store: SqliteStore;
  readonly messages: SqliteMessages;
  readonly queues: readonly string[];
  readonly leaseMs: number;
  /** Called when it has closed. */
  readonly onClose: (consumer: SqliteConsumer) => void;
}

/** One window on some queues of a SQLite store. */
export class SqliteConsumer implements Consumer {
  readonly #store: SqliteStore;
  readonly #messages: SqliteMessages;
  readonly #leaseMs: number;
  readonly #onClose: (consumer: SqliteConsumer) => void;
  readonly #held = new Map<number, Lease>();
  readonly #closing = new AbortController();
  readonly #receiving = new Set<Promise<unknown>>();
  #queues: readonly string[];

  constructor({ store, messages, queues, leaseMs, onClose }: SqliteConsumerOptions) {
    this.#store = store;
    this.#messages = messages;
    this.#queues = [...new Set(queues)];
    this.#leaseMs = leaseMs;
    this.#onClose = onClose;
  }

  async receive(max: number, waitMs: number, signal: AbortSignal): Promise<Delivery[]> {
    const receiving = this.#receive(Math.min(max, MAX_BATCH), performance.now() + waitMs, signal);
    this.#receiving.add(receiving);
    try {
      return await receiving;
    } finally {
      this.#receiving.delete(receiving);
    }
  }

  ackMany(deliveries: readonly Delivery[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (tag) => this.#messages.remove(tag));
  }

  async releaseMany(deliveries: readonly Delivery[], delayMs = 0): Promise<ItemFailure[]> {
    const dueAt = Date.now() + delayMs;
    const failures = await this.#settle(deliveries, (tag) =>
      delayMs > 0 ? this.#messages.park(tag, dueAt, true) : this.#messages.release(tag),
    );
    this.#store.tasks.notify();
    return failures;
  }

  rejectMany(deliveries: readonly Delivery[], reasons: readonly string[]): Promise<ItemFailure[]> {
    const now = Date.now();
    return this.#settle(deliveries, (tag, i) => this.#messages.bury(tag, reasons[i] ?? '', now));
  }

  async deferMany(deliveries: readonly Delivery[], dueAt: readonly number[]): Promise<ItemFailure[]> {
    const now = Date.now();
    const failures = await this.#settle(deliveries, (tag, i) => this.#messages.park(tag, dueAt[i] ?? now, false));
    this.#store.tasks.notify();
    return failures;
  }

  async setQueues(queues: readonly string[]): Promise<void> {
    this.#queues = [...new Set(queues)];
    // A receive under way shall look at the new ones.
    this.#store.tasks.wakeLocal();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    // What a receive under way may still claim is to be released, too.
    await Promise.allSettled(this.#receiving);
    const held = [...this.#held.values()];
    this.#held.clear();
    this.#onClose(this);
    if (held.length === 0) return;
    // Failures are leases that ended by themselves.
    await settleMany(this.#store, held, (tag) => this.#messages.release(tag));
    this.#store.tasks.notify();
  }

  async #receive(max: number, deadline: number, signal: AbortSignal): Promise<Delivery[]> {
    const { tasks } = this.#store;
    while (max > 0 && !signal.aborted && !this.#closing.signal.aborted) {
      const seen = tasks.version;
      const queues = this.#queues;
      const { ready, nextAt } = await this.#store.read(() => this.#messages.outlook(queues, Date.now()));
      const claimed = ready ? await this.#claim(queues, max) : [];
      if (claimed.length > 0) return claimed;
      const left = deadline - performance.now();
      if (left <= 0) break;
      await tasks.wait(seen, Math.min(left, nextAt - Date.now()), signal, this.#closing.signal);
    }
    return [];
  }

  async #claim(queues: readonly string[], max: number): Promise<Delivery[]> {
    const token = randomInt(1, 2 ** 48 - 1);
    const claimed = await this.#store.write(() => {
      const now = Date.now();
      return this.#messages.claim(queues, max, { token, until: now + this.#leaseMs }, now);
    });
    if (claimed.length === 0) return [];
    // The first queue goes to the back, so that each comes first in its turn.
    if (this.#queues === queues) this.#queues = [...queues.slice(1), ...queues.slice(0, 1)];
    // Others of this process learn when these leases end; those of other processes find out by looking now and then.
    this.#store.tasks.wakeLocal();
    return claimed.map((message) => this.#deliver(message, token));
  }

  #deliver({ id, queue, attempt, body, label }: Claimed, token: number): Delivery {
    const delivery = { queue, message: unpackLabel(label, body), tag: { id, token }, attempt };
    this.#held.set(id, delivery);
    return delivery;
  }

  async #settle(deliveries: readonly Delivery[], one: (tag: Tag, index: number) => boolean): Promise<ItemFailure[]> {
    const failures = await settleMany(this.#store, deliveries, one);
    // Settled or lost, it is no longer held; unless it came to this consumer again in the meantime.
    for (const { tag } of deliveries) {
      if (isTag(tag) && isSame(this.#held.get(tag.id)?.tag, tag)) this.#held.delete(tag.id);
    }
    return failures;
  }
}

/** Does one thing to each of many leases; where it says false, the lease has ended. */
export function settleMany(
  store: SqliteStore,
  leases: readonly Lease[],
  one: (tag: Tag, index: number) => boolean,
): Promise<ItemFailure[]> {
  return inSlices(leases, { maxItems: MAX_BATCH }, (slice, from) =>
    store.write(() => {
      const failures: ItemFailure[] = [];
      slice.forEach(({ queue, tag }, index) => {
        if (!isTag(tag)) throw new ConfigError('expected the tag of a delivery of a sqlite broker, got another value');
        if (!one(tag, from + index)) failures.push({ index, error: leaseLost(queue, tag) });
      });
      return failures;
    }),
  );
}

function leaseLost(queue: string, { id }: Tag): LeaseLostError {
  return new LeaseLostError(
    `message ${id} of queue '${queue}' is no longer leased here: it was settled, or its lease ended. Raise the visibility timeout if this comes often`,
  );
}

function isTag(tag: unknown): tag is Tag {
  return (
    typeof tag === 'object' &&
    tag !== null &&
    'id' in tag &&
    typeof tag.id === 'number' &&
    'token' in tag &&
    typeof tag.token === 'number'
  );
}

function isSame(held: unknown, tag: Tag): boolean {
  return isTag(held) && held.token === tag.token;
}
