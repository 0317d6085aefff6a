import type { ItemFailure } from '../../contracts/common.ts';
import type { Lease } from '../../contracts/message.ts';
import { LeaseLostError } from '../../errors.ts';
import { byGroup } from '../../util/by-group.ts';
import type { SqsApi, SqsQueue } from './api.ts';
import { CEILING_MS, type SqsTag, secondsOf } from './messages.ts';
import { isFifoName } from './names.ts';
import type { SqsQueues } from './queues.ts';

/** Renews leases by their tags alone, from any thread or process. */
export class SqsLeases {
  readonly #queues: SqsQueues;
  readonly #api: SqsApi;

  constructor(queues: SqsQueues, api: SqsApi) {
    this.#queues = queues;
    this.#api = api;
  }

  /**
   * SQS allows 12 hours from the receive on, whatever is renewed. A lease that could not be renewed for its whole time any
   * more is refused a little before, while it still lasts: so its task is asked to stop, and its message can be given back
   * as a new one, with 12 hours of its own.
   */
  async extend(leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
    const now = Date.now();
    const seconds = Math.min(secondsOf(leaseMs), CEILING_MS / 1000);
    const isTooLong = ({ tag }: Lease) => now - (tag as SqsTag).at + leaseMs > CEILING_MS;
    const places = [...leases.keys()].filter((i) => !isTooLong(leases[i] as Lease));
    const renewed = await byGroup(
      places.map((i) => leases[i] as Lease),
      ({ tag }) => (tag as SqsTag).url,
      async (url, some) => {
        const queue = await this.#queue(some[0]?.queue ?? '', url);
        const items = some.map(({ tag }) => ({ handle: (tag as SqsTag).handle, seconds }));
        return queue.api.hideMany(queue, items);
      },
    );
    const failures = renewed.map(({ index, error }) => ({ index: places[index] ?? index, error }));
    leases.forEach((lease, index) => {
      if (isTooLong(lease)) failures.push({ index, error: tooLong(lease.queue) });
    });
    return failures.sort((a, b) => a.index - b.index);
  }

  async #queue(name: string, url: string): Promise<SqsQueue> {
    const { predefined } = this.#queues.location;
    if (predefined?.has(name)) return this.#queues.get(name);
    return { name, url, isFifo: isFifoName(url), api: this.#api };
  }
}

function tooLong(queue: string): LeaseLostError {
  return new LeaseLostError(
    `a message of queue '${queue}' was held for nearly 12 hours, and SQS allows no more: it goes back, and its task begins again. Have tasks of such length save checkpoints`,
  );
}
