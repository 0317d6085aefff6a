import type { Blob, BlobPlace, BlobStore } from '../../contracts/blobs.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import { MessageTooLargeError } from '../../errors.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { Opening } from '../../util/opening.ts';
import { diagnoseDynamodb } from './diagnosis.ts';
import { expiry, isExpired } from './items.ts';
import { dynamodbSetup } from './setup.ts';
import { type DynamodbTable, type Item, num, numberOf, openTable } from './table.ts';
import { type DynamodbLocation, dynamodbLocation } from './url.ts';

/** Largest piece of data: some 40 items. More costs more than a store for large things. */
export const MAX_BLOB_BYTES = 16 * 1024 * 1024;
/** What one item has of it. */
const CHUNK_BYTES = 396 * 1024;
/** A message may wait for 14 days, and in a dead-letter queue for as long again. */
const KEEP_MS = 30 * 24 * 3600 * 1000;
/** Blobs written or read at once: each is up to 16 MB. */
const AT_ONCE = 4;

/** Large pieces of data in a table, each in as many items as it takes. */
export class DynamodbBlobs {
  readonly maxBytes = MAX_BLOB_BYTES;
  readonly #table: DynamodbTable;

  constructor(table: DynamodbTable) {
    this.#table = table;
  }

  place(name: string): BlobPlace {
    return { bucket: this.#table.location.table, key: name };
  }

  async putMany(blobs: readonly Blob[], ttlMs: number | undefined = KEEP_MS): Promise<ItemFailure[]> {
    const failures = await inParallel(blobs, AT_ONCE, async (blob, index) => {
      const error = await this.#put(blob, ttlMs).then(
        () => undefined,
        (error: Error) => error,
      );
      return error ? [{ index, error }] : [];
    });
    return failures.flat();
  }

  getMany(places: readonly BlobPlace[]): Promise<(Uint8Array | undefined)[]> {
    return inParallel(places, AT_ONCE, ({ key }) => this.#get(key));
  }

  async removeMany(places: readonly BlobPlace[]): Promise<ItemFailure[]> {
    const counts = await inParallel(places, AT_ONCE, async ({ key }) => {
      return numberOf(await this.#table.get(chunkKey(key, 0), ['count']), 'count') || 0;
    });
    // The first one last: as long as it is there, what is left of the others can be found.
    await this.#table.removeMany(places.flatMap(({ key }, i) => chunkKeys(key, counts[i] ?? 0).slice(1)));
    await this.#table.removeMany(places.map(({ key }) => chunkKey(key, 0)));
    return [];
  }

  async #put({ name, data }: Blob, ttlMs: number | undefined): Promise<void> {
    if (data.byteLength > this.maxBytes) {
      throw new MessageTooLargeError(
        `${name} has ${data.byteLength} bytes; a table takes up to ${this.maxBytes}. Keep it in S3 instead`,
      );
    }
    const count = Math.max(1, Math.ceil(data.byteLength / CHUNK_BYTES));
    const ends = expiry(this.#table.clock.now(), ttlMs);
    const chunks = chunkKeys(name, count).map((id, i): Item => {
      const part = data.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES);
      return { id: { S: id }, data: { B: part }, ...(i === 0 && { count: num(count) }), ...ends };
    });
    await this.#table.putMany(chunks.slice(1));
    // Last: where it is there, all are.
    await this.#table.putMany(chunks.slice(0, 1));
  }

  async #get(name: string): Promise<Uint8Array | undefined> {
    const first = await this.#table.get(chunkKey(name, 0));
    if (!first || isExpired(first, this.#table.clock.now())) return undefined;
    const others = chunkKeys(name, numberOf(first, 'count')).slice(1);
    const items = await this.#table.getMany(others, { consistent: true });
    const parts = [first, ...others.map((id) => items.get(id))].map((item) => item?.data?.B);
    return parts.every((part) => part !== undefined) ? Buffer.concat(parts) : undefined;
  }
}

/**
 * A store for large payloads of messages in a table of DynamoDB: for those who have no bucket. A piece costs one write
 * for each KB of it; S3 costs far less.
 * @throws ConfigError for a wrong URL or option
 */
export function dynamodbBlobs(url: string, options: Readonly<Record<string, unknown>> = {}): BlobStore {
  const location = dynamodbLocation(url, options);
  const opening = new Opening(`the store ${location.url}`, () => open(location));
  return {
    url: location.url,
    maxBytes: MAX_BLOB_BYTES,
    setup: dynamodbSetup(location),
    diagnose: (needs) => diagnoseDynamodb(location, needs),
    start: () => opening.start(),
    stop: async () => (await opening.end())?.table.close(),
    place: (name) => ({ bucket: location.table, key: name }),
    putMany: async (blobs) => (await opening.get()).blobs.putMany(blobs),
    getMany: async (places) => (await opening.get()).blobs.getMany(places),
    removeMany: async (places) => (await opening.get()).blobs.removeMany(places),
  };
}

async function open(location: DynamodbLocation) {
  const table = await openTable(location);
  return { table, blobs: new DynamodbBlobs(table) };
}

function chunkKey(name: string, index: number): string {
  return `lovage-blob-${name}#${index}`;
}

function chunkKeys(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => chunkKey(name, i));
}
