import type { BackendFeatures, ResultBackend, ResultRecord } from '../contracts/backend.ts';
import type { ItemFailure, Recipe } from '../contracts/common.ts';
import type { Diagnosis } from '../contracts/diagnosis.ts';
import { joinsOf, limitsOf } from '../contracts/opened.ts';
import { MessageTooLargeError } from '../errors.ts';
import { diagnoseSqlite } from '../stores/sqlite/diagnosis.ts';
import { SqliteJoins } from '../stores/sqlite/joins.ts';
import { SqliteLimits } from '../stores/sqlite/limits.ts';
import { SqliteResults } from '../stores/sqlite/results.ts';
import { openSqlite, type StoreHandle } from '../stores/sqlite/store.ts';
import { type SqliteLocation, type SqliteOptions, sqliteLocation } from '../stores/sqlite/url.ts';
import { SqliteWatch } from '../stores/sqlite/watch.ts';
import { Opening } from '../util/opening.ts';
import { inSlices } from '../util/slices.ts';

const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;
const STORE_LIMITS = {
  maxItems: 1000,
  maxSize: 8 * 1024 * 1024,
  sizeOf: ({ document }: ResultRecord) => document.length,
  refuse: tooLarge,
};

/**
 * A result backend in a SQLite file, which may be the broker's: shared by all processes of one machine, durable.
 * @throws ConfigError for a wrong URL or option
 */
export function sqliteBackend(url: string, options: SqliteOptions = {}): ResultBackend {
  const recipe = { module: import.meta.url, factory: 'sqliteBackend', args: [url, options] };
  return new SqliteBackend(sqliteLocation(url, options), recipe);
}

/** What a started backend works with. */
interface Opened extends StoreHandle {
  readonly results: SqliteResults;
  readonly joins: SqliteJoins;
  readonly limits: SqliteLimits;
  readonly watch: SqliteWatch;
}

class SqliteBackend implements ResultBackend {
  readonly name = 'sqlite';
  readonly url: string;
  readonly features: BackendFeatures = { durable: true, shared: true, maxDocumentBytes: MAX_DOCUMENT_BYTES };
  readonly recipe: Recipe;
  readonly joins = joinsOf(async () => (await this.#opening.get()).joins);
  readonly limits = limitsOf(async () => (await this.#opening.get()).limits);
  readonly #location: SqliteLocation;
  readonly #opening: Opening<Opened>;

  constructor(location: SqliteLocation, recipe: Recipe) {
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
    return diagnoseSqlite(this.#location);
  }

  async storeMany(records: readonly ResultRecord[], ttlMs?: number): Promise<ItemFailure[]> {
    const { store, results } = await this.#opening.get();
    const failures = await inSlices(records, STORE_LIMITS, async (slice) => {
      await store.write(() => results.upsertMany(slice, ttlMs, Date.now()));
      return [];
    });
    store.results.notify();
    return failures;
  }

  async fetchMany(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    const { store, results } = await this.#opening.get();
    return store.read(() => results.fetchMany(taskIds, Date.now()));
  }

  async forgetMany(taskIds: readonly string[]): Promise<void> {
    const { store, results } = await this.#opening.get();
    await store.write(() => results.forgetMany(taskIds));
  }

  async watch(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): Promise<() => Promise<void>> {
    const { watch } = await this.#opening.get();
    return watch.add(taskIds, onReady);
  }
}

async function open(location: SqliteLocation): Promise<Opened> {
  const handle = await openSqlite(location);
  const results = new SqliteResults(handle.store);
  return {
    ...handle,
    results,
    joins: new SqliteJoins(handle.store),
    limits: new SqliteLimits(handle.store),
    watch: new SqliteWatch(handle.store, results),
  };
}

function tooLarge({ taskId, document }: ResultRecord): MessageTooLargeError | undefined {
  // A UTF-16 unit takes up to three bytes; only long texts are worth counting exactly.
  if (document.length * 3 <= MAX_DOCUMENT_BYTES) return undefined;
  const bytes = typeof document === 'string' ? Buffer.byteLength(document) : document.byteLength;
  if (bytes <= MAX_DOCUMENT_BYTES) return undefined;
  return new MessageTooLargeError(
    `the result of task ${taskId} has ${bytes} bytes; the sqlite backend takes up to ${MAX_DOCUMENT_BYTES}. Store the data elsewhere and return a reference`,
  );
}
