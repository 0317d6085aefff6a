import type { ResultRecord } from '../../contracts/backend.ts';
import { MessageTooLargeError } from '../../errors.ts';
import { getLarge, type LargeStore, putLarge } from '../large-results.ts';
import { type BlobPointer, pointerOf } from './items.ts';
import type { Item } from './table.ts';

/** Where documents go that are too large for an item. */
export interface LargeResults {
  readonly store: 's3' | 'table';
  readonly blobs: LargeStore;
  readonly maxBytes: number;
}

/**
 * Keeps a document elsewhere, and says where.
 * @throws MessageTooLargeError
 */
export async function keepLarge(
  { blobs, maxBytes, store }: LargeResults,
  record: ResultRecord,
  ttlMs: number | undefined,
): Promise<BlobPointer> {
  const { taskId, document } = record;
  const bytes = typeof document === 'string' ? Buffer.byteLength(document) : document.byteLength;
  if (bytes <= maxBytes) return { ...(await putLarge(blobs, record, ttlMs)), store };
  const hint = store === 's3' ? '' : ', or give the option largeResults, such as s3://bucket/prefix';
  throw new MessageTooLargeError(
    `the result of task ${taskId} has ${bytes} bytes; here they may have ${maxBytes}. Store the data elsewhere and return a reference${hint}`,
  );
}

/** The documents of those items, each under the name of its task, that lie elsewhere. */
export async function fetchLarge(large: LargeResults, items: ReadonlyMap<string, Item>): Promise<Map<string, Buffer>> {
  const documents = new Map<string, Buffer>();
  const asked = [...items].flatMap(([taskId, item]) => {
    const pointer = pointerOf(item);
    return pointer ? [{ taskId, pointer }] : [];
  });
  for (const [store, group] of Map.groupBy(asked, ({ pointer }) => pointer.store)) {
    const got = await getLarge(store === large.store ? large.blobs : undefined, group);
    for (const [i, { taskId }] of group.entries()) documents.set(taskId, got[i] ?? Buffer.alloc(0));
  }
  return documents;
}
