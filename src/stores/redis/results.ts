import { isFinished, type ResultRecord } from '../../contracts/backend.ts';
import { celeryName } from '../names.ts';
import { toRecord } from '../result-documents.ts';
import { isOutOfMemory } from './errors.ts';
import { STORE_MANY, STORE_MANY_ANYWAY } from './results-scripts.ts';
import type { RedisStore } from './store.ts';

/** Keys read or deleted by one command. */
const PAGE = 1000;

/**
 * What stands in front of the keys of results. Celery's result backend (since 5.3) sets its `global_keyprefix` off with a
 * `_` unless it ends in a separator; the broker's is taken as it is.
 */
export function resultPrefix(globalKeyprefix: string): string {
  return /(^|[:_\-.])$/.test(globalKeyprefix) ? globalKeyprefix : `${globalKeyprefix}_`;
}

/** The results of a Redis, as Celery keeps them: a text per task with its meta map. */
export class RedisResults {
  readonly #store: RedisStore;
  readonly #prefix: string;

  constructor(store: RedisStore) {
    this.#store = store;
    this.#prefix = resultPrefix(store.location.keyPrefix);
  }

  /** The key of a task's result, or of a saved group; it is the name of its channel, too. */
  keyOf(taskId: string): string {
    return this.#prefix + celeryName(taskId);
  }

  /** The task of a key that `keyOf` gave. */
  taskOf(key: string): string {
    return key.slice(this.keyOf('').length);
  }

  /** In one atomic step. */
  async storeMany(records: readonly ResultRecord[], ttlMs: number | undefined): Promise<void> {
    const args: (string | number | Buffer)[] = [ttlMs === undefined ? '' : Math.ceil(ttlMs)];
    for (const { taskId, state, document } of records) {
      args.push(this.keyOf(taskId), isFinished(state) ? state : '', toArgument(document));
    }
    try {
      await this.#store.script(STORE_MANY, args);
    } catch (error) {
      // A result lets its message go, which frees more than it takes: without it nobody could drain a full Redis.
      if (!isOutOfMemory(error) || !records.some(({ state }) => isFinished(state))) throw error;
      await this.#store.script(STORE_MANY_ANYWAY, args);
    }
  }

  async fetchMany(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    const records: (ResultRecord | undefined)[] = [];
    for (let from = 0; from < taskIds.length; from += PAGE) {
      const page = taskIds.slice(from, from + PAGE);
      // A key of another type is nothing to MGET, and gives way to the first result.
      const values = (await this.#store.commandBuffer(
        'MGET',
        ...page.map((id) => this.keyOf(id)),
      )) as (Buffer | null)[];
      page.forEach((taskId, i) => {
        const value = values[i];
        records.push(value ? toRecord(taskId, value) : undefined);
      });
    }
    return records;
  }

  async forgetMany(taskIds: readonly string[]): Promise<void> {
    for (let from = 0; from < taskIds.length; from += PAGE) {
      await this.#store.command('DEL', ...taskIds.slice(from, from + PAGE).map((id) => this.keyOf(id)));
    }
  }
}

/** As ioredis takes it. */
export function toArgument(document: string | Uint8Array): string | Buffer {
  if (typeof document === 'string') return document;
  return Buffer.from(document.buffer, document.byteOffset, document.byteLength);
}
