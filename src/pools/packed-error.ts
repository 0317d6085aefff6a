import * as errors from '../errors.ts';
import { saferepr } from '../wire/saferepr.ts';
import { toError } from './thrown.ts';

/** An error as plain data, for structured cloning, which by itself keeps neither class nor code nor fields. */
export interface PackedError {
  readonly name: string;
  readonly className: string;
  readonly message: string;
  readonly stack?: string;
  /** Own enumerable properties, such as `code`, as far as they can be cloned. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly cause?: PackedCause;
  /** Of an AggregateError. */
  readonly errors?: readonly PackedError[];
}

/** Causes are errors mostly, but may be anything. */
type PackedCause = { readonly error: PackedError } | { readonly value: unknown };

type ErrorClass = abstract new (...args: never[]) => Error;

/** The classes that both sides have. */
const CLASSES: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ...Object.entries(errors).flatMap(([name, value]) =>
    value.prototype instanceof Error ? [[name, value as ErrorClass] as const] : [],
  ),
  ...[Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError, AggregateError].map(
    (known) => [known.name, known] as const,
  ),
]);

/** Chains of causes are followed so far: some go in circles. */
const MAX_CAUSES = 8;

/** Makes plain data of whatever was thrown. Never throws. */
export function packError(thrown: unknown, depth = 0): PackedError {
  try {
    return pack(toError(thrown), depth);
  } catch {
    // A getter or a proxy that throws: what was thrown is lost, that something was is not.
    return { name: 'Error', className: 'Error', message: 'an error that could not be read', fields: {} };
  }
}

function pack(error: Error, depth: number): PackedError {
  const { name, message, stack, cause } = error;
  return {
    name: String(name),
    className: String(error.constructor?.name ?? 'Error'),
    message: String(message),
    ...(typeof stack === 'string' && { stack }),
    fields: fieldsOf(error),
    ...(cause !== undefined && depth < MAX_CAUSES && { cause: packCause(cause, depth) }),
    ...(error instanceof AggregateError &&
      depth < MAX_CAUSES && { errors: error.errors.map((each) => packError(each, depth + 1)) }),
  };
}

function packCause(cause: unknown, depth: number): PackedCause {
  if (cause instanceof Error) return { error: packError(cause, depth + 1) };
  return { value: canClone(cause) ? cause : saferepr(cause) };
}

function fieldsOf(error: Error): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(error)) {
    if (!['name', 'message', 'stack', 'cause'].includes(key) && canClone(value)) fields[key] = value;
  }
  return fields;
}

function canClone(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return typeof value !== 'function' && typeof value !== 'symbol';
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}

/** Makes the error again: of its own class where that is Lovage's or JavaScript's, else an Error of its name. */
export function unpackError(packed: PackedError): Error {
  const error = new Error(packed.message);
  const known = CLASSES.get(packed.className);
  // Not by its constructor, whose parameters nobody here knows.
  if (known) Object.setPrototypeOf(error, known.prototype);
  const name = packed.name === 'Error' ? packed.className : packed.name;
  if (error.name !== name) hide(error, 'name', name);
  if (packed.stack !== undefined) hide(error, 'stack', packed.stack);
  for (const [key, value] of Object.entries(packed.fields)) {
    Object.defineProperty(error, key, { value, enumerable: true, configurable: true, writable: true });
  }
  const { cause, errors: parts } = packed;
  if (cause) hide(error, 'cause', 'error' in cause ? unpackError(cause.error) : cause.value);
  if (parts) hide(error, 'errors', parts.map(unpackError));
  return error;
}

function hide(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, enumerable: false, configurable: true, writable: true });
}
