import type { LimitStore } from '../../contracts/limits.ts';
import { inParallel } from '../../util/in-parallel.ts';
import type { CasStore } from '../cas.ts';
import { CasLimits, type Reservations } from '../cas-limits.ts';
import type { S3Bucket } from './bucket.ts';

/** The claims and rates of a bucket: an object for each key, and for each reserved moment. */
export function s3Limits(bucket: S3Bucket): LimitStore {
  return new CasLimits(s3Cas(bucket), s3Reservations(bucket), bucket.parallel);
}

/** Values in objects; the version of one is its ETag, which S3 compares before it writes. */
export function s3Cas(bucket: S3Bucket): CasStore {
  const { basePath } = bucket.location;
  return {
    now: () => bucket.clock.now(),
    async read(key) {
      const object = await bucket.get(basePath + key);
      const isLive = object !== undefined && object.until > bucket.clock.now();
      return { value: isLive ? object.data.toString() : undefined, version: object?.etag };
    },
    write(key, value, until, seen) {
      const object = { key: basePath + key, data: Buffer.from(value), until };
      return bucket.put(object, seen === undefined ? { absent: true } : { etag: seen });
    },
  };
}

function s3Reservations(bucket: S3Bucket): Reservations {
  const { basePath } = bucket.location;
  return {
    getMany: (names) =>
      inParallel(names, bucket.parallel, async (name) => {
        const object = await bucket.get(basePath + name);
        return object && object.until > bucket.clock.now() ? Number(object.data.toString()) : undefined;
      }),
    async setMany(reserved) {
      await inParallel(reserved, bucket.parallel, async ({ name, moment, until }) => {
        await bucket.put({ key: basePath + name, data: Buffer.from(String(moment)), until });
      });
    },
    removeMany: (names) => bucket.removeMany(names.map((name) => basePath + name)),
  };
}
