import type { ItemFailure, Service } from './common.ts';
import type { Diagnosable } from './diagnosis.ts';
import type { StoreSetup } from './setup.ts';

/** Where a piece of data lies in a store: a bucket (or a table) and a key. Plain data, fit for a message. */
export interface BlobPlace {
  readonly bucket: string;
  readonly key: string;
}

/** A piece of data on its way in. */
export interface Blob {
  /** Its name below the store's own prefix; what has the same name is replaced. Letters, digits and `-_./`. */
  readonly name: string;
  readonly data: Uint8Array;
}

/**
 * Where large payloads wait while a message carries their place only. One attempt, no retries. What nobody removes ends by
 * the store's own rule (a lifecycle rule of the bucket, a TTL).
 */
export interface BlobStore extends Service, Partial<Diagnosable> {
  /** The URL with secrets masked. */
  readonly url: string;
  /** Largest piece that it takes. */
  readonly maxBytes: number;
  /** Present where something has to be created, or allowed, before the first use. */
  readonly setup?: StoreSetup;
  /** Where a piece of this name lies, or will lie. */
  place(name: string): BlobPlace;
  /** Resolves once the store has them for good. */
  putMany(blobs: readonly Blob[]): Promise<ItemFailure[]>;
  /** Whole pieces, also from other buckets where we may read them. `undefined` for one that is not there. Rejects when one cannot be asked for. */
  getMany(places: readonly BlobPlace[]): Promise<(Uint8Array | undefined)[]>;
  /** Removing what is not there is no failure. */
  removeMany(places: readonly BlobPlace[]): Promise<ItemFailure[]>;
}
