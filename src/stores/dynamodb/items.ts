import { isFinished, type ResultRecord } from '../../contracts/backend.ts';
import type { BlobPlace } from '../../contracts/blobs.ts';
import { celeryName } from '../names.ts';
import { stateOf } from '../result-documents.ts';
import { type Condition, type Item, num, numberOf, type Value } from './table.ts';

/*
 * Items of results, as Celery has them: `id`, `result`, `timestamp` and perhaps `ttl` (wire SPEC 6.4). Besides, ours have
 * `state`, so that a write can be made to depend on it, and `until`, because `ttl` counts in whole seconds.
 */

/** An item may have 400 KB, with the names of its attributes. */
const MAX_ITEM_BYTES = 400 * 1024;

/** Where the document of an item lies that is too large for it. */
export interface BlobPointer extends BlobPlace {
  readonly store: 's3' | 'table';
  /** As `wire/compression` names it. */
  readonly encoding: string;
  /** Of the document as it was, in hexadecimal digits. */
  readonly sha256: string;
}

/**
 * Key of a task's result. Celery asks for a text of the bytes, and so has Python's notation of them (celery#5455).
 */
export function celeryKey(taskId: string): string {
  return pythonBytes(Buffer.from(cleanKey(taskId)));
}

/** The same as it was meant. */
export function cleanKey(taskId: string): string {
  return celeryName(taskId);
}

/** `repr(bytes)` of Python. */
function pythonBytes(bytes: Uint8Array): string {
  const quote = bytes.includes(0x27) && !bytes.includes(0x22) ? '"' : "'";
  const special: Record<number, string> = {
    9: '\\t',
    10: '\\n',
    13: '\\r',
    92: '\\\\',
    [quote.charCodeAt(0)]: `\\${quote}`,
  };
  const shown = Array.from(bytes, (byte) => {
    const plain = byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
    return special[byte] ?? plain;
  });
  return `b${quote}${shown.join('')}${quote}`;
}

/** How much of an item a document takes, its other attributes counted generously. */
export function fitsItem(taskId: string, document: string | Uint8Array): boolean {
  const bytes = typeof document === 'string' ? Buffer.byteLength(document) : document.byteLength;
  return bytes + 3 * celeryKey(taskId).length + 512 <= MAX_ITEM_BYTES;
}

/** The item of a result that is stored now. */
export function toItem({ taskId, state, document }: ResultRecord, now: number, ttlMs: number | undefined): Item {
  return {
    id: { S: celeryKey(taskId) },
    result: { B: typeof document === 'string' ? Buffer.from(document) : document },
    timestamp: num(now / 1000),
    state: { S: state },
    ...expiry(now, ttlMs),
  };
}

/** The item of a result whose document lies elsewhere. Python reads a result that says where. */
export function toPointerItem(
  record: ResultRecord,
  pointer: BlobPointer,
  now: number,
  ttlMs: number | undefined,
): Item {
  const { taskId, state } = record;
  const place = { s3BucketName: pointer.bucket, s3Key: pointer.key };
  const result = ['software.amazon.payloadoffloading.PayloadS3Pointer', place];
  const document = JSON.stringify({
    status: state,
    result,
    traceback: null,
    children: [],
    date_done: null,
    task_id: taskId,
  });
  return { ...toItem({ taskId, state, document }, now, ttlMs), blob: pointerAttribute(pointer) };
}

/** A pointer as the attribute `blob` that {@link pointerOf} reads. */
export function pointerAttribute({ bucket, key, store, encoding, sha256 }: BlobPointer): Value {
  const entries = Object.entries({ bucket, key, store, encoding, sha256 });
  return { M: Object.fromEntries(entries.map(([name, text]) => [name, { S: text }])) };
}

/** When an item ends: exactly, and for DynamoDB, which removes it some time after. Nothing for one that is kept for ever. */
export function expiry(now: number, ttlMs: number | undefined): Item {
  if (ttlMs === undefined) return {};
  const until = Math.ceil(now + ttlMs);
  return { until: num(until), ttl: num(Math.ceil(until / 1000)) };
}

/** Whether the time of an item is over, though DynamoDB has not removed it yet. Also for Celery's items, which have `ttl` only. */
export function isExpired(item: Item, now: number): boolean {
  const until = numberOf(item, 'until');
  return (Number.isNaN(until) ? numberOf(item, 'ttl') * 1000 : until) <= now;
}

/** Bytes of the document, or of Celery's notice where it lies elsewhere. */
export function documentOf(item: Item): Buffer {
  const bytes = item.result?.B ?? new Uint8Array();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The state of an item; `undefined` for one that tells none. */
export function itemState(item: Item): string | undefined {
  if (item.state?.S !== undefined) return item.state.S;
  const document = documentOf(item);
  return stateOf((document[0] ?? 0) < 0x80 ? document.toString() : document);
}

/** Where the document of an item lies; `undefined` where it is in it. */
export function pointerOf(item: Item): BlobPointer | undefined {
  const { bucket, key, store, encoding, sha256 } = item.blob?.M ?? {};
  if (bucket?.S === undefined || key?.S === undefined) return undefined;
  return {
    bucket: bucket.S,
    key: key.S,
    store: store?.S === 's3' ? 's3' : 'table',
    encoding: encoding?.S ?? '',
    sha256: sha256?.S ?? '',
  };
}

const FINISHED = { ':success': { S: 'SUCCESS' }, ':failure': { S: 'FAILURE' }, ':revoked': { S: 'REVOKED' } };

/** The overwrite law of `ResultBackend.storeMany`, for items that have a `state`: with those of Celery it never holds. */
export function lawCondition(state: string, now: number): Condition {
  const gives = isFinished(state)
    ? '(attribute_exists(#state) AND #state <> :success)'
    : '(attribute_exists(#state) AND NOT #state IN (:success, :failure, :revoked))';
  return {
    expression: `attribute_not_exists(#id) OR #until <= :now OR #ttl <= :seconds OR ${gives}`,
    names: { '#id': 'id', '#until': 'until', '#ttl': 'ttl', '#state': 'state' },
    values: {
      ':now': num(now),
      ':seconds': num(now / 1000),
      ...(isFinished(state) ? { ':success': FINISHED[':success'] } : FINISHED),
    },
  };
}

/** As long as Celery's item is the one that was seen. */
export function unchangedCondition({ result }: Item): Condition {
  const names = { '#state': 'state', '#result': 'result' };
  if (!result) return { expression: 'attribute_not_exists(#state) AND attribute_not_exists(#result)', names };
  return { expression: 'attribute_not_exists(#state) AND #result = :seen', names, values: { ':seen': result } };
}
