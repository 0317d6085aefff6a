import { DecodeError, SerializationError } from '../errors.ts';
import { decodeDocument, encodeDocument } from './document.ts';
import { formatIsoTime, parseIsoTime } from './iso-time.ts';
import { saferepr } from './saferepr.ts';
import { type Fields, isMap } from './task-fields.ts';
import type { ResultMeta } from './task-message.ts';

/** How {@link encodeResult} writes a result. */
export interface EncodeResultOptions {
  /** Name or MIME type; must have been loaded. Both sides must agree on it, since a result says nothing of its own. */
  readonly serializer: string;
  /** As {@link JsonOptions.tags}; `false` for readers with kombu 5.2. */
  readonly jsonTags?: boolean;
}

/** How {@link decodeResult} reads a result. */
export interface DecodeResultOptions {
  readonly serializer: string;
}

/**
 * Writes what is stored about a task as Celery's meta map, in Celery's order of keys (wire SPEC 6.1): text for json and
 * yaml, bytes for msgpack. Throws {@link SerializationError} naming the place in the return value.
 */
export function encodeResult(meta: ResultMeta, options: EncodeResultOptions): string | Uint8Array {
  return encodeDocument(toDocument(meta), options.serializer, options.jsonTags);
}

/**
 * Reads Celery's meta map (wire SPEC 6.1); a `date_done` without an offset is UTC. Throws {@link DecodeError} when the
 * document is none.
 */
export function decodeResult(document: string | Uint8Array, options: DecodeResultOptions): ResultMeta {
  const meta = decodeDocument(document, options.serializer);
  if (!isMap(meta)) throw bad('the document', 'a map', meta);
  return fromDocument(meta);
}

function toDocument(meta: ResultMeta): Record<string, unknown> {
  const document: Record<string, unknown> = {
    status: meta.state,
    result: meta.result,
    traceback: meta.traceback ?? null,
    children: meta.children,
    date_done: meta.dateDone === undefined ? null : instant(meta.dateDone),
  };
  if (meta.result === undefined) document.result = null;
  if (meta.groupId !== undefined) document.group_id = meta.groupId;
  if (meta.parentId !== undefined) document.parent_id = meta.parentId;
  if (meta.name !== undefined) document.name = meta.name;
  if (meta.args !== undefined) document.args = meta.args;
  if (meta.kwargs !== undefined) document.kwargs = meta.kwargs;
  if (meta.worker !== undefined) document.worker = meta.worker;
  if (meta.retries !== undefined) document.retries = meta.retries;
  if (meta.queue !== undefined) document.queue = meta.queue;
  if (meta.stamps)
    Object.assign(document, { stamped_headers: Object.keys(meta.stamps) }, unknownTo(document, meta.stamps));
  document.task_id = meta.taskId;
  return document;
}

/** Stamps stand beside the fields: one of the same name is not to take the place of one. */
function unknownTo(document: Fields, stamps: Fields): Fields {
  return Object.fromEntries(Object.entries(stamps).filter(([name]) => !(name in document) && name !== 'task_id'));
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function fromDocument(document: Fields): ResultMeta {
  const { status, task_id: taskId, date_done: dateDone, children } = document;
  if (typeof status !== 'string') throw bad('status', 'a text', status);
  if (typeof taskId !== 'string') throw bad('task_id', 'a text', taskId);
  if (children != null && !Array.isArray(children)) throw bad('children', 'a list', children);
  const meta: Mutable<ResultMeta> = {
    taskId,
    state: status,
    result: document.result ?? null,
    children: children ?? [],
  };
  if (dateDone != null) meta.dateDone = readInstant(dateDone);
  const { traceback, group_id: groupId, parent_id: parentId, name, worker, queue, retries, args, kwargs } = document;
  if (typeof traceback === 'string') meta.traceback = traceback;
  if (typeof groupId === 'string') meta.groupId = groupId;
  if (typeof parentId === 'string') meta.parentId = parentId;
  if (typeof name === 'string') meta.name = name;
  if (Array.isArray(args)) meta.args = args;
  if (isMap(kwargs)) meta.kwargs = kwargs;
  if (typeof worker === 'string') meta.worker = worker;
  if (typeof retries === 'number') meta.retries = retries;
  if (typeof queue === 'string') meta.queue = queue;
  const { stamped_headers: stamped } = document;
  if (Array.isArray(stamped))
    meta.stamps = Object.fromEntries(stamped.map((key) => [String(key), document[String(key)]]));
  return meta;
}

function instant(epochMs: number): string {
  const text = formatIsoTime(epochMs);
  if (text !== undefined) return text;
  throw new SerializationError(
    `Cannot serialize date_done: expected epoch milliseconds in the years 1 to 9999, got ${epochMs}.`,
  );
}

function readInstant(value: unknown): number {
  // YAML has a form of its own for instants, which arrives as a Date.
  const epochMs = value instanceof Date ? value.getTime() : typeof value === 'string' ? parseIsoTime(value) : undefined;
  if (epochMs === undefined) throw bad('date_done', 'an ISO time or null', value);
  return epochMs;
}

function bad(name: string, expected: string, got: unknown): DecodeError {
  return new DecodeError(
    `Bad result document: expected ${name} to be ${expected}, got ${saferepr(got, 80)}. ` +
      'Check that both sides use the same result serializer.',
  );
}
