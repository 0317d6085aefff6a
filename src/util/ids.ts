import { createHash, randomFillSync } from 'node:crypto';

const random = new Uint8Array(4096);
let used = random.length;

/** Two digits for each byte. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** The digits of the time, written once for all ids of a millisecond. */
let time = { ms: Number.NaN, text: '' };

/**
 * A fresh id: a UUID of version 7, which begins with the time. Celery makes version 4 and takes any text; ids that grow
 * with time are neighbours in the indexes of a store, which spares it a page of its own for each.
 */
export function newId(): string {
  const ms = Date.now();
  if (ms !== time.ms) {
    const digits = ms.toString(16).padStart(12, '0');
    time = { ms, text: `${digits.slice(0, 8)}-${digits.slice(8)}-7` };
  }
  if (used + 10 > random.length) {
    randomFillSync(random);
    used = 0;
  }
  const at = used;
  used += 10;
  const hex = (i: number) => HEX[random[at + i] ?? 0];
  const variant = HEX[0x80 | ((random[at + 2] ?? 0) & 0x3f)];
  return `${time.text}${hex(0)?.[0]}${hex(1)}-${variant}${hex(3)}-${hex(4)}${hex(5)}${hex(6)}${hex(7)}${hex(8)}${hex(9)}`;
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
