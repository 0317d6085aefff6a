import type { ResultRecord } from '../../contracts/backend.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import { MessageTooLargeError, StoreError } from '../../errors.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { celeryName } from '../names.ts';
import { asDocument, mayReplace, stateOf, toRecord } from '../result-documents.ts';
import { storeEach } from '../store-each.ts';
import type { S3Bucket, WriteCondition } from './bucket.ts';

/** More is no result any more, and would be read whole by everybody who waits for it. */
export const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;
/** Reads that cost as much as a listing; and from how many tasks on they are listed. */
const READS_PER_LIST = 12;
const LIST_FROM = 50;
/** How often a write that others overtake is tried: each of them stored a result of this task meanwhile. */
const ATTEMPTS = 10;

/** The results of a bucket, as Celery keeps them: an object per task with its meta map. */
export class S3Results {
  readonly #bucket: S3Bucket;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  storeMany(records: readonly ResultRecord[], ttlMs: number | undefined): Promise<ItemFailure[]> {
    return storeEach(records, this.#bucket.parallel, (record) => this.#store(record, ttlMs));
  }

  fetchMany(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    return inParallel(taskIds, this.#bucket.parallel, async (taskId) => {
      const object = await this.#bucket.get(this.#keyOf(taskId));
      return object && object.until > this.#bucket.clock.now() ? toRecord(taskId, object.data) : undefined;
    });
  }

  /**
   * The same for those who look again and again. Many tasks are looked for in listings, each as dear as a dozen of reads:
   * what is not listed is not there. Gives up listing where others have so many results in between that reading is cheaper.
   */
  async look(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    const listed = taskIds.length < LIST_FROM ? undefined : await this.#list(taskIds);
    return this.fetchMany(listed ? taskIds.filter((id) => listed(this.#keyOf(id))) : taskIds);
  }

  /** Lists the keys of results that lie between those of these tasks; tells whether one may be there. */
  async #list(taskIds: readonly string[]): Promise<(key: string) => boolean> {
    const keys = taskIds.map((id) => this.#keyOf(id)).sort(byBytes);
    const [first = '', last = ''] = [keys[0], keys.at(-1)];
    const found = new Set<string>();
    // One letter less comes right before it.
    let end = first.slice(0, -1);
    for (let pages = Math.ceil(keys.length / READS_PER_LIST); pages > 0 && byBytes(end, last) < 0; pages--) {
      const page = await this.#bucket.list(this.#keyOf(''), end);
      for (const key of page.keys) found.add(key);
      end = page.hasMore ? (page.keys.at(-1) ?? last) : last;
    }
    return (key) => found.has(key) || byBytes(key, end) > 0;
  }

  async forgetMany(taskIds: readonly string[]): Promise<void> {
    await this.#bucket.removeMany(taskIds.map((id) => this.#keyOf(id)));
  }

  async #store({ taskId, state, document }: ResultRecord, ttlMs: number | undefined): Promise<void> {
    const data = typeof document === 'string' ? Buffer.from(document) : document;
    if (data.byteLength > MAX_DOCUMENT_BYTES) {
      throw new MessageTooLargeError(
        `the result of task ${taskId} has ${data.byteLength} bytes; the s3 backend takes up to ${MAX_DOCUMENT_BYTES}. Store the data elsewhere and return a reference`,
      );
    }
    const key = this.#keyOf(taskId);
    const until = ttlMs === undefined ? undefined : this.#bucket.clock.now() + ttlMs;
    let condition: WriteCondition | undefined = { absent: true };
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if ((await this.#bucket.put({ key, data, until }, condition)) !== undefined) return;
      condition = await this.#nextCondition(key, state);
      if (!condition) return;
    }
    throw new StoreError(
      `the result of task ${taskId} is stored by others all the time: ${ATTEMPTS} writes were overtaken`,
    );
  }

  /** After a write was refused: how it may be done, or `undefined` where it must not be. */
  async #nextCondition(key: string, state: string): Promise<WriteCondition | undefined> {
    const stored = await this.#bucket.get(key);
    if (!stored) return { absent: true };
    const isOver = stored.until <= this.#bucket.clock.now();
    // What is no document gives way to any result.
    const gives = isOver || mayReplace(state, stateOf(asDocument(stored.data)) ?? '');
    return gives ? { etag: stored.etag } : undefined;
  }

  #keyOf(taskId: string): string {
    return `${this.#bucket.location.basePath}${celeryName(taskId)}`;
  }
}

/** In the order in which S3 lists. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
