import { isFinished, type ResultRecord } from '../../contracts/backend.ts';
import { WatchList } from '../../util/watch-list.ts';
import { toRecord } from '../result-documents.ts';
import { afterReconnect, type Redis, whenReady } from './client.ts';
import { redisError } from './errors.ts';
import type { RedisResults } from './results.ts';
import type { RedisStore } from './store.ts';

/** Channels named by one command. */
const PAGE = 1000;

/**
 * Tells watchers what has finished. Each result is published on a channel of its own, with its document; so nothing is
 * read but what had finished before somebody listened. One connection, opened by the first watcher, listens to all.
 */
export class RedisWatch {
  readonly #store: RedisStore;
  readonly #results: RedisResults;
  readonly #list = new WatchList<ResultRecord>();
  /** Tasks whose channels are subscribed to. */
  readonly #subscribed = new Set<string>();
  readonly #closed = new AbortController();
  #client: Redis | undefined;
  #finished: ResultRecord[] = [];

  constructor(store: RedisStore, results: RedisResults) {
    this.#store = store;
    this.#results = results;
  }

  async add(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): Promise<() => Promise<void>> {
    const remove = this.#list.add(taskIds, onReady);
    const leave = async () => {
      remove();
      await this.#unsubscribe(taskIds);
    };
    try {
      this.#client ??= this.#connect();
      await this.#listen(this.#client, taskIds);
    } catch (error) {
      await leave();
      throw redisError(error, this.#store.location.url);
    }
    return leave;
  }

  close(): void {
    this.#closed.abort();
    this.#client?.disconnect();
  }

  #connect(): Redis {
    const client = this.#store.openListener('results');
    client.on('messageBuffer', (channel: Buffer, document: Buffer) => {
      const taskId = this.#results.taskOf(channel.toString());
      if (this.#list.has(taskId)) this.#tell(toRecord(taskId, document));
      // Otherwise the end of listening is on its way to the server.
    });
    afterReconnect(client, () => this.#catchUp(client));
    return client;
  }

  /** Listens first and looks then: what finishes in between is heard or seen. */
  async #listen(client: Redis, taskIds: readonly string[]): Promise<void> {
    const { location } = this.#store;
    if (client.status !== 'ready') await whenReady(client, location, location.connectTimeoutMs);
    for (let from = 0; from < taskIds.length; from += PAGE) {
      const page = taskIds.slice(from, from + PAGE);
      for (const id of page) this.#subscribed.add(id);
      await client.subscribe(...page.map((id) => this.#results.keyOf(id)));
      for (const record of await this.#results.fetchMany(page)) if (record) this.#tell(record);
    }
  }

  /** After a break of the connection: whatever was published meanwhile is stored. */
  async #catchUp(client: Redis): Promise<void> {
    const { taskIds } = this.#list;
    await this.#listen(client, taskIds);
    // Those that were left meanwhile.
    await this.#unsubscribe(taskIds);
  }

  /** Those of one turn together, and never inside the caller's own `watch`. */
  #tell(record: ResultRecord): void {
    if (!isFinished(record.state) || this.#finished.push(record) > 1) return;
    setImmediate(() => {
      const records = this.#finished;
      this.#finished = [];
      if (this.#closed.signal.aborted) return;
      this.#list.deliver(records);
      void this.#unsubscribe(records.map(({ taskId }) => taskId));
    });
  }

  /** Stops listening for those of these tasks that nobody waits for any more. */
  async #unsubscribe(taskIds: readonly string[]): Promise<void> {
    // Each once: several waits may end with the same result.
    const unwatched = taskIds.filter((id) => !this.#list.has(id) && this.#subscribed.delete(id));
    for (let from = 0; from < unwatched.length; from += PAGE) {
      const page = unwatched.slice(from, from + PAGE).map((id) => this.#results.keyOf(id));
      // Where the connection is gone, so are its subscriptions.
      await this.#client?.unsubscribe(...page).catch(() => {});
    }
  }
}
