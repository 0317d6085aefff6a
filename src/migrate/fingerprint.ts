import { createHash } from 'node:crypto';
import type { WireMessage } from '../wire/message.ts';

/**
 * What two copies of one message have in common, wherever they lie, and two messages have not: attempts of a task differ
 * in `retries` and `eta`, calls in the id. Drivers may add to headers and properties, so these are not taken whole.
 */
export function fingerprint(queue: string, { body, headers, properties }: WireMessage): Buffer {
  const parts = [queue, headers.id ?? properties.correlation_id, headers.retries, headers.eta];
  return createHash('sha256')
    .update(JSON.stringify(parts.map((part) => (typeof part === 'bigint' ? String(part) : (part ?? null)))))
    .update(body)
    .digest();
}
