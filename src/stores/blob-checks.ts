import type { BlobStore } from '../contracts/blobs.ts';
import type { Check } from '../contracts/diagnosis.ts';
import type { StoreNeeds } from '../contracts/setup.ts';

/** For `lovage doctor`: how the store of large things beside a broker or a result backend is. What it costs depends on their number. */
export async function blobChecks(store: BlobStore, needs: StoreNeeds): Promise<readonly Check[]> {
  try {
    return (await store.diagnose?.(needs))?.checks ?? [];
  } catch (error) {
    // The store beside it is to be looked at all the same.
    return [{ what: `store of large things ${store.url}`, verdict: 'problem', found: (error as Error).message }];
  }
}
