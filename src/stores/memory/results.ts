import {
  isFinished,
  type JoinPart,
  type JoinProgress,
  type JoinStore,
  type ResultRecord,
} from '../../contracts/backend.ts';
import { WatchList } from '../../util/watch-list.ts';
import { mayReplace } from '../result-documents.ts';
import { Expiring } from './expiring.ts';

interface Join {
  size: number | undefined;
  count: number;
  taken: boolean;
  readonly parts: Map<string, JoinPart>;
  /** Keys of parts that came on top of its size. */
  readonly grown: Set<string>;
}

// How long a finished join is remembered, so that a part that comes late or twice does not start it anew.
const REMEMBER_MS = 24 * 3600 * 1000;

/** Results of one name in this process, with the joins. */
export class MemoryResults {
  readonly #records = new Expiring<ResultRecord>();
  readonly #watchers = new WatchList<ResultRecord>();
  #finished: ResultRecord[] = [];
  #closed = false;

  readonly joins: JoinStore = new MemoryJoins();

  store(record: ResultRecord, ttlMs: number | undefined): void {
    const old = this.#records.get(record.taskId)?.state;
    if (old !== undefined && !mayReplace(record.state, old)) return;
    const copy = { ...record, document: copyOf(record.document) };
    this.#records.set(record.taskId, copy, ttlMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + ttlMs);
    if (isFinished(record.state) && this.#watchers.has(record.taskId)) this.#tell(copy);
  }

  fetch(taskId: string): ResultRecord | undefined {
    const record = this.#records.get(taskId);
    return record && { ...record, document: copyOf(record.document) };
  }

  forget(taskId: string): void {
    this.#records.delete(taskId);
  }

  watch(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): () => void {
    const remove = this.#watchers.add(taskIds, onReady);
    for (const taskId of taskIds) {
      const record = this.#records.get(taskId);
      if (record && isFinished(record.state)) this.#tell(record);
    }
    return remove;
  }

  close(): void {
    this.#closed = true;
  }

  /** Later, and together with others of the same turn: never inside the caller's own call, as with any other backend. */
  #tell(record: ResultRecord): void {
    if (this.#finished.push(record) > 1) return;
    setImmediate(() => {
      const records = this.#finished;
      this.#finished = [];
      if (!this.#closed) this.#watchers.deliver(records);
    });
  }
}

class MemoryJoins implements JoinStore {
  readonly #joins = new Expiring<Join>();

  async setSize(joinId: string, size: number, ttlMs?: number): Promise<JoinProgress> {
    const join = this.#touch(joinId, ttlMs);
    join.size = size;
    return progressOf(join);
  }

  async addMany(joinId: string, parts: readonly JoinPart[], ttlMs?: number): Promise<JoinProgress> {
    const join = this.#touch(joinId, ttlMs);
    for (const part of join.taken ? [] : parts) {
      if (join.parts.has(part.key)) continue;
      join.parts.set(part.key, { ...part, document: copyOf(part.document) });
      join.count += 1;
    }
    return progressOf(join);
  }

  async grow(joinId: string, key: string, ttlMs?: number): Promise<JoinProgress> {
    const join = this.#touch(joinId, ttlMs);
    if (!join.taken) join.grown.add(key);
    return progressOf(join);
  }

  async read(joinId: string): Promise<JoinPart[] | undefined> {
    const join = this.#joins.get(joinId);
    if (!join || join.taken) return undefined;
    return [...join.parts.values()].sort((a, b) => a.index - b.index);
  }

  async take(joinId: string): Promise<JoinPart[] | undefined> {
    const join = this.#joins.get(joinId);
    const parts = await this.read(joinId);
    if (!join || join.taken || !parts) return undefined;
    join.taken = true;
    join.parts.clear();
    this.#joins.set(joinId, join, Date.now() + REMEMBER_MS);
    return parts;
  }

  #touch(joinId: string, ttlMs: number | undefined): Join {
    const old = this.#joins.get(joinId);
    const join = old ?? { size: undefined, count: 0, taken: false, parts: new Map(), grown: new Set<string>() };
    const wanted = ttlMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + ttlMs;
    // Never shortened.
    const kept = old ? this.#joins.expiresAt(joinId) : wanted;
    this.#joins.set(joinId, join, ttlMs === undefined ? kept : Math.max(kept, wanted));
    return join;
  }
}

function progressOf({ count, size, grown }: Join): JoinProgress {
  return { count, size: size === undefined ? undefined : size + grown.size };
}

function copyOf<T extends string | Uint8Array>(document: T): T | Uint8Array {
  return typeof document === 'string' ? document : new Uint8Array(document);
}
