import { createHash } from 'node:crypto';

/** Keys of stores have bounds; what is longer than this is named by its hash. */
const MAX_BYTES = 600;

/** The name of something in a store that has bounds for its keys: `prefix` and any text. */
export function nameOf(prefix: string, text: string): string {
  if (Buffer.byteLength(text) <= MAX_BYTES) return prefix + text;
  return `${prefix}sha256-${createHash('sha256').update(text).digest('hex')}`;
}
