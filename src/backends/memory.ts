import type { BackendFeatures, ResultBackend, ResultRecord } from '../contracts/backend.ts';
import type { ItemFailure } from '../contracts/common.ts';
import { joinsOf, limitsOf } from '../contracts/opened.ts';
import { ConfigError } from '../errors.ts';
import type { MemoryResults } from '../stores/memory/results.ts';
import {
  type MemoryHandle,
  type MemoryLocation,
  type MemoryOptions,
  type MemoryStore,
  memoryLocation,
  openMemory,
  openOwnMemory,
} from '../stores/memory/store.ts';

/**
 * A result backend inside this process, for tests and for trying things out. It ends with the last user of its name.
 * @throws ConfigError for a wrong URL or option
 */
export function memoryBackend(url = 'memory://', options: MemoryOptions = {}): ResultBackend {
  return new MemoryBackend(memoryLocation(url, options));
}

/** One that nobody else sees: it needs not be stopped, and goes when nobody has it any more. */
export function ownMemoryBackend(): ResultBackend {
  return new MemoryBackend(memoryLocation('memory://'), openOwnMemory);
}

class MemoryBackend implements ResultBackend {
  readonly name = 'memory';
  readonly url: string;
  readonly features: BackendFeatures = {
    durable: false,
    shared: false,
    maxDocumentBytes: Number.POSITIVE_INFINITY,
  };
  readonly joins = joinsOf(async () => this.#results().joins);
  readonly limits = limitsOf(async () => this.#opened().limits);
  readonly #location: MemoryLocation;
  readonly #open: (name: string) => MemoryHandle;
  readonly #watches = new Set<() => void>();
  #handle: MemoryHandle | undefined;

  constructor(location: MemoryLocation, open = openMemory) {
    this.url = location.url;
    this.#location = location;
    this.#open = open;
  }

  async start(): Promise<void> {
    this.#handle ??= this.#open(this.#location.name);
  }

  async stop(): Promise<void> {
    for (const stop of this.#watches) stop();
    this.#watches.clear();
    this.#handle?.release();
    this.#handle = undefined;
  }

  async storeMany(records: readonly ResultRecord[], ttlMs?: number): Promise<ItemFailure[]> {
    const results = this.#results();
    for (const record of records) results.store(record, ttlMs);
    return [];
  }

  async fetchMany(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    const results = this.#results();
    return taskIds.map((taskId) => results.fetch(taskId));
  }

  async forgetMany(taskIds: readonly string[]): Promise<void> {
    const results = this.#results();
    for (const taskId of taskIds) results.forget(taskId);
  }

  async watch(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): Promise<() => Promise<void>> {
    const stop = this.#results().watch(taskIds, onReady);
    this.#watches.add(stop);
    return async () => {
      this.#watches.delete(stop);
      stop();
    };
  }

  #results(): MemoryResults {
    return this.#opened().results;
  }

  #opened(): MemoryStore {
    if (this.#handle) return this.#handle.store;
    throw new ConfigError(`the result backend ${this.url} is not started: await start() first`);
  }
}
