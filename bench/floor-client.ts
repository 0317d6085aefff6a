import { Redis } from 'ioredis';
import { newId } from '../src/util/ids.ts';
import { type BenchTask, benchApp } from './app.ts';
import type { StageClient } from './client.ts';
import { BATCH, envelopesLike, QUEUE, RESULT } from './floor.ts';
import { Followed } from './followed.ts';

/** The producer of the floor. It knows the no-op task only. */
export class FloorClient implements StageClient {
  readonly #url: string;
  readonly #client: Redis;
  readonly #listener: Redis;
  readonly #waiting = new Map<string, (stored: string) => void>();
  #envelope: ReturnType<typeof envelopesLike> = () => '';
  #followed = this.#follow([]);

  constructor(url: string) {
    this.#url = url;
    this.#client = new Redis(url, { protocol: 2, lazyConnect: true });
    this.#listener = this.#client.duplicate();
  }

  async connect(): Promise<void> {
    const { app, noop } = benchApp(this.#url);
    try {
      await noop.delay(0);
    } finally {
      await app.close();
    }
    await this.#client.connect();
    this.#envelope = envelopesLike((await this.#client.lpop(QUEUE)) ?? '{}');
    await this.#client.flushall();
    await this.#listener.connect();
    this.#listener.on('pmessage', (_pattern: string, channel: string, stored: string) =>
      this.#waiting.get(channel)?.(stored),
    );
    await this.#listener.psubscribe(`${RESULT}*`);
  }

  async enqueue(
    _task: BenchTask,
    arg: (i: number) => number,
    count: number,
    mode: 'bulk' | 'await' = 'bulk',
  ): Promise<void> {
    const ids = Array.from({ length: count }, newId);
    const envelopes = (from: number, to: number) =>
      ids.slice(from, to).map((id, i) => this.#envelope(id, newId(), arg(from + i)));
    if (mode === 'await') for (let i = 0; i < count; i++) await this.#client.lpush(QUEUE, ...envelopes(i, i + 1));
    else {
      // The next batch is made while the server has the one before.
      let before: Promise<unknown> | undefined;
      for (let from = 0; from < count; from += BATCH) {
        const pushed = this.#client.lpush(QUEUE, ...envelopes(from, from + BATCH));
        await before;
        before = pushed;
      }
      await before;
    }
    this.#followed = this.#follow(ids);
  }

  countDone(): Promise<number> {
    return this.#followed.countDone();
  }

  span(): Promise<{ first: number; last: number }> {
    return this.#followed.span();
  }

  async roundTrip(i: number): Promise<number> {
    const id = newId();
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#waiting.set(RESULT + id, resolve);
    await this.#client.lpush(QUEUE, this.#envelope(id, newId(), i));
    const stored = await promise;
    this.#waiting.delete(RESULT + id);
    return JSON.parse(stored).result;
  }

  async chords(): Promise<void> {
    throw new Error('the floor has no chords');
  }

  async close(): Promise<void> {
    this.#client.disconnect();
    this.#listener.disconnect();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #follow(ids: readonly string[]): Followed<string> {
    return new Followed(
      {
        fetch: async (page) => {
          const stored = await this.#client.mget(page.map((id) => RESULT + id));
          return stored.map((text) => text ?? undefined);
        },
        dateDone: async (stored) => Date.parse(JSON.parse(stored).date_done),
      },
      ids,
    );
  }
}
