import { createHash } from 'node:crypto';
import type { ResultRecord } from '../contracts/backend.ts';
import type { Blob, BlobPlace } from '../contracts/blobs.ts';
import type { ItemFailure } from '../contracts/common.ts';
import { StoreCorruptError } from '../errors.ts';
import { compress, decompress } from '../wire/compression.ts';
import { encodeError } from '../wire/remote-error.ts';
import { encodeResult } from '../wire/result.ts';

/** The store that documents go to. Contract `BlobStore` has it, perhaps with a time to keep them. */
export interface LargeStore {
  place(name: string): BlobPlace;
  putMany(blobs: readonly Blob[], ttlMs?: number): Promise<ItemFailure[]>;
  getMany(places: readonly BlobPlace[]): Promise<(Uint8Array | undefined)[]>;
}

/** What is kept of a document that lies elsewhere. */
export interface LargePointer extends BlobPlace {
  /** As `wire/compression` names it. */
  readonly encoding: string;
  /** Of the document as it was, in hexadecimal digits. */
  readonly sha256: string;
}

/** Keeps the document of a record in another store, compressed, under a name of its own content: no two writers meet there. */
export async function putLarge(
  store: LargeStore,
  record: ResultRecord,
  ttlMs: number | undefined,
): Promise<LargePointer> {
  const { taskId, document } = record;
  const bytes = typeof document === 'string' ? Buffer.from(document) : document;
  const sha256 = hashOf(bytes);
  const { body, mime } = compress(bytes, 'zstd');
  const id = /^[\w.-]{1,100}$/.test(taskId) ? taskId : hashOf(Buffer.from(taskId));
  const name = `results/${id}-${sha256.slice(0, 16)}`;
  const [failure] = await store.putMany([{ name, data: body }], ttlMs);
  if (failure) throw failure.error;
  return { ...store.place(name), encoding: mime, sha256 };
}

/**
 * The documents of some pointers. What is not there any more, or not what was stored, comes as the document of a failure
 * that says so: who waits for the task shall not wait for ever.
 */
export async function getLarge(
  store: LargeStore | undefined,
  asked: readonly { readonly taskId: string; readonly pointer: LargePointer }[],
): Promise<Buffer[]> {
  const blobs = store ? await store.getMany(asked.map(({ pointer: { bucket, key } }) => ({ bucket, key }))) : [];
  return Promise.all(
    asked.map(async ({ taskId, pointer }, i) => {
      const blob = blobs[i];
      if (!store)
        return lost(
          taskId,
          pointer,
          'is not of this store: give the option largeResults, as the one who stored it did',
        );
      if (!blob) return lost(taskId, pointer, 'is not there any more');
      const bytes = await decompress(blob, pointer.encoding).catch(() => undefined);
      if (!bytes || hashOf(bytes) !== pointer.sha256) return lost(taskId, pointer, 'is not what was stored');
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }),
  );
}

function lost(taskId: string, { bucket, key }: LargePointer, what: string): Buffer {
  const error = new StoreCorruptError(`the result of task ${taskId}, ${key} in ${bucket}, ${what}`);
  const meta = { taskId, state: 'FAILURE', result: encodeError(error), children: [] };
  return Buffer.from(encodeResult(meta, { serializer: 'json' }));
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
