import { DecodeError } from '../errors.ts';
import { decompress } from './compression.ts';
import type { WireMessage } from './message.ts';
import { HYBRID_KEYS } from './protocol-headers.ts';
import { saferepr } from './saferepr.ts';
import { type AcceptList, checkAccepted, decodeBody, isLoaded, loadSerializers } from './serializers.ts';
import { type Fields, isMap, readTask, type TaskParts } from './task-fields.ts';
import type { TaskMessage } from './task-message.ts';

/** What {@link decodeTask} takes. */
export interface DecodeTaskOptions {
  readonly accept: AcceptList;
  /** Most bytes a compressed body may unpack to. Default 256 MiB. */
  readonly maxBytes?: number;
}

/**
 * Reads a task message of protocol 2, protocol 1 or the hybrid of both (wire SPEC 1.1 to 1.4). Times without an offset
 * are taken as UTC. Throws {@link ContentDisallowedError} for content types that are not accepted, else
 * {@link DecodeError} saying what was expected, what came and what to do.
 */
export async function decodeTask(message: WireMessage, options: DecodeTaskOptions): Promise<TaskMessage> {
  checkAccepted(message.contentType, options.accept);
  const { compression } = message.headers;
  const body =
    typeof compression === 'string' ? await decompress(message.body, compression, options.maxBytes) : message.body;
  if (!isLoaded(message.contentType)) await loadSerializers([message.contentType]);
  const payload = decodeBody(body, message.contentType, message.contentEncoding, options.accept);
  return readTask(toParts(payload, message));
}

/**
 * Finds out which task a message is about without reading its body, for logs about messages that cannot be read.
 * Protocol 1 has the id in its properties only, and no name. Never throws.
 */
export function peekTaskId(message: WireMessage): { readonly id?: string; readonly task?: string } {
  const { id = message.properties.correlation_id, task } = message.headers;
  return {
    ...(typeof id === 'string' ? { id } : undefined),
    ...(typeof task === 'string' ? { task } : undefined),
  };
}

function toParts(payload: unknown, message: WireMessage): TaskParts {
  const { headers, properties } = message;
  if (headers.task !== undefined) {
    if (isMap(payload) && 'args' in payload) return hybridParts(payload, message);
    return protocol2Parts(payload, message);
  }
  if (isMap(payload) && payload.task !== undefined) {
    const fields = 'taskset' in payload ? { ...payload, group: payload.group ?? payload.taskset } : payload;
    return { fields, args: payload.args, kwargs: payload.kwargs, embed: payload, custom: headers, properties };
  }
  throw new DecodeError(
    `Not a task message: expected a header "task", or a body map with "task" (protocol 1), got ${saferepr(payload, 80)}. ` +
      'Something other than Celery or Lovage writes to this queue.',
  );
}

function protocol2Parts(payload: unknown, message: WireMessage): TaskParts {
  const { headers, properties } = message;
  if (!Array.isArray(payload) || payload.length !== 3) {
    throw new DecodeError(
      `Bad body of task ${saferepr(headers.task, 80)}: expected [args, kwargs, embed], got ${saferepr(payload, 80)}. ` +
        'Let the sender use task_protocol 2.',
    );
  }
  return { fields: headers, args: payload[0], kwargs: payload[1], embed: payload[2], custom: headers, properties };
}

function hybridParts(payload: Fields, message: WireMessage): TaskParts {
  const { headers, properties } = message;
  const fields: Record<string, unknown> = {};
  for (const key of HYBRID_KEYS) {
    if (key in payload) fields[key] = payload[key];
  }
  Object.assign(fields, headers);
  return { fields, args: payload.args, kwargs: payload.kwargs, embed: payload, custom: headers, properties };
}
