import { ConfigError } from '../../errors.ts';
import { kinds } from '../../util/options.ts';

/** Makes the key of one call from its arguments. */
// biome-ignore lint/suspicious/noExplicitAny: the arguments of somebody else's function.
export type KeyFunction = (...args: any[]) => string;

/** A rate that all workers share. */
export interface GlobalRate {
  /** As Celery's: `'10/s'`, `'100/m'`, `'5000/h'`, or a number per second. */
  readonly limit: string | number;
  /** What is limited, by the arguments. Tasks that give the same key share the rate. Without it: the task. */
  readonly key?: KeyFunction;
  /** How many may go at once after a rest. Default 1. */
  readonly burst?: number;
}

/** Celery's rate for each worker (`null` and 0: none), or one that all workers share. */
export type RateLimit = string | number | null | GlobalRate;

/** How many runs of one key may go on at once, over all workers. */
export interface Serial {
  /** Tasks that give the same key share it. */
  readonly key: KeyFunction;
  /** Default 1. */
  readonly limit?: number;
}

/** When a task is not sent because an equal one is there. */
export interface Unique {
  /** What makes two calls of the task equal. Without it: all of their arguments. */
  readonly key?: KeyFunction;
  /**
   * Until when others are refused: until it begins, has succeeded, or has ended in whichever way. Default `'end'`. One
   * that is revoked, expires or goes to the dead letters lets go in any case; one that fails does not under `'success'`.
   */
  readonly until?: 'start' | 'success' | 'end';
  /** Seconds after which others are let in whatever happened, counted from when it may run. Default 3600. */
  readonly ttl?: number;
}

/** Which calls of a task come one after the other, where the broker keeps such an order. */
export interface Ordering {
  /** Calls of the same key, also of other tasks, are one order. */
  readonly key: KeyFunction;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isFunction = (value: unknown) => typeof value === 'function';

/** Whether an object has only fields that are named, each of its kind or absent. */
function hasShape(value: unknown, shape: Readonly<Record<string, (field: unknown) => boolean>>): boolean {
  if (!isObject(value)) return false;
  return Object.entries(value).every(([name, field]) => {
    const is = Object.hasOwn(shape, name) ? shape[name] : undefined;
    return is !== undefined && (field === undefined || is(field));
  });
}

const isRate = (value: unknown) =>
  (typeof value === 'string' || typeof value === 'number') && perSecond(value) !== undefined;

export const rateLimitKind = kinds.custom<RateLimit>(
  "a rate such as '10/s', '100/m' or '5000/h', a number per second, null for none, or { limit, key, burst } for one that all workers share",
  (v) =>
    v === null ||
    isRate(v) ||
    (hasShape(v, { limit: isRate, key: isFunction, burst: (b) => kinds.int(1).is(b) }) && 'limit' in Object(v)),
);

export const serialKind = kinds.custom<KeyFunction | Serial>(
  'a function from the arguments to a key, or { key, limit }',
  (v) =>
    isFunction(v) || (hasShape(v, { key: isFunction, limit: (n) => kinds.int(1).is(n) }) && isFunction(Object(v).key)),
);

export const uniqueKind = kinds.custom<Unique>(
  "an object with key (a function), until ('start', 'success' or 'end') and ttl (seconds above 0)",
  (v) =>
    hasShape(v, {
      key: isFunction,
      until: (u) => u === 'start' || u === 'success' || u === 'end',
      ttl: (t) => kinds.seconds().is(t) && t > 0 && t <= 1e9,
    }),
);

export const orderingKind = kinds.custom<Ordering>(
  'an object with key, a function from the arguments to a text',
  (v) => hasShape(v, { key: isFunction }) && 'key' in Object(v),
);

/** Limits of one task that workers keep, read from its options. */
export interface TaskLimits {
  readonly once: boolean;
  readonly serial: Required<Serial> | undefined;
  /** Kept by each worker alone. */
  readonly workerRate: { readonly intervalMs: number } | undefined;
  readonly globalRate:
    | { readonly intervalMs: number; readonly burst: number; readonly key: KeyFunction | undefined }
    | undefined;
}

/** What options say of limits. */
export interface LimitOptions {
  readonly once?: boolean | undefined;
  readonly rateLimit?: RateLimit | undefined;
  readonly serial?: KeyFunction | Serial | undefined;
}

const known = new WeakMap<LimitOptions, TaskLimits | undefined>();

/** The limits of a task with these options; `undefined` where it has none. */
export function limitsOf(options: LimitOptions): TaskLimits | undefined {
  if (!known.has(options)) known.set(options, readLimits(options));
  return known.get(options);
}

/** Whether it takes a result backend with claims and rates to keep them. */
export function needsStore({ once, serial, globalRate }: TaskLimits): boolean {
  return once || serial !== undefined || globalRate !== undefined;
}

/**
 * The key that a task's own function makes of some arguments.
 * @throws ConfigError where it is no text, or an empty one
 */
export function keyOf(make: KeyFunction, args: readonly unknown[], where: string): string {
  const key: unknown = make(...args);
  if (typeof key === 'string' && key !== '') return key;
  throw new ConfigError(`${where}: expected its key function to return a text that is not empty, got ${String(key)}`);
}

function readLimits({ once = false, rateLimit, serial }: LimitOptions): TaskLimits | undefined {
  const shared = isObject(rateLimit) ? (rateLimit as GlobalRate) : undefined;
  const own = typeof rateLimit === 'object' ? undefined : rateLimit;
  const workerMs = own === undefined ? undefined : intervalMs(own);
  const globalMs = shared && intervalMs(shared.limit);
  if (!once && serial === undefined && workerMs === undefined && globalMs === undefined) return undefined;
  const { key, limit = 1 } = typeof serial === 'function' ? { key: serial } : (serial ?? {});
  return {
    once,
    serial: key && { key, limit },
    workerRate: workerMs === undefined ? undefined : { intervalMs: workerMs },
    globalRate:
      globalMs === undefined ? undefined : { intervalMs: globalMs, burst: shared?.burst ?? 1, key: shared?.key },
  };
}

/** From one to the next; `undefined` for no limit. */
function intervalMs(rate: string | number): number | undefined {
  const often = perSecond(rate);
  return often ? 1000 / often : undefined;
}

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** Celery's grammar of rates: how often in a second; 0 for no limit, `undefined` for what is no rate. */
function perSecond(rate: string | number): number | undefined {
  if (typeof rate === 'number') return rate >= 0 && Number.isFinite(rate) ? rate : undefined;
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:\/\s*([smh]))?\s*$/.exec(rate);
  return match ? Number(match[1]) / (seconds[match[2] ?? 's'] ?? 1) : undefined;
}
