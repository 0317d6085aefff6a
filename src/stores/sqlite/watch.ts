import type { ResultRecord } from '../../contracts/backend.ts';
import { sleep } from '../../util/sleep.ts';
import { WatchList } from '../../util/watch-list.ts';
import type { Position, SqliteResults } from './results.ts';
import type { SqliteStore } from './store.ts';
import { SAFETY_MS } from './wake.ts';

const PAGE = 1000;

/**
 * Tells watchers what has finished. However many tasks are watched, a wake-up costs one query: it reads on from where
 * the last one came, and looks the ids up in memory.
 */
export class SqliteWatch {
  readonly #store: SqliteStore;
  readonly #results: SqliteResults;
  readonly #list = new WatchList<ResultRecord>();
  readonly #closed = new AbortController();
  #following = false;

  constructor(store: SqliteStore, results: SqliteResults) {
    this.#store = store;
    this.#results = results;
  }

  async add(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): Promise<() => Promise<void>> {
    // In this order nothing falls between: registered, then where the reading starts, then what had finished before.
    const remove = this.#list.add(taskIds, onReady);
    const seen = this.#store.results.version;
    try {
      const [end, finished] = await this.#store.read(() => [
        this.#results.end(),
        this.#results.fetchFinished(taskIds, Date.now()),
      ]);
      // Not at once: the caller shall have its way to stop before it hears anything.
      if (finished.length > 0) setImmediate(() => this.#deliver(finished));
      if (!this.#following) void this.#follow(end, seen);
    } catch (error) {
      remove();
      throw error;
    }
    return async () => {
      remove();
      if (this.#list.size === 0) this.#store.results.wakeLocal();
    };
  }

  close(): void {
    this.#closed.abort();
  }

  async #follow(from: Position, seen: number): Promise<void> {
    this.#following = true;
    let position = from;
    let version = seen;
    while (this.#list.size > 0 && !this.#closed.signal.aborted) {
      try {
        const page = await this.#store.read(() => this.#results.finishedAfter(position, PAGE));
        position = page.at(-1) ?? position;
        const wanted = page.flatMap(({ taskId }) => (this.#list.has(taskId) ? [taskId] : []));
        if (wanted.length > 0) {
          this.#deliver(await this.#store.read(() => this.#results.fetchFinished(wanted, Date.now())));
        }
        if (page.length === PAGE) continue;
        await this.#store.results.wait(version, SAFETY_MS, this.#closed.signal);
        version = this.#store.results.version;
      } catch {
        // A watcher has nobody to report to; it looks again, as after any missed wake-up.
        await sleep(SAFETY_MS, this.#closed.signal);
      }
    }
    this.#following = false;
  }

  #deliver(records: readonly ResultRecord[]): void {
    if (!this.#closed.signal.aborted) this.#list.deliver(records);
  }
}
