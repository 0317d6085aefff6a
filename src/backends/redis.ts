import type { BackendFeatures, ResultBackend, ResultRecord } from '../contracts/backend.ts';
import type { ItemFailure, Recipe } from '../contracts/common.ts';
import type { Diagnosis } from '../contracts/diagnosis.ts';
import { joinsOf, limitsOf } from '../contracts/opened.ts';
import { MessageTooLargeError } from '../errors.ts';
import { diagnoseRedis } from '../stores/redis/diagnosis.ts';
import { RedisJoins } from '../stores/redis/joins.ts';
import { RedisLimits } from '../stores/redis/limits.ts';
import { RedisResults } from '../stores/redis/results.ts';
import { RedisWatch } from '../stores/redis/results-watch.ts';
import { openRedis, type RedisHandle } from '../stores/redis/store.ts';
import { type RedisLocation, type RedisOptions, redisLocation } from '../stores/redis/url.ts';
import { Opening } from '../util/opening.ts';
import { inSlices } from '../util/slices.ts';

/** Redis takes no longer value (proto-max-bulk-len). */
const MAX_DOCUMENT_BYTES = 512 * 1024 * 1024;
// A slice is one script, and nobody else is served while it runs.
const STORE_LIMITS = {
  maxItems: 500,
  maxSize: 4 * 1024 * 1024,
  sizeOf: ({ document }: ResultRecord) => document.length,
  refuse: tooLarge,
};

/**
 * A result backend in a Redis, in Celery's layout: Python and TypeScript read each other's results, wait for them and
 * finish members of each other's chords.
 * @throws ConfigError for a wrong URL or option
 */
export function redisBackend(url: string, options: RedisOptions = {}): ResultBackend {
  const recipe = { module: import.meta.url, factory: 'redisBackend', args: [url, options] };
  return new RedisBackend(redisLocation(url, options), recipe);
}

/** What a started backend works with. */
interface Opened extends RedisHandle {
  readonly results: RedisResults;
  readonly joins: RedisJoins;
  readonly limits: RedisLimits;
  readonly watch: RedisWatch;
}

class RedisBackend implements ResultBackend {
  readonly name = 'redis';
  readonly url: string;
  // As far as the server itself keeps what it was told.
  readonly features: BackendFeatures = { durable: true, shared: true, maxDocumentBytes: MAX_DOCUMENT_BYTES };
  readonly recipe: Recipe;
  readonly joins = joinsOf(async () => (await this.#opening.get()).joins);
  readonly limits = limitsOf(async () => (await this.#opening.get()).limits);
  readonly #location: RedisLocation;
  readonly #opening: Opening<Opened>;

  constructor(location: RedisLocation, recipe: Recipe) {
    this.url = location.url;
    this.recipe = recipe;
    this.#location = location;
    this.#opening = new Opening(`the result backend ${location.url}`, () => open(location));
  }

  start(): Promise<void> {
    return this.#opening.start();
  }

  async stop(): Promise<void> {
    const opened = await this.#opening.end();
    opened?.watch.close();
    await opened?.release();
  }

  diagnose(): Promise<Diagnosis> {
    return diagnoseRedis(this.#location);
  }

  async storeMany(records: readonly ResultRecord[], ttlMs?: number): Promise<ItemFailure[]> {
    const { results } = await this.#opening.get();
    return inSlices(records, STORE_LIMITS, async (slice) => {
      await results.storeMany(slice, ttlMs);
      return [];
    });
  }

  async fetchMany(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    return (await this.#opening.get()).results.fetchMany(taskIds);
  }

  async forgetMany(taskIds: readonly string[]): Promise<void> {
    await (await this.#opening.get()).results.forgetMany(taskIds);
  }

  async watch(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): Promise<() => Promise<void>> {
    return (await this.#opening.get()).watch.add(taskIds, onReady);
  }
}

async function open(location: RedisLocation): Promise<Opened> {
  const handle = await openRedis(location);
  const results = new RedisResults(handle.store);
  return {
    ...handle,
    results,
    joins: new RedisJoins(handle.store),
    limits: new RedisLimits(handle.store),
    watch: new RedisWatch(handle.store, results),
  };
}

function tooLarge({ taskId, document }: ResultRecord): MessageTooLargeError | undefined {
  // A UTF-16 unit takes up to three bytes; only long texts are worth counting exactly.
  if (document.length * 3 <= MAX_DOCUMENT_BYTES) return undefined;
  const bytes = typeof document === 'string' ? Buffer.byteLength(document) : document.byteLength;
  if (bytes <= MAX_DOCUMENT_BYTES) return undefined;
  return new MessageTooLargeError(
    `the result of task ${taskId} has ${bytes} bytes; Redis takes up to ${MAX_DOCUMENT_BYTES}. Store the data elsewhere and return a reference`,
  );
}
