import { inGroups } from '../../util/groups.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { loadPeer } from '../../util/load-peer.ts';
import { awsClientConfig, openAwsClient } from '../aws/client.ts';
import { type ServiceClock, serviceClock } from '../aws/clock.ts';
import { awsError, awsErrorName } from '../aws/errors.ts';
import { partitionOf } from '../aws/partition.ts';
import type { S3Location } from './url.ts';

type Sdk = typeof import('@aws-sdk/client-s3');
type Client = import('@aws-sdk/client-s3').S3Client;

/** An object that is there. */
export interface StoredObject {
  readonly data: Buffer;
  /** Changes with the data. */
  readonly etag: string;
  /** Epoch milliseconds when its time is over; infinite where that was not said. */
  readonly until: number;
}

/** When an object is to be written: only where none is there, or only over the one that was seen. */
export type WriteCondition = { readonly absent: true } | { readonly etag: string };

/** An object on its way in. */
export interface NewObject {
  readonly key: string;
  readonly data: Uint8Array;
  /** Epoch milliseconds; for ever where it is not said. */
  readonly until?: number | undefined;
}

/** Keys of one DeleteObjects. */
const REMOVE_MANY = 1000;
/** Metadata: when the time of an object is over. */
const UNTIL = 'lovage-until';

/** The command that makes what is missing. */
const SETUP = 'lovage setup makes it; it is never made by use';

/** One bucket. Each method makes one attempt; keys are whole, the base path included. */
export class S3Bucket {
  readonly location: S3Location;
  readonly clock: ServiceClock;
  readonly #sdk: Sdk;
  readonly #client: Client;

  constructor(location: S3Location, sdk: Sdk, client: Client) {
    this.location = location;
    this.clock = serviceClock(client);
    this.#sdk = sdk;
    this.#client = client;
  }

  /** Requests at once. */
  get parallel(): number {
    return this.location.address.maxConnections;
  }

  close(): void {
    this.#client.destroy();
  }

  /** `undefined` where nothing is there. What is over is given, too. */
  async get(key: string, bucket = this.location.bucket): Promise<StoredObject | undefined> {
    const command = new this.#sdk.GetObjectCommand({ Bucket: bucket, Key: key });
    try {
      return await this.#send('s3:GetObject', bucket, async () => {
        const { Body: body, ETag: etag = '', Metadata: metadata = {} } = await this.#client.send(command);
        const data = Buffer.from((await body?.transformToByteArray()) ?? []);
        const until = Number(metadata[UNTIL] ?? Number.POSITIVE_INFINITY);
        return { data, etag, until };
      });
    } catch (error) {
      // There is nothing under a key that is too long, either.
      if (isMissing(error) || causeOf(error) === 'KeyTooLongError') return undefined;
      throw error;
    }
  }

  /** The etag of what was written, or `undefined` where the condition does not hold. */
  async put({ key, data, until }: NewObject, condition?: WriteCondition): Promise<string | undefined> {
    const command = new this.#sdk.PutObjectCommand({
      Bucket: this.location.bucket,
      Key: key,
      Body: data,
      ...(until !== undefined && Number.isFinite(until) && { Metadata: { [UNTIL]: String(Math.ceil(until)) } }),
      ...(condition && ('etag' in condition ? { IfMatch: condition.etag } : { IfNoneMatch: '*' })),
    });
    try {
      const { ETag: etag = '' } = await this.#send('s3:PutObject', this.location.bucket, () =>
        this.#client.send(command),
      );
      return etag;
    } catch (error) {
      // Also where two write at once, and where the object that was seen is gone.
      const refused = /^(PreconditionFailed|ConditionalRequestConflict)$/.test(causeOf(error)) || isMissing(error);
      if (condition && refused) return undefined;
      throw error;
    }
  }

  /** The next up to 1,000 keys with a prefix, in their order, behind a key; and whether there are more. */
  async list(prefix: string, after: string): Promise<{ readonly keys: readonly string[]; readonly hasMore: boolean }> {
    const { bucket } = this.location;
    const command = new this.#sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, StartAfter: after });
    const page = await this.#send('s3:ListBucket', bucket, () => this.#client.send(command));
    const keys = (page.Contents ?? []).flatMap(({ Key: key }) => key ?? []);
    return { keys, hasMore: page.IsTruncated === true && keys.length > 0 };
  }

  /** Removing what is not there is no failure. */
  async removeMany(keys: readonly string[], bucket = this.location.bucket): Promise<void> {
    await inParallel(inGroups([...new Set(keys)], REMOVE_MANY), 4, async (group) => {
      const command = new this.#sdk.DeleteObjectsCommand({
        Bucket: bucket,
        Delete: { Quiet: true, Objects: group.map((Key) => ({ Key })) },
      });
      await this.#send('s3:DeleteObject', bucket, async () => {
        const { Errors: [first] = [] } = await this.#client.send(command);
        if (first) throw Object.assign(new Error(first.Message ?? first.Code), { name: first.Code ?? 'Error' });
      });
    });
  }

  async #send<T>(action: string, bucket: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      const { url, basePath } = this.location;
      const arn = action === 's3:ListBucket' ? bucketArn(bucket) : bucketArn(bucket, `${basePath}*`);
      throw awsError(error, { url, action, on: `bucket '${bucket}'`, arn, whenMissing: SETUP });
    }
  }
}

/** Opens a bucket, without a request to it. */
export async function openBucket(location: S3Location): Promise<S3Bucket> {
  const { sdk, client } = await openS3(location);
  return new S3Bucket(location, sdk, client);
}

/** A client for a bucket. */
export async function openS3(location: S3Location): Promise<{ sdk: Sdk; client: Client; region: string }> {
  const sdk = await loadPeer(
    '@aws-sdk/client-s3',
    's3:// result backends and large payloads',
    () => import('@aws-sdk/client-s3'),
  );
  const { endpoint } = location.address;
  const client = new sdk.S3Client({
    ...awsClientConfig(location.address),
    // Stand-ins and stores of others know neither hosts for buckets nor all checksums.
    ...(endpoint !== undefined && {
      forcePathStyle: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    }),
  });
  try {
    const region = await openAwsClient(client, location.address, location.url);
    return { sdk, client, region };
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** As policies name objects of a bucket, or the bucket itself. */
export function bucketArn(bucket: string, key?: string, region = ''): string {
  return `arn:${partitionOf(region)}:s3:::${bucket}${key === undefined ? '' : `/${key}`}`;
}

/** No such object; a bucket that is not there is an error. */
function isMissing(error: unknown): boolean {
  return /^(NoSuchKey|NotFound)$/.test(causeOf(error));
}

function causeOf(error: unknown): string {
  return awsErrorName((error as Error).cause);
}
