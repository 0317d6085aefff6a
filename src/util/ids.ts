import { createHash, randomUUID } from 'node:crypto';

/** A fresh task id: a random UUID (v4), as Celery's. */
export const newId = randomUUID as () => string;

/**
 * An id that is the same each time it is made from the same parts, in the form of a UUID (v5 layout). Used for tasks that
 * follow another: when a crash makes a worker send them again, both copies have one id.
 */
export function derivedId(...parts: readonly (string | number)[]): string {
  const hex = createHash('sha1').update(parts.join('\0')).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}
