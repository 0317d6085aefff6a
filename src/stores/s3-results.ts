import type { ResultRecord } from '../contracts/backend.ts';
import type { ItemFailure } from '../contracts/common.ts';
import { MessageTooLargeError, StoreError } from '../errors.ts';
import { inParallel } from '../util/parallel.ts';
import { celeryName } from './names.ts';
import { asDocument, mayReplace, stateOf, toRecord } from './result-documents.ts';
import type { S3Bucket, WriteCondition } from './s3-bucket.ts';
import { storeEach } from './store-each.ts';

/** More is no result any more, and would be read whole by everybody who waits for it. */
export const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;
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
