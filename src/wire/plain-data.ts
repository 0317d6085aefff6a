import { SerializationError } from '../errors.ts';
import { MAX_DEPTH } from './json-reader.ts';
import { isTagged } from './json-tags.ts';

/** Where a writer is inside the value it writes: for error messages and for noticing circles. */
export interface Walk {
  /** What messages call the whole value, or the items of a whole that is a list. */
  readonly root: string | readonly string[];
  readonly path: (string | number)[];
  /** The containers around the current value. */
  readonly above: object[];
}

/** What is left of JavaScript's values once {@link toData} has refused or unwrapped the rest. */
export type Data = undefined | null | string | boolean | number | bigint | Date | Uint8Array | unknown[] | object;

/** Starts a walk through one value. */
export function startWalk(root: string | readonly string[]): Walk {
  return { root, path: [], above: [] };
}

/** Makes the error of a value that cannot be written, with its place in front. */
export function refuse(walk: Walk, why: string): SerializationError {
  return new SerializationError(`Cannot serialize ${formatPath(walk)}: ${why}`);
}

/**
 * Brings one value (not what is inside it) into the form every serializer starts from: `toJSON` is followed, boxed
 * primitives are unboxed, and what would silently become `{}` or vanish is refused with {@link SerializationError}.
 */
export function toData(value: unknown, walk: Walk): Data {
  if (typeof value === 'function') throw refuse(walk, 'it is a function. Send data, or the name of a task.');
  if (typeof value === 'symbol') throw refuse(walk, 'it is a symbol. Send a string.');
  if (typeof value !== 'object' || value === null) return value as Data;
  if (value instanceof Uint8Array) return value;
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw refuse(walk, 'it is an invalid Date.');
    return value;
  }
  const { toJSON } = value as { toJSON?: unknown };
  const object: unknown = typeof toJSON === 'function' ? toJSON.call(value, String(walk.path.at(-1) ?? '')) : value;
  if (object !== value && !isOrdinaryObject(object)) return toData(object, walk);
  if (object instanceof String || object instanceof Number || object instanceof Boolean) return object.valueOf();
  const advice = adviceFor(object as object);
  if (advice !== undefined) throw refuse(walk, advice);
  return object as object;
}

/** Tells objects that need no unwrapping; their own toJSON is not asked, which might never end. */
function isOrdinaryObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !(value instanceof Date) && !(value instanceof Uint8Array);
}

function adviceFor(value: object): string | undefined {
  if (value instanceof Map) return 'it is a Map. Use Object.fromEntries(map).';
  if (value instanceof Set) return 'it is a Set. Use [...set].';
  if (value instanceof Promise) return 'it is a Promise. Await it first.';
  if (value instanceof WeakMap || value instanceof WeakSet) return 'it is a WeakMap or WeakSet. Send plain data.';
  if (value instanceof ArrayBuffer) return 'it is an ArrayBuffer. Use new Uint8Array(buffer).';
  if (ArrayBuffer.isView(value)) return 'it is a typed array. Use Array.from(array), or a Uint8Array for bytes.';
  if (isTagged(value)) {
    return 'its only keys are __type__ and __value__, which the receiver would take for a tagged value. Add a third key.';
  }
  return undefined;
}

/** Steps into an array or object, refusing circles and nesting too deep to be read again. Pair with {@link leave}. */
export function enter(walk: Walk, container: object): void {
  if (walk.above.includes(container)) throw refuse(walk, 'it contains itself (a circular reference).');
  if (walk.above.length >= MAX_DEPTH) throw refuse(walk, `it is nested more than ${MAX_DEPTH} levels deep.`);
  walk.above.push(container);
}

/** Steps out of what {@link enter} stepped into. */
export function leave(walk: Walk): void {
  walk.above.pop();
}

/** Refuses BigInts that would come back as numbers, since every reader here makes numbers of safe integers. */
export function checkBigInt(value: bigint, walk: Walk): bigint {
  if (value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)) {
    throw refuse(walk, `it is the BigInt ${value}n, which would come back as a number. Use Number(x).`);
  }
  return value;
}

function formatPath({ root, path }: Walk): string {
  const named = typeof root !== 'string' && typeof path[0] === 'number' ? root[path[0]] : undefined;
  let text = named ?? (typeof root === 'string' ? root : 'value');
  for (const step of named === undefined ? path : path.slice(1)) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
  }
  if (text.startsWith('.')) text = text.slice(1);
  // A path of hundreds of steps says no more than its two ends.
  return text.length <= 200 ? text : `${text.slice(0, 100)} ... ${text.slice(-60)}`;
}
