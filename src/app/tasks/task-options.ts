import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ConfigError } from '../../errors.ts';
import { kinds, type OptionsOf, type OptionTable, option } from '../../util/options.ts';
import type { WireSignature } from '../../wire/task-message.ts';
import { type ErrorClass, retryPolicyKind } from '../config.ts';
import { hookTable } from './hooks.ts';
import { orderingKind, rateLimitKind, serialKind, uniqueKind } from './limits.ts';
import type { RetryKwargs } from './retry-options.ts';
import { TaskBase, type TaskClass } from './task-base.ts';

const errorClasses = kinds.custom<readonly ErrorClass[]>(
  'a list of error classes, such as [TypeError]',
  (v) => Array.isArray(v) && v.every((c) => typeof c === 'function'),
);
/** What `maxRetries` may be. */
export const retryLimit = kinds.custom<number | null>(
  'a whole number from 0 up, or null for no limit',
  (v) => v === null || kinds.int(0).is(v),
);

const exchangeLater = 'tasks go to a queue by its name; give queue';

/** Every option of `app.task(name, options, fn)`, with Celery's meanings and units (seconds). */
export const taskOptionTable = {
  bind: option({ kind: kinds.flag, default: false, doc: 'Give the task context as the first argument.' }),
  params: option({
    kind: kinds.texts,
    doc: "Parameter names, for keyword arguments of Python callers; `'y?'` marks an optional one. Without it: the function's own.",
  }),
  schema: option<StandardSchemaV1>({
    kind: kinds.custom('a Standard Schema (zod, valibot, arktype, ...) of the list of arguments', (v) => {
      return v !== null && (typeof v === 'object' || typeof v === 'function') && '~standard' in v;
    }),
    doc: 'Checks the list of arguments when the task is sent and when it runs.',
  }),
  queue: option({ kind: kinds.text, doc: 'Queue to send to.' }),
  runOn: option({
    kind: kinds.oneOf('ecs'),
    doc: "'ecs': each call runs as an ECS task of its own. It goes to the queue of taskEcsQueue unless another is named. [How](long-jobs-on-ecs.md)",
  }),
  priority: option({ kind: kinds.int(0, 9), doc: '0 is served first, 9 last.' }),
  expires: option({ kind: kinds.seconds(), doc: 'Seconds after sending when it is not to be run any more.' }),
  serializer: option({ kind: kinds.oneOf('json', 'msgpack', 'yaml'), doc: 'Overrides taskSerializer.' }),
  compression: option({ kind: kinds.oneOf('zlib', 'gzip', 'brotli', 'zstd'), doc: 'Overrides taskCompression.' }),
  ignoreResult: option({ kind: kinds.flag, doc: 'Overrides taskIgnoreResult.' }),
  storeErrorsEvenIfIgnored: option({ kind: kinds.flag, doc: 'Overrides taskStoreErrorsEvenIfIgnored.' }),
  trackStarted: option({
    kind: kinds.flag,
    doc: 'Overrides taskTrackStarted; true for a task with `once`, unless given.',
  }),
  acksLate: option({ kind: kinds.flag, doc: 'Overrides taskAcksLate.' }),
  acksOnFailureOrTimeout: option({ kind: kinds.flag, doc: 'Overrides taskAcksOnFailureOrTimeout.' }),
  maxDeliveries: option({ kind: kinds.int(1), doc: 'Overrides taskMaxDeliveries.' }),
  maxRetries: option<number | null>({
    kind: retryLimit,
    default: 3,
    doc: 'Retries before the task fails; null for no limit.',
  }),
  defaultRetryDelay: option({
    kind: kinds.seconds(),
    default: 180,
    doc: 'Seconds before a retry that names no delay.',
  }),
  autoretryFor: option({
    kind: errorClasses,
    default: [],
    doc: 'Errors that retry the task by themselves. TimeLimitExceeded and WorkerLostError only where they are named.',
  }),
  dontAutoretryFor: option({
    kind: errorClasses,
    default: [],
    doc: 'Errors that do not, though `autoretryFor` covers them.',
  }),
  retryBackoff: option<boolean | number>({
    kind: kinds.custom('true, false or a number of seconds', (v) => typeof v === 'boolean' || kinds.seconds().is(v)),
    default: false,
    doc: 'Double the delay with each automatic retry, from 1 s or from so many seconds.',
  }),
  retryBackoffMax: option({ kind: kinds.seconds(), default: 600, doc: 'Longest delay of retryBackoff, in seconds.' }),
  retryJitter: option({
    kind: kinds.flag,
    default: true,
    doc: 'Draw each delay of retryBackoff at random between 0 and its full length.',
  }),
  throws: option({
    kind: errorClasses,
    default: [],
    doc: 'Errors that are expected: logged without a stack, as information.',
  }),
  once: option({
    kind: kinds.flag,
    default: false,
    doc: 'Never run twice at once, and never again once finished, whatever copies of the message there are. [How](limits.md)',
  }),
  rateLimit: option({
    kind: rateLimitKind,
    doc: 'How often the task may begin: in each worker, as in Celery, or with `{ limit, key, burst }` over all workers.',
  }),
  serial: option({
    kind: serialKind,
    doc: 'How many runs of one key may go on at once over all workers: `(...args) => key` for one, `{ key, limit }` for more.',
  }),
  ordering: option({
    kind: orderingKind,
    doc: '`{ key: (...args) => text }`: calls of one key run one after the other, in the order in which they were sent. For FIFO queues of SQS, whose every message has a key; see [sqs](sqs.md).',
  }),
  unique: option({
    kind: uniqueKind,
    doc: "Do not send a call while an equal one is there; the caller gets the result of that one. `until` is `'end'`, `ttl` 3600 unless given.",
  }),
  retryKwargs: option<RetryKwargs>({
    kind: kinds.map,
    doc: 'Options of `self.retry()` for automatic retries, such as `{ countdown: 5, queue: "slow" }`.',
  }),
  ...hookTable,
  base: option<TaskClass>({
    kind: kinds.custom(
      'a class that extends TaskBase',
      (v) => typeof v === 'function' && v.prototype instanceof TaskBase,
    ),
    doc: 'A class that extends TaskBase, with hooks and fields for its tasks.',
  }),
  typing: option({ kind: kinds.flag, unsupported: 'arguments are always checked', doc: '' }),
  trail: option({ kind: kinds.flag, unsupported: 'children are always recorded', doc: '' }),
  backend: option({ kind: kinds.text, unsupported: 'an application has one result backend', doc: '' }),
  exchange: option({ kind: kinds.text, unsupported: exchangeLater, doc: '' }),
  routingKey: option({ kind: kinds.text, unsupported: exchangeLater, doc: '' }),
  rejectOnWorkerLost: option({ kind: kinds.flag, doc: 'Overrides taskRejectOnWorkerLost.' }),
  timeLimit: option({ kind: kinds.seconds(), doc: 'Overrides taskTimeLimit, in seconds.' }),
  softTimeLimit: option({ kind: kinds.seconds(), doc: 'Overrides taskSoftTimeLimit, in seconds.' }),
  pool: option({ kind: kinds.oneOf('async', 'threads', 'processes', 'solo'), doc: 'Overrides workerPool.' }),
  sendEvents: option({ kind: kinds.flag, unsupported: 'task events are not in this version', doc: '' }),
} satisfies OptionTable;

const ofOneTask = 'it belongs to one task; give it to app.task';

/** Every option of `app.defineTask(defaults)`. */
export const taskDefaultsTable = {
  ...taskOptionTable,
  schema: { ...taskOptionTable.schema, unsupported: ofOneTask },
  params: { ...taskOptionTable.params, unsupported: ofOneTask },
} satisfies OptionTable;

const ofTasks = 'give it to app.task or app.defineTask';
const methodInstead = 'a class has methods for it: beforeStart, onSuccess, onFailure, onRetry, afterReturn';

/** Every option that a task class may have in `static options`. */
export const taskClassOptionTable = {
  ...taskDefaultsTable,
  bind: { ...taskOptionTable.bind, unsupported: ofTasks },
  base: { ...taskOptionTable.base, unsupported: 'extend the class' },
  before: { ...hookTable.before, unsupported: methodInstead },
  onSuccess: { ...hookTable.onSuccess, unsupported: methodInstead },
  onFailure: { ...hookTable.onFailure, unsupported: methodInstead },
  onRetry: { ...hookTable.onRetry, unsupported: methodInstead },
  after: { ...hookTable.after, unsupported: methodInstead },
} satisfies OptionTable;

/** What `app.defineTask(defaults)` takes: the options that several tasks may share. */
export type TaskDefaults = Omit<TaskOptions, 'schema' | 'params'>;

/** What `app.task(name, options, fn)` takes. Each option is a row of docs/config.md. */
export type TaskOptions = OptionsOf<typeof taskOptionTable>;

const signatures = kinds.custom<Sendable | readonly Sendable[]>(
  'a signature such as task.s(1), or a list of them',
  (v) => [v].flat().every((s) => typeof s === 'object' && s !== null && 'toWire' in s),
);
const instant = kinds.custom<Date | number>('a Date or epoch milliseconds', (v) => {
  return v instanceof Date ? !Number.isNaN(v.getTime()) : typeof v === 'number' && Number.isFinite(v);
});

/** A signature, as far as a message is concerned. */
export interface Sendable {
  toWire(): WireSignature;
}

/** Every option of one call: `applyAsync`, `applyMany`, `sendTask` and signatures. */
export const callOptionTable = {
  kwargs: option({ kind: kinds.map, doc: 'Keyword arguments, for Python tasks.' }),
  countdown: option({ kind: kinds.seconds(), doc: 'Run so many seconds from now.' }),
  eta: option({ kind: instant, doc: 'Run at this instant.' }),
  expires: option<Date | number>({
    kind: kinds.custom(
      'a number of seconds from 0 up, or a Date',
      (v) => instant.is(v) && (v instanceof Date || v >= 0),
    ),
    doc: 'Do not run after so many seconds, or after this Date.',
  }),
  queue: option({ kind: kinds.text, doc: 'Queue to send to.' }),
  priority: option({ kind: kinds.int(0, 9), doc: '0 is served first, 9 last.' }),
  taskId: option({ kind: kinds.text, doc: 'The id to use, in place of a fresh UUID.' }),
  link: option({ kind: signatures, doc: 'Sent with the return value when the task succeeds.' }),
  linkError: option({ kind: signatures, doc: 'Sent with the task id when it fails.' }),
  orderingKey: option({ kind: kinds.text, doc: 'What `ordering` of the task would make of the arguments.' }),
  headers: option({ kind: kinds.map, doc: 'Headers of your own; the task finds them in `self.request.headers`.' }),
  ignoreResult: option({ kind: kinds.flag, doc: 'Store no result of this call.' }),
  stamps: option({
    kind: kinds.map,
    doc: "Marks that all that follows from this call carries too: `{ tenant: 'acme' }`. In `self.request.stamps`.",
  }),
  serializer: option({ kind: kinds.oneOf('json', 'msgpack', 'yaml'), doc: 'Overrides the serializer.' }),
  compression: option({ kind: kinds.oneOf('zlib', 'gzip', 'brotli', 'zstd'), doc: 'Overrides the compression.' }),
  shadow: option({ kind: kinds.text, doc: 'Name to show in its place.' }),
  argsRepr: option({ kind: kinds.text, doc: 'What logs and monitors show for the arguments, to hide secrets.' }),
  kwargsRepr: option({ kind: kinds.text, doc: 'The same for keyword arguments.' }),
  retry: option({ kind: kinds.flag, doc: 'Overrides taskPublishRetry.' }),
  retryPolicy: option({ kind: retryPolicyKind, doc: 'Overrides those parts of taskPublishRetryPolicy that it names.' }),
  signal: option<AbortSignal>({
    kind: kinds.custom('an AbortSignal', (v) => v instanceof AbortSignal),
    doc: 'Gives up sending when it aborts.',
  }),
  addToParent: option({ kind: kinds.flag, unsupported: 'children are always recorded', doc: '' }),
  exchange: option({ kind: kinds.text, unsupported: exchangeLater, doc: '' }),
  routingKey: option({ kind: kinds.text, unsupported: exchangeLater, doc: '' }),
  timeLimit: option({ kind: kinds.seconds(), doc: 'Overrides taskTimeLimit, in seconds.' }),
  softTimeLimit: option({ kind: kinds.seconds(), doc: 'Overrides taskSoftTimeLimit, in seconds.' }),
} satisfies OptionTable;

/** What `applyAsync(args, options)` takes. Each option is a row of docs/config.md. */
export type CallOptions = OptionsOf<typeof callOptionTable>;

/** Every option of `apply`: those of a call, and how the run tells of errors. */
export const eagerOptionTable = {
  ...callOptionTable,
  throw: option({
    kind: kinds.flag,
    doc: 'Overrides taskEagerPropagates: throw the error of the first task that fails, when all has run.',
  }),
} satisfies OptionTable;

/** What `apply(args, options)` takes. */
export type EagerOptions = OptionsOf<typeof eagerOptionTable>;

/**
 * Refuses a soft time limit that comes no sooner than the hard one. `where` begins the sentence.
 * @throws ConfigError
 */
export function checkTimeLimits(
  where: string,
  { timeLimit, softTimeLimit }: { timeLimit?: number | undefined; softTimeLimit?: number | undefined },
): void {
  if (!timeLimit || !softTimeLimit || softTimeLimit < timeLimit) return;
  throw new ConfigError(
    `${where}: expected softTimeLimit to be below timeLimit, got ${softTimeLimit} s and ${timeLimit} s; give the soft one less time, or the hard one more`,
  );
}
