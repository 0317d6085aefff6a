import type { BlobStore } from '../../contracts/blobs.ts';
import type { StoreSetup } from '../../contracts/setup.ts';
import { s3Blobs } from '../s3/blobs.ts';
import type { DynamodbLocation } from './url.ts';

/** The store in S3 that large results go to, not started; `undefined` where they go into the table. It has the keys of the table. */
export function openS3Large({
  largeResults,
  address,
}: DynamodbLocation): (BlobStore & { setup: StoreSetup }) | undefined {
  if (largeResults === 'table') return undefined;
  const { keys, region } = address;
  return s3Blobs(largeResults, {
    ...keys,
    ...(region !== undefined && !/[?&]region=/.test(largeResults) && { region }),
  });
}
