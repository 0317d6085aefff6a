import type { ItemFailure } from '../../contracts/common.ts';
import { byGroup } from '../../util/by-group.ts';
import { leaseLost, type SqsQueue } from './api.ts';
import type { SqsEntry } from './batches.ts';
import { attributeNames, CEILING_MS, copyOf, dueOf, number, secondsOf, type Taken, text } from './messages.ts';
import type { SqsQueues } from './queues.ts';

/** A message in our hands. */
export interface Held {
  readonly taken: Taken;
  /** As the application calls its queue. */
  readonly name: string;
  /** Until then it is surely ours; afterwards SQS must be asked. Epoch milliseconds. */
  surelyUntil: number;
  /** A copy is under way to where it belongs: only this one is still to be deleted. */
  replaced?: boolean;
}

/**
 * Ends deliveries in SQS. A standard queue gives a message back as a copy, sent before the old one is deleted: so a release
 * is no delivery, neither for us nor for a redrive policy, and the days of its retention begin anew. A FIFO queue would
 * lose its order by that: there a message is hidden, or shown, where it is.
 */
export class SqsSettling {
  readonly #queues: SqsQueues;

  constructor(queues: SqsQueues) {
    this.#queues = queues;
  }

  ack(held: readonly Held[]): Promise<ItemFailure[]> {
    return byGroup(held, queueOf, (queue, some) => this.#delete(queue, some));
  }

  release(held: readonly Held[], delayMs: number): Promise<ItemFailure[]> {
    const { location } = this.#queues;
    return byGroup(held, queueOf, (queue, some) => {
      if (queue.isFifo) return this.hide(queue, some, () => delayMs);
      const back = { delayMs, dueAt: dueOf(queue, delayMs, location) };
      return this.#replace(queue, queue, some, ({ taken }) =>
        copyOf(taken, queue, location, { ...back, attempts: taken.attempt - 1 }),
      );
    });
  }

  /** Parks messages until they are due; `dueAt` has a time for each. */
  defer(held: readonly Held[], dueAt: readonly number[]): Promise<ItemFailure[]> {
    const { location } = this.#queues;
    const times = new Map(held.map((one, i) => [one, dueAt[i] ?? Date.now()]));
    const left = (one: Held) => Math.max(0, (times.get(one) ?? 0) - Date.now());
    return byGroup(held, queueOf, (queue, some) =>
      queue.isFifo
        ? this.hide(queue, some, left)
        : this.#replace(queue, queue, some, (one) =>
            copyOf(one.taken, queue, location, {
              delayMs: left(one),
              ...(left(one) > location.hopMs && { dueAt: times.get(one) ?? 0 }),
            }),
          ),
    );
  }

  /** To the dead letters. `reasons` has one for each. */
  reject(held: readonly Held[], reasons: readonly string[]): Promise<ItemFailure[]> {
    const why = new Map(held.map((one, i) => [one, reasons[i] ?? '']));
    return byGroup(
      held,
      ({ name }) => name,
      async (name, some) => {
        const dead = await this.#queues.dead(name);
        return byGroup(some, queueOf, (queue, these) =>
          this.#replace(queue, dead, these, ({ taken }, one) =>
            copyOf(taken, dead, this.#queues.location, {
              attempts: taken.attempt,
              group: taken.tag.id,
              also: {
                [attributeNames.reason]: text(why.get(one) ?? ''),
                [attributeNames.died]: number(Date.now()),
                [attributeNames.queue]: text(name),
                ...(taken.group !== undefined && { [attributeNames.group]: text(taken.group) }),
              },
            }),
          ),
        );
      },
    );
  }

  /** Makes sure of messages whose lease may have ended by our clock: whoever still has them has them for another lease. */
  async confirm(held: readonly Held[], leaseMs: number): Promise<ItemFailure[]> {
    const now = Date.now();
    const doubtful = [...held.keys()].filter((i) => now >= (held[i]?.surelyUntil ?? 0));
    const asked = doubtful.flatMap((i) => held[i] ?? []);
    const failures = await byGroup(asked, queueOf, (queue, some) => this.hide(queue, some, () => leaseMs));
    const lost = new Set(failures.map(({ index }) => index));
    asked.forEach((one, i) => {
      if (!lost.has(i)) one.surelyUntil = now + leaseMs / 2;
    });
    return failures.map(({ index, error }) => ({ index: doubtful[index] ?? index, error }));
  }

  /** Hides messages for so long, as far as the 12 hours from their receive allow. */
  hide(queue: SqsQueue, held: readonly Held[], delayMs: (one: Held) => number): Promise<ItemFailure[]> {
    const items = held.map((one) => {
      const left = CEILING_MS - (Date.now() - one.taken.tag.at);
      return { handle: one.taken.tag.handle, seconds: Math.max(0, secondsOf(Math.min(delayMs(one), left))) };
    });
    return queue.api.hideMany(queue, items);
  }

  /** Sends copies, then deletes what they replace. A try that comes after a copy was sent only deletes. */
  async #replace(
    from: SqsQueue,
    to: SqsQueue,
    held: readonly Held[],
    entry: (one: Held, same: Held) => SqsEntry,
  ): Promise<ItemFailure[]> {
    const failures: ItemFailure[] = [];
    const fresh = [...held.keys()].filter((i) => !held[i]?.replaced);
    if (fresh.length > 0) {
      const entries = fresh.flatMap((i) => (held[i] ? [entry(held[i], held[i])] : []));
      for (const { index, error } of await to.api.sendMany(to, entries)) {
        failures.push({ index: fresh[index] ?? index, error });
      }
    }
    const unsent = new Set(failures.map(({ index }) => index));
    const sent = [...held.keys()].filter((i) => !unsent.has(i));
    for (const i of sent) if (held[i]) held[i].replaced = true;
    if (sent.length === 0) return failures;
    const gone = await this.#delete(
      from,
      sent.flatMap((i) => held[i] ?? []),
    ).catch((error: Error) => sent.map((_, index) => ({ index, error })));
    return [...failures, ...gone.map(({ index, error }) => ({ index: sent[index] ?? index, error }))];
  }

  #delete(queue: SqsQueue, held: readonly Held[]): Promise<ItemFailure[]> {
    return queue.api.deleteMany(
      queue,
      held.map(({ taken }) => taken.tag.handle),
    );
  }
}

/** Those of a call that we hold, with where they stood in it; the others are failures. */
export function sortHeld(
  deliveries: readonly { readonly queue: string; readonly tag: unknown }[],
  held: ReadonlyMap<string, Held>,
): { ours: Held[]; places: number[]; failures: ItemFailure[] } {
  const ours: Held[] = [];
  const places: number[] = [];
  const failures: ItemFailure[] = [];
  deliveries.forEach(({ queue, tag }, index) => {
    const one = held.get((tag as { handle: string }).handle);
    if (one) {
      ours.push(one);
      places.push(index);
    } else failures.push({ index, error: leaseLost(queue) });
  });
  return { ours, places, failures };
}

function queueOf({ taken }: Held): SqsQueue {
  return taken.queue;
}
