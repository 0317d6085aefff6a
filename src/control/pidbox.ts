/** Remote control in Celery's terms (wire SPEC 9): a request to all workers, a reply from each. */

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

/** `undefined` for a payload that is no JSON object: somebody else's note is no reason to fail. */
export function read<T extends Request | Reply>(payload: Uint8Array): T | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload).toString());
    return typeof value === 'object' && value !== null ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}
