import type { DeadLetter, DeadLetters } from '../../contracts/broker.ts';
import { type RedisMessages, toMessage } from './messages.ts';
import type { RedisStore } from './store.ts';

const FIELDS = ['queue', 'reason', 'diedAt', 'attempt', 'envelope'] as const;

/** The messages that were given up: a hash for each, and sorted sets of their numbers. */
export class RedisDeadLetters implements DeadLetters {
  readonly #store: RedisStore;
  readonly #messages: RedisMessages;

  constructor(store: RedisStore, messages: RedisMessages) {
    this.#store = store;
    this.#messages = messages;
  }

  async list({ queue, limit = 100 }: { queue?: string; limit?: number } = {}): Promise<DeadLetter[]> {
    if (limit < 1) return [];
    const index = this.#messages.layout.own(queue === undefined ? 'dead' : `dead:of:${queue}`);
    const ids = (await this.#store.command('ZREVRANGE', index, 0, limit - 1)) as string[];
    return (await this.getMany(ids)).filter((letter) => letter !== undefined);
  }

  async getMany(ids: readonly string[]): Promise<(DeadLetter | undefined)[]> {
    if (ids.length === 0) return [];
    const key = (id: string) => this.#messages.layout.own(`dead:letter:${id}`);
    const replies = await this.#store.pipeline(
      ids.map((id) => ['HMGET', key(id), ...FIELDS] as const),
      { buffers: true },
    );
    return ids.map((id, i) => {
      const reply = replies[i];
      if (reply instanceof Error) throw reply;
      return deadLetter(id, reply as (Buffer | null)[]);
    });
  }

  retryMany(ids: readonly string[]): Promise<number> {
    return this.#messages.letters('retry', ids);
  }

  dropMany(ids: readonly string[]): Promise<number> {
    return this.#messages.letters('drop', ids);
  }
}

function deadLetter(id: string, [queue, reason, diedAt, attempt, envelope]: readonly (Buffer | null)[]) {
  if (!queue || !envelope) return undefined;
  return {
    id,
    queue: queue.toString(),
    message: toMessage(envelope),
    reason: String(reason ?? ''),
    diedAt: Number(diedAt),
    attempt: Number(attempt),
  };
}
