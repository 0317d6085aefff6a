import { isFinished, type ResultRecord } from '../contracts/backend.ts';
import { backoffMs } from '../util/backoff.ts';
import { sleep } from '../util/sleep.ts';
import { WatchList } from '../util/watch-list.ts';

/** How a store that cannot tell of results is asked for them. */
export interface PollOptions {
  /** What is stored of these tasks. `round` counts the looks since somebody began to watch. */
  look(taskIds: readonly string[], round: number): Promise<readonly (ResultRecord | undefined)[]>;
  /** Between two looks, once nothing has come for a while. */
  readonly maxMs: number;
  /** At least so much time for each watched task between two looks: it bounds what looking costs. */
  readonly perTaskMs: number;
}

const START_MS = 100;

/**
 * Tells watchers what has finished, by looking again and again: for all that this process watches in one go, less often
 * the longer nothing comes, and not at all while nobody watches.
 */
export class PollWatch {
  readonly #options: PollOptions;
  readonly #list = new WatchList<ResultRecord>();
  readonly #closed = new AbortController();
  #wake = new AbortController();
  #polling = false;
  #quiet = 0;

  constructor(options: PollOptions) {
    this.#options = options;
  }

  async add(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): Promise<() => Promise<void>> {
    const remove = this.#list.add(taskIds, onReady);
    try {
      const finished = toFinished(await this.#options.look([...new Set(taskIds)], 0));
      // Not at once: the caller shall have its way to stop before it hears anything.
      if (finished.length > 0) setImmediate(() => this.#deliver(finished));
    } catch (error) {
      remove();
      throw error;
    }
    this.#quiet = 0;
    this.#wake.abort();
    if (!this.#polling) void this.#poll();
    return async () => {
      remove();
      if (this.#list.size === 0) this.#wake.abort();
    };
  }

  close(): void {
    this.#closed.abort();
    this.#wake.abort();
  }

  async #poll(): Promise<void> {
    this.#polling = true;
    for (let round = 1; await this.#pause(); round++) {
      try {
        const finished = toFinished(await this.#options.look(this.#list.taskIds, round));
        this.#quiet = finished.length > 0 ? 0 : this.#quiet + 1;
        this.#deliver(finished);
      } catch {
        // A watcher has nobody to report to. Longer waits are what a store in trouble needs.
        this.#quiet += 3;
      }
    }
    this.#polling = false;
  }

  /** Waits for the time of the next look; `false` where nobody waits for anything. */
  async #pause(): Promise<boolean> {
    const startedAt = performance.now();
    for (;;) {
      if (this.#list.size === 0 || this.#closed.signal.aborted) return false;
      const { maxMs, perTaskMs } = this.#options;
      const backoff = backoffMs(this.#quiet, { startMs: Math.min(START_MS, maxMs), maxMs });
      const left = Math.max(backoff, this.#list.size * perTaskMs) - (performance.now() - startedAt);
      this.#wake = new AbortController();
      if (left <= 0 || (await sleep(left, this.#wake.signal)))
        return this.#list.size > 0 && !this.#closed.signal.aborted;
    }
  }

  #deliver(records: readonly ResultRecord[]): void {
    if (!this.#closed.signal.aborted) this.#list.deliver(records);
  }
}

function toFinished(records: readonly (ResultRecord | undefined)[]): ResultRecord[] {
  return records.filter((record) => record !== undefined).filter(({ state }) => isFinished(state));
}
