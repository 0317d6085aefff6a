import { SerializationError } from '../errors.ts';
import { type PackedError, packError, unpackError } from './packed-error.ts';

/** A value on its way between a pool and a child. Errors that are the value, or a property of it, travel apart. */
export interface Packed {
  readonly value: unknown;
  /** By property; `''` for the value itself. */
  readonly errors?: readonly (readonly [key: string, error: PackedError])[];
}

/** Takes the errors out of a value. What is deeper than its own properties is left to structured cloning. */
export function packValue(value: unknown): Packed {
  if (value instanceof Error) return { value: undefined, errors: [['', packError(value)]] };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { value };
  const errors = Object.entries(value).filter(([, property]) => property instanceof Error);
  if (errors.length === 0) return { value };
  const without: Record<string, unknown> = { ...value };
  // They keep their places among the others.
  for (const [key] of errors) without[key] = undefined;
  return { value: without, errors: errors.map(([key, error]) => [key, packError(error)]) };
}

/** Puts the errors back. */
export function unpackValue({ value, errors }: Packed): unknown {
  if (!errors) return value;
  for (const [key, error] of errors) {
    if (key === '' && value === undefined) return unpackError(error);
    Object.defineProperty(value, key, {
      value: unpackError(error),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return value;
}

/** Tries to write one value; throws where it cannot be. */
export type TryWrite = (value: unknown) => void;

/** The error of a value that cannot be sent to or from a child, with the place of what cannot and what it is. */
export function unsendable(what: string, value: unknown, tryWrite: TryWrite, cause: unknown): SerializationError {
  const { path, culprit } = find(value, '', tryWrite, new Set());
  const place = path === '' ? what : `${what}: ${path.replace(/^\./, '')}`;
  return new SerializationError(
    `Cannot send ${place}: it is ${describe(culprit)}. Threads and processes exchange plain data only.`,
    { cause },
  );
}

/** Follows what cannot be written down to the smallest part that cannot. */
function find(
  value: unknown,
  path: string,
  tryWrite: TryWrite,
  seen: Set<unknown>,
): { readonly path: string; readonly culprit: unknown } {
  if (typeof value === 'object' && value !== null && !seen.has(value)) {
    seen.add(value);
    const parts = value instanceof Map || value instanceof Set ? [...value.entries()] : Object.entries(value);
    for (const [key, part] of parts) {
      if (writes(part, tryWrite)) continue;
      return find(part, Array.isArray(value) ? `${path}[${String(key)}]` : `${path}.${String(key)}`, tryWrite, seen);
    }
  }
  return { path, culprit: value };
}

function writes(value: unknown, tryWrite: TryWrite): boolean {
  try {
    tryWrite(value);
    return true;
  } catch {
    return false;
  }
}

function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol') return 'a symbol';
  const name: unknown = Object(value).constructor?.name;
  return typeof name === 'string' && name !== 'Object' ? `a ${name}` : `a value of type ${typeof value}`;
}
