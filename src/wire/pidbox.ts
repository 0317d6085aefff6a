/** Remote control in Celery's terms (wire SPEC 9): a request to all workers, a reply from each. */
import { newId } from '../util/ids.ts';
import { decodeEnvelope, encodeEnvelope } from './envelope.ts';

/** Where requests are heard. */
export const pidboxTopic = 'celery.pidbox';

/** Where the replies to one asker are heard. */
export const replyTopic = (routingKey: string): string => `reply.celery.pidbox/${routingKey}`;

export interface Request {
  readonly method: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Workers that are meant; all where null or empty. */
  readonly destination: readonly string[] | null;
  /** Comes back with each reply. */
  readonly ticket?: string;
  readonly reply_to?: { readonly exchange: string; readonly routing_key: string };
}

export interface Reply {
  readonly ticket: string;
  /** The worker's name to its answer. */
  readonly replies: Readonly<Record<string, unknown>>;
}

export function write(value: Request | Reply): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** A request in kombu's envelope, so that Python workers understand it. */
export function writeRequest(request: Request): Uint8Array {
  const message = {
    body: write(request),
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: {},
    properties: { delivery_mode: 1, priority: 0 },
  };
  return Buffer.from(encodeEnvelope(message, { exchange: pidboxTopic, routingKey: '', tag: newId() }));
}

/**
 * Reads a note, in kombu's envelope or as it is. `undefined` for a payload that is no JSON object: somebody else's note is
 * no reason to fail.
 */
export function read<T extends Request | Reply>(payload: Uint8Array): T | undefined {
  try {
    const text = Buffer.from(payload).toString();
    const value = asMap(JSON.parse(text));
    if (!value || !('body' in value)) return value as T | undefined;
    return asMap(JSON.parse(Buffer.from(decodeEnvelope(text).message.body).toString())) as T | undefined;
  } catch {
    return undefined;
  }
}

function asMap(value: unknown): object | undefined {
  return typeof value === 'object' && value !== null ? value : undefined;
}
