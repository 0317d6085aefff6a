import type { ItemFailure } from '../../contracts/common.ts';
import type { Lease } from '../../contracts/message.ts';
import type { ParkedMessage, ParkedMessages } from '../../contracts/moving.ts';
import { LeaseLostError } from '../../errors.ts';
import { inSlices } from '../../util/slices.ts';
import { decodeEnvelope } from '../../wire/envelope.ts';
import { MAX_BATCH, MAX_BATCH_BYTES, type RedisMessages } from './messages.ts';
import type { RedisStore } from './store.ts';

/** The messages in a Redis that are not due yet. */
export class RedisParked implements ParkedMessages {
  readonly #store: RedisStore;
  readonly #messages: RedisMessages;

  constructor(store: RedisStore, messages: RedisMessages) {
    this.#store = store;
    this.#messages = messages;
  }

  async list(queue: string, limit: number): Promise<ParkedMessage[]> {
    const key = this.#messages.layout.own(`delayed:${queue}`);
    const parked: ParkedMessage[] = [];
    for (let from = 0; parked.length < limit; from += MAX_BATCH) {
      const flat = await this.#store.command('ZRANGE', key, from, from + MAX_BATCH - 1, 'WITHSCORES');
      const pairs = flat as string[];
      for (let i = 0; i < pairs.length && parked.length < limit; i += 2) {
        const one = read(queue, pairs[i] ?? '', Number(pairs[i + 1]));
        if (one) parked.push(one);
      }
      if (pairs.length < 2 * MAX_BATCH) break;
    }
    return parked;
  }

  takeMany(messages: readonly Lease[]): Promise<ItemFailure[]> {
    const limits = {
      maxItems: MAX_BATCH,
      maxSize: MAX_BATCH_BYTES,
      sizeOf: ({ tag }: Lease) => String(Object(tag).member).length,
    };
    return inSlices(messages, limits, async (slice) => {
      const places = await this.#messages.takeParked(
        slice.map(({ queue, tag }) => [queue, String(Object(tag).member)]),
      );
      return places.map((index) => ({ index, error: notParked(slice[index]?.queue) }));
    });
  }
}

/** A member is the priority step, one digit, and the envelope. What is no envelope stays, for whoever receives it. */
function read(queue: string, member: string, score: number): ParkedMessage | undefined {
  try {
    return { queue, tag: { member }, dueAt: score, message: decodeEnvelope(member.slice(1)).message };
  } catch {
    return undefined;
  }
}

function notParked(queue: string | undefined): LeaseLostError {
  return new LeaseLostError(`a message of queue '${queue}' is not parked any more: it fell due, or somebody took it`);
}
