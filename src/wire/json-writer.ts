import { isUtf8 } from 'node:buffer';
import { formatIsoTime } from './iso-time.ts';
import { checkBigInt, enter, leave, refuse, startWalk, toData, type Walk } from './plain-data.ts';

/** Beyond this the exact writer takes over, which notices circles. */
const PLAIN_DEPTH = 64;

/** Tells whether JSON.stringify writes a value exactly: nothing but strings, ordinary numbers, booleans, null,
 * undefined, arrays and plain objects, none of them looking like a tagged value. */
export function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return true;
    case 'number':
      return isPlainNumber(value);
    case 'object':
      if (value === null) return true;
      if (depth >= PLAIN_DEPTH) return false;
      return Array.isArray(value) ? isPlainArray(value, depth) : isPlainObject(value, depth);
    default:
      return false;
  }
}

function isPlainNumber(value: number): boolean {
  if (value === 0) return !Object.is(value, -0);
  if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER) return true;
  // From here JSON.stringify uses an exponent; below, a double would look like an integer of 16 digits or more.
  return Math.abs(value) >= 1e21 && Number.isFinite(value);
}

function isPlainArray(array: readonly unknown[], depth: number): boolean {
  for (let i = 0; i < array.length; i += 1) {
    if (!isPlain(array[i], depth + 1)) return false;
  }
  return true;
}

function isPlainObject(object: object, depth: number): boolean {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) return false;
  for (const key in object) {
    if (key === '__type__' || !isPlain((object as Record<string, unknown>)[key], depth + 1)) return false;
  }
  return true;
}

/** Writes any serializable value as JSON, slower than JSON.stringify but exactly. Throws {@link SerializationError}. */
export function writeJson(value: unknown, tags: boolean, root: string | readonly string[]): string {
  return write(value, tags, startWalk(root)) ?? 'null';
}

/** `undefined` stands for a property to be left out. */
function write(value: unknown, tags: boolean, walk: Walk): string | undefined {
  const data = toData(value, walk);
  switch (typeof data) {
    case 'undefined':
      return undefined;
    case 'number':
      return writeNumber(data);
    case 'bigint':
      return String(checkBigInt(data, walk));
    case 'object':
      if (data === null) return 'null';
      if (data instanceof Date) return writeDate(data, tags, walk);
      if (data instanceof Uint8Array) return writeBytes(data, tags, walk);
      return Array.isArray(data) ? writeArray(data, tags, walk) : writeObject(data, tags, walk);
    default:
      return JSON.stringify(data);
  }
}

function writeNumber(value: number): string {
  if (Object.is(value, -0)) return '-0.0';
  // A double beyond the safe range is not an exact integer, and must not be read as one.
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
}

function writeArray(array: readonly unknown[], tags: boolean, walk: Walk): string {
  enter(walk, array);
  const items: string[] = [];
  for (let i = 0; i < array.length; i += 1) {
    walk.path.push(i);
    items.push(write(array[i], tags, walk) ?? 'null');
    walk.path.pop();
  }
  leave(walk);
  return `[${items.join(',')}]`;
}

function writeObject(object: object, tags: boolean, walk: Walk): string {
  enter(walk, object);
  const members: string[] = [];
  for (const [key, value] of Object.entries(object)) {
    walk.path.push(key);
    const text = write(value, tags, walk);
    if (text !== undefined) members.push(`${JSON.stringify(key)}:${text}`);
    walk.path.pop();
  }
  leave(walk);
  return `{${members.join(',')}}`;
}

function writeDate(date: Date, tags: boolean, walk: Walk): string {
  const iso = formatIsoTime(date.getTime(), tags ? '+00:00' : 'Z');
  if (iso === undefined) throw refuse(walk, 'its year is not one of 1 to 9999, which is all that Python has.');
  return tags ? tagged('datetime', iso) : `"${iso}"`;
}

function writeBytes(bytes: Uint8Array, tags: boolean, walk: Walk): string {
  if (!tags) throw refuse(walk, 'it is bytes, which kombu before 5.3 has no JSON form for. Send base64 text.');
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(bytes)) return tagged('bytes', buffer.toString('utf8'));
  return tagged('base64', buffer.toString('base64'));
}

function tagged(type: string, value: string): string {
  return `{"__type__":"${type}","__value__":${JSON.stringify(value)}}`;
}
