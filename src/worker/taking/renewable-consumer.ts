import type { Consumer } from '../../contracts/broker.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Delivery } from '../../contracts/message.ts';
import { isPassing } from '../../errors.ts';
import { within } from '../../util/within.ts';

/** How long a receive may take to notice that it was aborted, and a consumer to close. */
const patienceMs = 5_000;

/** Takes those items of a list that belong to one consumer. */
type Pick = <T>(items: readonly T[]) => readonly T[];

/**
 * A consumer that can be made anew while messages are held. Those it has handed out keep their leases and are settled
 * where they came from, since a delivery may be bound to a connection; the old consumer closes when the last one has
 * ended. One receive at a time.
 */
export class RenewableConsumer implements Consumer {
  readonly #make: () => Promise<Consumer>;
  readonly #retired = new Set<Member>();
  #current: Member;
  #closed = false;

  /** `first` is the consumer to begin with; `make` makes each later one. */
  constructor(first: Consumer, make: () => Promise<Consumer>) {
    this.#current = new Member(first);
    this.#make = make;
  }

  /** Goes on with a new consumer, whatever the old one is doing. */
  async renew(): Promise<void> {
    const next = new Member(await this.#make());
    if (this.#closed) return next.close();
    const old = this.#current;
    this.#current = next;
    this.#retired.add(old);
    await old.leave();
    this.#closeEmpty();
  }

  receive(max: number, waitMs: number, signal: AbortSignal): Promise<Delivery[]> {
    return this.#current.receive(max, waitMs, signal);
  }

  ackMany(deliveries: readonly Delivery[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (consumer, pick) => consumer.ackMany(pick(deliveries)));
  }

  releaseMany(deliveries: readonly Delivery[], delayMs?: number): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (consumer, pick) => consumer.releaseMany(pick(deliveries), delayMs));
  }

  rejectMany(deliveries: readonly Delivery[], reasons: readonly string[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (consumer, pick) => consumer.rejectMany(pick(deliveries), pick(reasons)));
  }

  deferMany(deliveries: readonly Delivery[], dueAt: readonly number[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (consumer, pick) => consumer.deferMany(pick(deliveries), pick(dueAt)));
  }

  setQueues(queues: readonly string[]): Promise<void> {
    return this.#current.consumer.setQueues(queues);
  }

  /** Closes the current consumer, and those before it. A broken one is not waited for for ever: its leases end by themselves. */
  async close(): Promise<void> {
    this.#closed = true;
    const [current] = await Promise.allSettled([this.#current, ...this.#retired].map((member) => member.close()));
    this.#retired.clear();
    if (current?.status === 'rejected') throw current.reason;
  }

  async #settle(
    deliveries: readonly Delivery[],
    act: (consumer: Consumer, pick: Pick) => Promise<ItemFailure[]>,
  ): Promise<ItemFailure[]> {
    if (this.#retired.size === 0) {
      const member = this.#current;
      const failures = await act(member.consumer, (items) => items);
      member.forget(deliveries, failures);
      return failures;
    }
    const failures = await Promise.all(
      [...this.#byMember(deliveries)].map(async ([member, places]) => {
        const some = await act(member.consumer, (items) => items.filter((_, i) => places.includes(i))).catch(
          // The others were attempted, so that this is not the failure of all.
          (error: Error) => places.map((_, index) => ({ index, error })),
        );
        const own = deliveries.filter((_, i) => places.includes(i));
        member.forget(own, some);
        return some.map(({ index, error }) => ({ index: places[index] ?? index, error }));
      }),
    );
    this.#closeEmpty();
    return failures.flat();
  }

  #byMember(deliveries: readonly Delivery[]): ReadonlyMap<Member, readonly number[]> {
    const retired = [...this.#retired];
    return Map.groupBy(
      deliveries.keys(),
      (i) => retired.find((member) => member.holds(deliveries[i])) ?? this.#current,
    );
  }

  #closeEmpty(): void {
    for (const member of this.#retired) {
      if (!member.isIdle) continue;
      this.#retired.delete(member);
      // It holds nothing, and nobody waits for it; it may be broken.
      member.close().catch(() => {});
    }
  }
}

/** One consumer with what it has handed out and is not settled. */
class Member {
  readonly consumer: Consumer;
  readonly #held = new Set<Delivery>();
  readonly #left = new AbortController();
  #signals: readonly [given: AbortSignal, any: AbortSignal] | undefined;
  #receiving: Promise<unknown> | undefined;
  /** Called when the receive under way is to end. */
  #onAbort: (() => void) | undefined;

  constructor(consumer: Consumer) {
    this.consumer = consumer;
  }

  /** It holds nothing and nothing more comes. */
  get isIdle(): boolean {
    return this.#held.size === 0 && this.#receiving === undefined;
  }

  holds(delivery: Delivery | undefined): boolean {
    return delivery !== undefined && this.#held.has(delivery);
  }

  /** Ends its receive; resolves when it has ended. */
  async leave(): Promise<void> {
    this.#left.abort();
    await this.#receiving?.catch(() => {});
  }

  async receive(max: number, waitMs: number, given: AbortSignal): Promise<Delivery[]> {
    const receiving = this.#receive(max, waitMs, this.#signal(given));
    this.#receiving = receiving;
    try {
      return await receiving;
    } finally {
      this.#receiving = undefined;
    }
  }

  /** Returns soon after an abort, also where the consumer does not; what that still gets then goes back. */
  #receive(max: number, waitMs: number, signal: AbortSignal): Promise<Delivery[]> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      let over = false;
      const end = () => {
        over = true;
        clearTimeout(timer);
        this.#onAbort = undefined;
      };
      this.#onAbort = () => {
        timer = setTimeout(() => {
          end();
          resolve([]);
        }, patienceMs);
      };
      if (signal.aborted) this.#onAbort();
      this.consumer.receive(max, waitMs, signal).then(
        (deliveries) => {
          if (over) return this.consumer.releaseMany(deliveries).catch(() => {});
          end();
          for (const delivery of deliveries) this.#held.add(delivery);
          resolve(deliveries);
        },
        (error) => {
          if (over) return;
          end();
          reject(error);
        },
      );
    });
  }

  /** Notes what was settled: all but what will be tried again. */
  forget(deliveries: readonly Delivery[], failures: readonly ItemFailure[]): void {
    const again = new Set<number>();
    for (const { index, error } of failures) if (isPassing(error)) again.add(index);
    deliveries.forEach((delivery, i) => {
      if (!again.has(i)) this.#held.delete(delivery);
    });
  }

  /** Releases what is still leased. */
  async close(): Promise<void> {
    await within(this.consumer.close(), patienceMs);
  }

  /** One that aborts with the given one, or when this consumer is left. Made once, since the same is given every time. */
  #signal(given: AbortSignal): AbortSignal {
    if (this.#signals?.[0] !== given) {
      const any = AbortSignal.any([given, this.#left.signal]);
      any.addEventListener('abort', () => this.#onAbort?.(), { once: true });
      this.#signals = [given, any];
    }
    return this.#signals[1];
  }
}
