import type { BlobStore } from '../../contracts/blobs.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { StoreSetup } from '../../contracts/setup.ts';
import { MessageTooLargeError } from '../../errors.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { Opening } from '../../util/opening.ts';
import { openBucket } from './bucket.ts';
import { diagnoseS3, s3Setup } from './setup.ts';
import { s3Location } from './url.ts';

/** What a message may come to: it is read whole, into memory. */
const MAX_BLOB_BYTES = 256 * 1024 * 1024;
/** Read or written at once. */
const AT_ONCE = 16;

/**
 * A store for large payloads of messages and results in a bucket, below `<base path>lovage-blob/`. The rule that
 * `lovage setup` makes removes what nobody removed.
 * @throws ConfigError for a wrong URL or option
 */
export function s3Blobs(
  url: string,
  options: Readonly<Record<string, unknown>> = {},
): BlobStore & { setup: StoreSetup } {
  const location = s3Location(url, options);
  const opening = new Opening(`the store ${location.url}`, () => openBucket(location));
  const keyOf = (name: string) => `${location.basePath}lovage-blob/${name}`;
  return {
    url: location.url,
    maxBytes: MAX_BLOB_BYTES,
    setup: s3Setup(location),
    diagnose: (needs) => diagnoseS3(location, needs),
    start: () => opening.start(),
    stop: async () => (await opening.end())?.close(),
    place: (name) => ({ bucket: location.bucket, key: keyOf(name) }),
    async putMany(blobs) {
      const bucket = await opening.get();
      const failures = await inParallel(blobs, AT_ONCE, async ({ name, data }, index): Promise<ItemFailure[]> => {
        const error =
          data.byteLength > MAX_BLOB_BYTES
            ? new MessageTooLargeError(`${name} has ${data.byteLength} bytes; S3 is given up to ${MAX_BLOB_BYTES}`)
            : await bucket.put({ key: keyOf(name), data }).then(
                () => undefined,
                (error: Error) => error,
              );
        return error ? [{ index, error }] : [];
      });
      return failures.flat();
    },
    async getMany(places) {
      const bucket = await opening.get();
      return inParallel(places, AT_ONCE, async (place) => (await bucket.get(place.key, place.bucket))?.data);
    },
    async removeMany(places) {
      const bucket = await opening.get();
      const failures = [...Map.groupBy(places.keys(), (index) => places[index]?.bucket ?? '')].map(
        async ([name, indexes]): Promise<ItemFailure[]> => {
          const keys = indexes.map((index) => places[index]?.key ?? '');
          return bucket.removeMany(keys, name).then(
            () => [],
            (error: Error) => indexes.map((index) => ({ index, error })),
          );
        },
      );
      return (await Promise.all(failures)).flat();
    },
  };
}
