import { DecodeError } from '../errors.ts';
import { parseIsoTime } from './iso-time.ts';
import { setOwn } from './json-reader.ts';
import { saferepr } from './saferepr.ts';

/** What kombu >= 5.3 wraps a value in that JSON has no form for (wire SPEC 2.2). */
interface Tagged {
  readonly __type__: string;
  readonly __value__: unknown;
}

/** Tells an object that kombu would unwrap: one whose only keys are `__type__` and `__value__`. */
export function isTagged(object: object): object is Tagged {
  return Object.hasOwn(object, '__type__') && Object.hasOwn(object, '__value__') && Object.keys(object).length === 2;
}

/**
 * Replaces every tagged object inside a decoded value, in place, by what it stands for. Throws {@link DecodeError} for
 * a type that kombu does not have, and for a value that is not of its type.
 */
export function reviveTags(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i += 1) value[i] = reviveTags(value[i]);
    return value;
  }
  const object = value as Record<string, unknown>;
  // Inner ones first, as Python's object hook does: a tagged object may hold another as its value.
  for (const key of Object.keys(object)) {
    const old = object[key];
    const revived = reviveTags(old);
    if (revived !== old) setOwn(object, key, revived);
  }
  return isTagged(object) ? revive(object) : object;
}

function revive({ __type__: type, __value__: value }: Tagged): unknown {
  switch (type) {
    case 'datetime': {
      const epochMs = typeof value === 'string' ? parseIsoTime(value) : undefined;
      if (epochMs === undefined) throw unreadable(type, 'an ISO time', value);
      return new Date(epochMs);
    }
    case 'date':
    case 'time':
    case 'decimal':
      if (typeof value !== 'string') throw unreadable(type, 'a string', value);
      return value;
    case 'uuid':
      return hyphenate(value);
    case 'bytes':
      if (typeof value !== 'string') throw unreadable(type, 'a string', value);
      return new Uint8Array(Buffer.from(value, 'utf8'));
    case 'base64':
      if (typeof value !== 'string') throw unreadable(type, 'base64 text', value);
      return new Uint8Array(Buffer.from(value, 'base64'));
    default:
      throw new DecodeError(
        `Unknown __type__ ${saferepr(type, 80)}: expected datetime, date, time, decimal, uuid, bytes or base64. ` +
          'Types registered by one application with kombu cannot be read here; send a plain value instead.',
      );
  }
}

function hyphenate(value: unknown): string {
  const hex = typeof value === 'object' && value !== null ? (value as { hex?: unknown }).hex : undefined;
  if (typeof hex !== 'string' || !/^[0-9a-fA-F]{32}$/.test(hex)) {
    throw unreadable('uuid', 'an object with 32 hex digits under the key hex', value);
  }
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function unreadable(type: string, expected: string, got: unknown): DecodeError {
  return new DecodeError(
    `Bad value of __type__ ${saferepr(type, 80)}: expected ${expected}, got ${saferepr(got, 80)}.`,
  );
}
