import { DecodeError } from '../errors.ts';
import { MAX_DEPTH, setOwn } from './json-reader.ts';
import { enter, leave, refuse, startWalk, toData, type Walk } from './plain-data.ts';

/** What a codec makes of a value that is no string and no container, before its library sees it. */
export type LeafWriter = (leaf: null | boolean | number | bigint | Date | Uint8Array, walk: Walk) => unknown;

/**
 * Copies a value into the plain arrays and objects that the msgpack and YAML libraries write correctly, refusing with
 * {@link SerializationError} what {@link encodeJson} refuses. Undefined properties are dropped, items become null.
 */
export function toPlainTree(value: unknown, root: string | readonly string[], leaf: LeafWriter): unknown {
  const walk = startWalk(root);
  return copy(value, walk, leaf) ?? leaf(null, walk);
}

function copy(value: unknown, walk: Walk, leaf: LeafWriter): unknown {
  const data = toData(value, walk);
  if (typeof data === 'string') {
    if (!data.isWellFormed()) throw refuse(walk, 'it holds half of a surrogate pair, which UTF-8 cannot express.');
    return data;
  }
  if (data === undefined) return undefined;
  if (typeof data !== 'object' || data === null) return leaf(data, walk);
  if (data instanceof Date || data instanceof Uint8Array) return leaf(data, walk);
  enter(walk, data);
  const tree = Array.isArray(data) ? copyArray(data, walk, leaf) : copyObject(data, walk, leaf);
  leave(walk);
  return tree;
}

function copyArray(array: readonly unknown[], walk: Walk, leaf: LeafWriter): unknown[] {
  const items: unknown[] = [];
  for (let i = 0; i < array.length; i += 1) {
    walk.path.push(i);
    items.push(copy(array[i], walk, leaf) ?? leaf(null, walk));
    walk.path.pop();
  }
  return items;
}

function copyObject(object: object, walk: Walk, leaf: LeafWriter): Record<string, unknown> {
  const members: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(object)) {
    walk.path.push(key);
    const member = copy(value, walk, leaf);
    if (member !== undefined) setOwn(members, key, member);
    walk.path.pop();
  }
  return members;
}

/**
 * Turns BigInts in the safe range into numbers, in place: the libraries read either all integers as BigInt, or none.
 * Throws {@link DecodeError} for nesting too deep to be walked, which includes YAML that contains itself.
 */
export function shrinkIntegers(value: unknown, depth = 0): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (depth > MAX_DEPTH) throw new DecodeError(`Expected nesting of at most ${MAX_DEPTH} levels, got more.`);
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i += 1) value[i] = shrinkIntegers(value[i], depth + 1);
  } else if (isPlainObject(value)) {
    for (const key of Object.keys(value)) {
      const old = value[key];
      if (typeof old === 'bigint' || typeof old === 'object') setOwn(value, key, shrinkIntegers(old, depth + 1));
    }
  }
  return value;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
