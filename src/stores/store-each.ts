import type { ResultRecord } from '../contracts/backend.ts';
import type { ItemFailure } from '../contracts/common.ts';
import { StoreAccessError, StoreError, StoreMissingError } from '../errors.ts';
import { inParallel } from '../util/in-parallel.ts';
import { lastOfEach } from './result-documents.ts';

/**
 * Stores records one by one, many at once, where a store has no batches for that. Once the store is in trouble (throttled,
 * not to be reached, not allowed) nothing more is begun, and the rest fails with the same error.
 */
export async function storeEach(
  records: readonly ResultRecord[],
  limit: number,
  store: (record: ResultRecord) => Promise<void>,
): Promise<ItemFailure[]> {
  const failures: ItemFailure[] = [];
  let trouble: Error | undefined;
  await inParallel(lastOfEach(records), limit, async ({ record, indexes }) => {
    const error = trouble ?? (await store(record).then(nothing, (error: Error) => error));
    if (error && isTrouble(error)) trouble ??= error;
    if (error) for (const index of indexes) failures.push({ index, error });
  });
  return failures.sort((a, b) => a.index - b.index);
}

/** Not of one record: the next one would fare the same. */
function isTrouble(error: Error): boolean {
  if (error instanceof StoreAccessError || error instanceof StoreMissingError) return true;
  return error instanceof StoreError && error.retryable;
}

function nothing(): undefined {}
