import { createHash, randomFillSync } from 'node:crypto';

const random = new Uint8Array(4096);
let used = random.length;

/**
 * A fresh id: a UUID of version 7, which begins with the time. Celery makes version 4 and takes any text; ids that grow
 * with time are neighbours in the indexes of a store, which spares it a page of its own for each.
 */
export function newId(): string {
  if (used === random.length) {
    randomFillSync(random);
    used = 0;
  }
  const bytes = random.subarray(used, used + 16);
  used += 16;
  const now = Date.now();
  bytes[0] = now / 2 ** 40;
  bytes[1] = now / 2 ** 32;
  bytes[2] = now / 2 ** 24;
  bytes[3] = now / 2 ** 16;
  bytes[4] = now / 2 ** 8;
  bytes[5] = now;
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/**
 * An id that is the same each time it is made from the same parts, in the form of a UUID (v5 layout). Used for tasks that
 * follow another: when a crash makes a worker send them again, both copies have one id.
 */
export function derivedId(...parts: readonly (string | number)[]): string {
  const hex = createHash('sha1').update(parts.join('\0')).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}
