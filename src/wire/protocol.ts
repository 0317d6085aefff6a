import { ConfigError, SerializationError } from '../errors.ts';
import { compress } from './compression.ts';
import { formatIsoTime } from './iso-time.ts';
import type { WireMessage, WireProperties } from './message.ts';
import { RESERVED_HEADERS } from './protocol-headers.ts';
import { reprArgs, saferepr } from './saferepr.ts';
import { encodeBody } from './serializers.ts';
import type { TaskMessage } from './task-message.ts';

/** How {@link encodeTask} writes a task. */
export interface EncodeTaskOptions {
  /** Name or MIME type; must have been loaded. */
  readonly serializer: string;
  /** kombu's name of a compression, such as `zlib`. Default none. */
  readonly compression?: string;
  /** As {@link JsonOptions.tags}; `false` for workers with kombu 5.2. */
  readonly jsonTags?: boolean;
  /** Lifetime of the message for brokers that keep one. Default: until `task.expires`, if that is given. */
  readonly expirationMs?: number;
  /** Epoch milliseconds from which the lifetime counts. Default: the clock. */
  readonly now?: number;
}

const BODY_PARTS = ['args', 'kwargs', 'embed'];

/**
 * Writes a task as a protocol 2 message with all headers of Celery 5.2 to 5.6 (wire SPEC 1.1). Throws
 * {@link SerializationError} naming the argument that cannot be written or the instant Python has no form for,
 * {@link ConfigError} for custom headers with a name of Celery's.
 */
export function encodeTask(task: TaskMessage, options: EncodeTaskOptions): WireMessage {
  const embed = {
    callbacks: task.link ?? null,
    errbacks: task.linkError ?? null,
    chain: task.chain ?? null,
    chord: task.chord ?? null,
  };
  const encoded = encodeBody(options.serializer, [task.args, task.kwargs, embed], {
    root: BODY_PARTS,
    tags: options.jsonTags ?? true,
  });
  const headers = encodeHeaders(task);
  let { body } = encoded;
  if (options.compression !== undefined) {
    const compressed = compress(body, options.compression);
    body = compressed.body;
    headers.compression = compressed.mime;
  }
  return {
    body,
    contentType: encoded.contentType,
    contentEncoding: encoded.contentEncoding,
    headers,
    properties: encodeProperties(task, options),
  };
}

function encodeHeaders(task: TaskMessage): Record<string, unknown> {
  const headers: Record<string, unknown> = {
    lang: 'ts',
    task: task.task,
    id: task.id,
    shadow: task.shadow ?? null,
    eta: task.eta === undefined ? null : instant(task.eta, 'eta'),
    expires: task.expires === undefined ? null : instant(task.expires, 'expires'),
    group: task.groupId ?? null,
    group_index: task.groupIndex ?? null,
    retries: task.retries,
    timelimit: [task.timeLimit ?? null, task.softTimeLimit ?? null],
    root_id: task.rootId,
    parent_id: task.parentId ?? null,
    argsrepr: task.argsRepr ?? reprArgs(task.args),
    kwargsrepr: task.kwargsRepr ?? saferepr(task.kwargs),
    origin: task.origin ?? '',
    ignore_result: task.ignoreResult,
    replaced_task_nesting: task.replacedTaskNesting,
    stamped_headers: task.stampedHeaders ?? null,
    stamps: task.stamps ?? {},
  };
  for (const name of Object.keys(task.headers)) {
    if (RESERVED_HEADERS.has(name)) {
      throw new ConfigError(
        `The custom header ${JSON.stringify(name)} of ${task.task} is one of Celery's own. Rename it.`,
      );
    }
    headers[name] = task.headers[name];
  }
  return headers;
}

function encodeProperties(task: TaskMessage, options: EncodeTaskOptions): WireProperties {
  const lifetime =
    options.expirationMs ?? (task.expires === undefined ? undefined : task.expires - (options.now ?? Date.now()));
  const properties = {
    correlation_id: task.id,
    reply_to: task.replyTo,
    delivery_mode: 2,
    priority: task.priority,
  };
  if (lifetime === undefined) return properties;
  return { ...properties, expiration: String(Math.max(0, Math.round(lifetime))) };
}

function instant(epochMs: number, name: string): string {
  const text = formatIsoTime(epochMs);
  if (text !== undefined) return text;
  throw new SerializationError(
    `Cannot serialize ${name}: expected epoch milliseconds in the years 1 to 9999, got ${epochMs}.`,
  );
}

export type { DecodeTaskOptions } from './protocol-read.ts';
export { decodeTask, peekTaskId } from './protocol-read.ts';
