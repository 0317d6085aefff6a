import { createHash } from 'node:crypto';
import type { BlobPlace, BlobStore } from '../../contracts/blobs.ts';
import type { Check } from '../../contracts/diagnosis.ts';
import type { Outgoing } from '../../contracts/message.ts';
import type { StoreNeeds, StoreSetup } from '../../contracts/setup.ts';
import { ConfigError, StoreCorruptError } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { compress } from '../../wire/compression.ts';
import { blobChecks } from '../blob-checks.ts';
import { dynamodbBlobs } from '../dynamodb/blobs.ts';
import { s3Blobs } from '../s3/blobs.ts';
import type { SqsEntry } from './batches.ts';
import { number, type Taken, text } from './messages.ts';
import type { SqsLocation } from './url.ts';

/** What the extended clients of AWS write in place of a body, and beside it. */
const POINTER = 'software.amazon.payloadoffloading.PayloadS3Pointer';
const SIZE = 'ExtendedPayloadSize';
/** Ours: that what comes back is what was sent. */
const HASH = 'lovage.sha256';
/** Larger bodies are not compressed on the way: it takes too long, and they will hardly fit. */
const MAX_COMPRESSED = 8 * 1024 * 1024;

/** What a message says of where its body lies. */
export type Pointer = Pick<Taken, 'body' | 'attributes'>;

/** Large bodies lie in a store of their own; their messages say where. Compressing comes first: what fits then needs no store. */
export class SqsPayloads {
  readonly #store: BlobStore;
  readonly #threshold: number;

  constructor(store: BlobStore, threshold: number) {
    this.#store = store;
    this.#threshold = threshold;
  }

  /** What the store needs before its first use. */
  get setup(): StoreSetup | undefined {
    return this.#store.setup;
  }

  /** What is wrong with the store, for `lovage doctor`. */
  diagnose(needs: StoreNeeds): Promise<readonly Check[]> {
    return blobChecks(this.#store, needs);
  }

  /** The bytes that a message may have in SQS. */
  get threshold(): number {
    return this.#threshold;
  }

  start(): Promise<void> {
    return this.#store.start();
  }

  stop(): Promise<void> {
    return this.#store.stop();
  }

  /** The same message with a compressed body, where that is worth it. */
  compressed(outgoing: Outgoing): Outgoing {
    const { message } = outgoing;
    const { body, headers } = message;
    if (headers.compression !== undefined || body.byteLength > MAX_COMPRESSED) return outgoing;
    // Every peer reads it.
    const packed = compress(body, 'zlib');
    if (packed.body.byteLength > 0.9 * body.byteLength) return outgoing;
    const labelled = { ...headers, compression: packed.mime };
    return { ...outgoing, message: { ...message, body: packed.body, headers: labelled } };
  }

  /** Stores the bodies of messages, and gives what goes to SQS in their place: an entry, or why there is none. */
  async store(entries: readonly SqsEntry[]): Promise<(SqsEntry | Error)[]> {
    if (entries.length === 0) return [];
    // The day comes first, so that people find their way.
    const day = new Date().toISOString().slice(0, 10);
    const blobs = entries.map(({ MessageBody }) => ({
      name: `${day}/${newId()}`,
      data: Buffer.from(MessageBody ?? ''),
    }));
    const failures = await this.#store
      .putMany(blobs)
      .catch((error: Error) => blobs.map((_, index) => ({ index, error })));
    const failed = new Map(failures.map(({ index, error }) => [index, error]));
    return entries.map((entry, i) => {
      const { name = '', data = Buffer.of() } = blobs[i] ?? {};
      const { bucket, key } = this.#store.place(name);
      return (
        failed.get(i) ?? {
          ...entry,
          MessageBody: JSON.stringify([POINTER, { s3BucketName: bucket, s3Key: key }]),
          MessageAttributes: {
            ...entry.MessageAttributes,
            [SIZE]: number(data.byteLength),
            [HASH]: text(sha256(data)),
          },
        }
      );
    });
  }

  /** The body of each message that says where it lies. @throws StoreError where the store does not answer */
  async fetch<T extends Pointer>(taken: readonly T[]): Promise<ReadonlyMap<T, string | Error>> {
    const found = taken.flatMap((one) => {
      const place = placeIn(one);
      return place ? [{ one, place }] : [];
    });
    if (found.length === 0) return new Map();
    const data = await this.#store.getMany(found.map(({ place }) => place));
    return new Map(found.map(({ one, place }, i) => [one, checked(one, place, data[i])]));
  }

  /** Removes the bodies of messages that have ended. What is left behind ends by the rule of the store. */
  async remove(taken: readonly Pointer[]): Promise<void> {
    const places = taken.flatMap((one) => placeIn(one) ?? []);
    if (places.length > 0) await this.#store.removeMany(places).catch(() => {});
  }
}

/** Opens nothing yet; `undefined` where none is configured. @throws ConfigError */
export function payloadsOf({ address, options, url }: SqsLocation): SqsPayloads | undefined {
  const { payloadStore, payloadThreshold = 262_144 } = options;
  if (payloadStore === undefined) return undefined;
  const scheme = /^([a-z0-9]+):/i.exec(payloadStore)?.[1]?.toLowerCase();
  const open = scheme === 's3' ? s3Blobs : scheme === 'dynamodb' ? dynamodbBlobs : undefined;
  if (!open) {
    throw new ConfigError(
      `option 'payloadStore' of ${url}: expected s3://bucket/prefix or dynamodb://@region/table, got '${maskUrl(payloadStore)}'`,
    );
  }
  const says = (name: string) => new URLSearchParams(payloadStore.split('?')[1]).has(name);
  // Who we are and where is the same unless its URL says otherwise.
  const own = {
    ...(address.region !== undefined && scheme === 's3' && !says('region') && { region: address.region }),
    ...(address.keys !== undefined && !payloadStore.includes('@') && !says('access_key_id') && { ...address.keys }),
  };
  return new SqsPayloads(open(payloadStore, own), payloadThreshold);
}

/** Where the body of a message lies; `undefined` where it is in the message. */
function placeIn({ body, attributes }: Pointer): BlobPlace | undefined {
  if (!(SIZE in attributes) && !body.startsWith(`["${POINTER}"`)) return undefined;
  try {
    const [name, { s3BucketName, s3Key }] = JSON.parse(body);
    if (name !== POINTER || typeof s3BucketName !== 'string' || typeof s3Key !== 'string') return undefined;
    return { bucket: s3BucketName, key: s3Key };
  } catch {
    return undefined;
  }
}

/** Whether a message says only where its body lies. */
export function isPointer(taken: Pointer): boolean {
  return placeIn(taken) !== undefined;
}

function checked({ attributes }: Pointer, { bucket, key }: BlobPlace, data: Uint8Array | undefined): string | Error {
  const where = `${key} in ${bucket}`;
  if (!data) {
    return new StoreCorruptError(
      `the body of this message is not there any more (${where}): it was removed, or has expired`,
    );
  }
  const hash = attributes[HASH]?.StringValue;
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (hash !== undefined && hash !== sha256(bytes)) {
    return new StoreCorruptError(`the body of this message is not what was sent (${where}): its SHA-256 differs`);
  }
  return bytes.toString();
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
