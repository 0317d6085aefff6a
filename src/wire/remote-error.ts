import * as errors from '../errors.ts';
import { encodeJson } from './json.ts';
import { saferepr } from './saferepr.ts';
import type { WireError } from './task-message.ts';

/** A class that {@link decodeError} may construct from the arguments that came over the wire. */
export type ErrorClass = new (...args: never[]) => Error;

type AnyErrorClass = new (...args: readonly unknown[]) => Error;

/** The module of all errors that Python has no class for; not importable there, so Celery makes a class of the name. */
const OWN_MODULE = 'lovage';

/** Our classes whose meaning Celery has a class for (wire SPEC 6.2). */
const CELERY_NAMES: ReadonlyMap<string, { readonly type: string; readonly module: string }> = new Map([
  ['NotRegisteredError', { type: 'NotRegistered', module: 'celery.exceptions' }],
  ['TaskRevokedError', { type: 'TaskRevokedError', module: 'celery.exceptions' }],
  ['MaxRetriesExceededError', { type: 'MaxRetriesExceededError', module: 'celery.exceptions' }],
  ['ChordError', { type: 'ChordError', module: 'celery.exceptions' }],
  ['TimeoutError', { type: 'TimeoutError', module: 'celery.exceptions' }],
  ['Retry', { type: 'Retry', module: 'celery.exceptions' }],
  ['Ignore', { type: 'Ignore', module: 'celery.exceptions' }],
  ['Reject', { type: 'Reject', module: 'celery.exceptions' }],
  ['TimeLimitExceeded', { type: 'TimeLimitExceeded', module: 'billiard.exceptions' }],
  ['SoftTimeLimitExceeded', { type: 'SoftTimeLimitExceeded', module: 'billiard.exceptions' }],
  ['WorkerLostError', { type: 'WorkerLostError', module: 'billiard.exceptions' }],
]);

/** Errors known by name, of whatever class they are here. */
const MODULES: ReadonlyMap<string, string> = new Map([
  ['TimeLimitExceeded', 'billiard.exceptions'],
  ['SoftTimeLimitExceeded', 'billiard.exceptions'],
  ['WorkerLostError', 'billiard.exceptions'],
  // The two names that JavaScript and Python share.
  ['TypeError', 'builtins'],
  ['SyntaxError', 'builtins'],
]);

/** JavaScript's own, by the module they travel with. `Error` of module builtins would be no class of Python's. */
const JS_ERRORS: ReadonlyMap<string, AnyErrorClass> = new Map<string, AnyErrorClass>([
  ['builtins.TypeError', TypeError as AnyErrorClass],
  ['builtins.SyntaxError', SyntaxError as AnyErrorClass],
  [`${OWN_MODULE}.Error`, Error as AnyErrorClass],
  [`${OWN_MODULE}.RangeError`, RangeError as AnyErrorClass],
  [`${OWN_MODULE}.ReferenceError`, ReferenceError as AnyErrorClass],
  [`${OWN_MODULE}.EvalError`, EvalError as AnyErrorClass],
  [`${OWN_MODULE}.URIError`, URIError as AnyErrorClass],
]);

const OUR_ERRORS = collectOurErrors();

/**
 * Writes whatever a task threw as Celery's exception map (wire SPEC 6.2). Errors of ours take Celery's name where it
 * has one; `TypeError` and `SyntaxError` are Python's too; every other class keeps its name, in the module `lovage`,
 * which Python readers turn into a class of that name. The arguments are `error.args` if it is an array (so that a
 * class can be rebuilt from them), else the message. `cause` is not sent. Never throws.
 */
export function encodeError(error: unknown): WireError {
  try {
    if (error instanceof errors.RemoteTaskError) {
      return { exc_type: error.type, exc_message: error.args.map(toSendable), exc_module: error.module };
    }
    if (!(error instanceof Error)) {
      const text = typeof error === 'string' ? error : `thrown value: ${saferepr(error)}`;
      return { exc_type: 'Error', exc_message: [text], exc_module: OWN_MODULE };
    }
    return { ...nameOf(error), exc_message: argsOf(error) };
  } catch {
    // A getter or a proxy that throws; what the task threw is lost, that it failed is not.
    return { exc_type: 'Error', exc_message: ['an error that could not be read'], exc_module: OWN_MODULE };
  }
}

/**
 * Makes an error from Celery's exception map, to be thrown at the caller of a result. A class of `registry` with the
 * name `exc_type` is constructed with the arguments; then errors of ours; then JavaScript's own, but only with the
 * module {@link encodeError} gives them, so that Python's `Exception` does not pass for an `Error` of this program;
 * all others become {@link RemoteTaskError}. `traceback` becomes the stack. Never throws, whatever came.
 */
export function decodeError(
  wire: unknown,
  registry: ReadonlyMap<string, ErrorClass> = new Map(),
  traceback?: string,
): Error {
  const { type, module, args } = readWireError(wire);
  const known = (registry.get(type) as AnyErrorClass | undefined) ?? classOf(type, module);
  const error = (known && construct(known, type, args)) ?? remoteError(type, module, args);
  if (traceback !== undefined && traceback !== '') attachStack(error, traceback);
  return error;
}

function nameOf(error: Error): { exc_type: string; exc_module: string } {
  // What a Python worker would raise for them.
  if (error instanceof errors.ArgumentsError) return { exc_type: 'TypeError', exc_module: 'builtins' };
  const className = error.constructor?.name ?? 'Error';
  if (error instanceof errors.LovageError) {
    const celery = CELERY_NAMES.get(className);
    if (celery !== undefined) return { exc_type: celery.type, exc_module: celery.module };
  }
  // A class that does not set `name` inherits "Error"; then its own name says more.
  const name = error.name === 'Error' || typeof error.name !== 'string' ? className : error.name;
  const type = name === '' ? 'Error' : name;
  return { exc_type: type, exc_module: MODULES.get(type) ?? OWN_MODULE };
}

function argsOf(error: Error): unknown[] {
  const { args } = error as { args?: unknown };
  if (Array.isArray(args)) return args.map(toSendable);
  return [String(error.message)];
}

/** What JSON has no form for is sent as text, as Celery does. */
function toSendable(value: unknown): unknown {
  try {
    encodeJson(value);
    return value;
  } catch {
    return saferepr(value);
  }
}

interface ReadError {
  readonly type: string;
  readonly module: string;
  readonly args: readonly unknown[];
}

function readWireError(wire: unknown): ReadError {
  if (typeof wire !== 'object' || wire === null) {
    return { type: 'Error', module: '', args: [typeof wire === 'string' ? wire : saferepr(wire)] };
  }
  const { exc_type: type, exc_message: message, exc_module: module } = wire as Record<string, unknown>;
  return {
    type: typeof type === 'string' && type !== '' ? type : 'Error',
    module: typeof module === 'string' ? module : '',
    args: Array.isArray(message) ? message : message === undefined || message === null ? [] : [message],
  };
}

function classOf(type: string, module: string): AnyErrorClass | undefined {
  return OUR_ERRORS.get(`${module}.${type}`) ?? JS_ERRORS.get(`${module}.${type}`);
}

function construct(known: AnyErrorClass, type: string, args: readonly unknown[]): Error | undefined {
  try {
    const error = new known(...args);
    if (error.name === 'Error' && type !== 'Error') error.name = type;
    return error instanceof Error ? error : undefined;
  } catch {
    return undefined;
  }
}

function remoteError(type: string, module: string, args: readonly unknown[]): Error {
  try {
    return new errors.RemoteTaskError(type, module, args);
  } catch {
    // Its message shows the arguments as JSON, which not all of them have.
    return new errors.RemoteTaskError(
      type,
      module,
      args.map((arg) => (typeof arg === 'string' ? arg : saferepr(arg))),
    );
  }
}

function attachStack(error: Error, traceback: string): void {
  try {
    if (error instanceof errors.RemoteTaskError) error.remoteStack = traceback;
    else error.stack = traceback;
  } catch {
    // A frozen error keeps the stack it has.
  }
}

function collectOurErrors(): ReadonlyMap<string, AnyErrorClass> {
  const classes = new Map<string, AnyErrorClass>();
  for (const [name, value] of Object.entries(errors)) {
    const celery = CELERY_NAMES.get(name);
    const key = celery === undefined ? `${OWN_MODULE}.${name}` : `${celery.module}.${celery.type}`;
    classes.set(key, value as AnyErrorClass);
  }
  return classes;
}
