import { createHash } from 'node:crypto';
import type { WireMessage } from '../wire/message.ts';

/**
 * What copies of one message have in common, wherever they lie. Attempts of a task differ in `retries` and `eta`, calls in
 * the id. Drivers may add to headers and properties, and compress a body, so none of these is taken whole; messages that
 * are nevertheless alike are counted.
 */
export function fingerprint(queue: string, { headers, properties }: WireMessage): Buffer {
  const parts = [queue, headers.id ?? properties.correlation_id, headers.retries, headers.eta];
  return createHash('sha256')
    .update(JSON.stringify(parts.map((part) => (typeof part === 'bigint' ? String(part) : (part ?? null)))))
    .digest();
}
