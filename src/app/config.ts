import type { ResultBackend } from '../contracts/backend.ts';
import type { Broker } from '../contracts/broker.ts';
import { ConfigError } from '../errors.ts';
import { nearest } from '../util/nearest.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option, show } from '../util/options.ts';
import { type Autoscale, autoscaleKind } from './autoscale.ts';
import { backendOption, unusedCelerySettings } from './celery-settings.ts';
import type { Logger } from './logger.ts';

/** Where a task goes: what `taskRoutes` maps a name or a pattern with `*` to. */
export interface Route {
  readonly queue?: string;
  readonly priority?: number;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const storeKind = <T>(what: string) =>
  kinds.custom<string | T>(
    `a ${what} URL such as 'sqlite:///path/to/file.db', or a ${what} object`,
    (v) => (typeof v === 'string' && v !== '') || isObject(v),
    (t) => (t === '' ? undefined : t),
  );

const routesKind = kinds.custom<Readonly<Record<string, Route>>>(
  "a map from task names or patterns to { queue, priority }, such as { 'mail.*': { queue: 'mail' } }",
  (v) =>
    isObject(v) &&
    Object.values(v).every(
      (r) =>
        isObject(r) &&
        Object.keys(r).every((k) => k === 'queue' || k === 'priority') &&
        (r.queue === undefined || typeof r.queue === 'string') &&
        (r.priority === undefined || kinds.int(0, 9).is(r.priority)),
    ),
  (t) => kinds.map.parse(t) as Readonly<Record<string, Route>> | undefined,
);

const loggerKind = kinds.custom<Logger>(
  'an object with debug, info, warn and error methods',
  (v) => isObject(v) && ['debug', 'info', 'warn', 'error'].every((m) => typeof v[m] === 'function'),
);

const errorsKind = kinds.custom<readonly ErrorClass[]>(
  'a list of error classes',
  (v) => Array.isArray(v) && v.every((c) => typeof c === 'function'),
);

/** When to try again to publish, in Celery's terms: how often at most (null: no limit), and the waits between, in seconds. */
export interface RetryPolicy {
  readonly max_retries?: number | null;
  readonly interval_start?: number;
  readonly interval_step?: number;
  readonly interval_max?: number;
}

/** Values of `taskPublishRetryPolicy`, and of `retryPolicy` in a call. */
export const retryPolicyKind = kinds.custom<RetryPolicy>(
  'an object with max_retries, interval_start, interval_step, interval_max (seconds)',
  (v) =>
    isObject(v) &&
    Object.entries(v).every(
      ([k, x]) =>
        ['max_retries', 'interval_start', 'interval_step', 'interval_max'].includes(k) &&
        ((typeof x === 'number' && x >= 0) || (k === 'max_retries' && x === null)),
    ),
  (t) => kinds.map.parse(t),
);

/** A class of errors that results may bring back as themselves. */
// biome-ignore lint/suspicious/noExplicitAny: the constructor arguments of somebody else's error class.
export type ErrorClass = new (...args: any[]) => Error;

/**
 * Every option of an application: the one table from which its type, its checks, the environment reader, the reader of
 * Celery settings and docs/config.md are made.
 */
export const configTable = {
  broker: option<string | Broker>({
    kind: storeKind<Broker>('broker'),
    env: ['LOVAGE_BROKER', 'BROKER_URL', 'CELERY_BROKER_URL'],
    celery: ['broker_url', 'BROKER_URL'],
    doc: 'Where messages wait. Without it: a SQLite file in `.lovage/` of the project folder.',
  }),
  backend: option<string | false | ResultBackend>({
    kind: kinds.custom<string | false | ResultBackend>(
      'a result backend URL, a result backend object, or false for none',
      (v) => v === false || (typeof v === 'string' && v !== '') || isObject(v),
      (t) => (t === '' ? undefined : t === 'disabled' ? false : t),
    ),
    env: ['LOVAGE_BACKEND', 'RESULT_BACKEND', 'CELERY_RESULT_BACKEND'],
    celery: ['result_backend', 'CELERY_RESULT_BACKEND'],
    doc: 'Where results are kept; `false` (or `disabled` in the environment) keeps none. Without it: the same store as the broker, where that can keep results.',
  }),
  brokerConnectionRetryOnStartup: option({
    kind: kinds.flag,
    default: false,
    celery: ['broker_connection_retry_on_startup'],
    doc: 'A worker whose broker or result backend is not there when it starts goes on trying. `false`: it waits as long as one try takes (10 s on Redis), then exits with an error.',
  }),
  brokerConnectionMaxRetries: option({
    kind: kinds.int(0),
    default: 0,
    celery: ['broker_connection_max_retries', 'BROKER_CONNECTION_MAX_RETRIES'],
    doc: "How often in a row a worker tries to reach its broker again before it stops with an error; 0 has no limit. Celery's default is 100.",
  }),
  brokerTransportOptions: option({
    kind: kinds.map,
    default: {},
    celery: ['broker_transport_options', 'BROKER_TRANSPORT_OPTIONS'],
    doc: 'Options of the broker driver, as they could also stand in its URL.',
  }),
  resultBackendTransportOptions: option({
    kind: kinds.map,
    default: {},
    celery: ['result_backend_transport_options', 'CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS'],
    doc: 'Options of the result backend driver, as they could also stand in its URL.',
  }),
  taskDefaultQueue: option({
    kind: kinds.text,
    default: 'celery',
    celery: ['task_default_queue', 'CELERY_DEFAULT_QUEUE'],
    doc: 'Queue of tasks that no route, task option or call sends elsewhere.',
  }),
  taskEcsQueue: option({
    kind: kinds.text,
    default: 'ecs',
    doc: "The same for tasks with `runOn: 'ecs'`: the queue of `ecsDispatcher`. [How](long-jobs-on-ecs.md)",
  }),
  taskQueues: option({
    kind: kinds.texts,
    celery: ['task_queues', 'CELERY_QUEUES'],
    doc: 'Queues that a worker without `-Q` consumes. Without it: the default queue.',
  }),
  taskRoutes: option({
    kind: routesKind,
    default: {},
    celery: ['task_routes', 'CELERY_ROUTES'],
    doc: 'Task names, or patterns with `*`, to `{ queue, priority }`. The first match wins.',
  }),
  taskDefaultPriority: option({
    kind: kinds.int(0, 9),
    default: 0,
    celery: ['task_default_priority', 'CELERY_DEFAULT_PRIORITY'],
    doc: 'Priority where none is given: 0 is served first, 9 last.',
  }),
  taskSerializer: option({
    kind: kinds.oneOf('json', 'msgpack', 'yaml'),
    default: 'json',
    celery: ['task_serializer', 'CELERY_TASK_SERIALIZER'],
    doc: 'How arguments are written.',
  }),
  resultSerializer: option({
    kind: kinds.oneOf('json', 'msgpack', 'yaml'),
    default: 'json',
    celery: ['result_serializer', 'CELERY_RESULT_SERIALIZER'],
    doc: 'How results are written. All programs that share a result store must agree on it.',
  }),
  acceptContent: option({
    kind: kinds.texts,
    default: ['json'],
    celery: ['accept_content', 'CELERY_ACCEPT_CONTENT'],
    doc: 'Serializer names or MIME types that a worker reads. pickle is always refused.',
  }),
  jsonTags: option({
    kind: kinds.flag,
    default: true,
    doc: 'Write dates and bytes in the tagged form that Celery 5.3 and later read. `false` writes plain ISO text for Celery 5.2.',
  }),
  taskCompression: option({
    kind: kinds.oneOf('zlib', 'gzip', 'brotli', 'zstd'),
    celery: ['task_compression', 'CELERY_MESSAGE_COMPRESSION'],
    doc: 'Compress message bodies.',
  }),
  maxMessageBytes: option({
    kind: kinds.int(1024),
    doc: 'Refuse to publish a larger body. Without it: what the broker takes.',
  }),
  taskIgnoreResult: option({
    kind: kinds.flag,
    default: false,
    celery: ['task_ignore_result', 'CELERY_IGNORE_RESULT'],
    doc: 'Store no results unless a task or a call says otherwise.',
  }),
  taskStoreErrorsEvenIfIgnored: option({
    kind: kinds.flag,
    default: false,
    celery: ['task_store_errors_even_if_ignored', 'CELERY_STORE_ERRORS_EVEN_IF_IGNORED'],
    doc: 'Store failures of tasks whose results are ignored.',
  }),
  canvasStorage: option({
    kind: kinds.oneOf('message', 'backend'),
    default: 'message',
    doc: "Where the later parts of chains and the bodies of chords wait: in the messages, as in Celery, or once in the result backend, which keeps messages small. All workers that run them should be Lovage's. [More](canvas.md#the-size-of-messages)",
  }),
  taskAllowErrorCbOnChordHeader: option({
    kind: kinds.flag,
    default: false,
    celery: ['task_allow_error_cb_on_chord_header', 'CELERY_ALLOW_ERROR_CB_ON_CHORD_HEADER'],
    doc: "Tell a chord's errbacks of each task of its header that fails, too, not only of its body.",
  }),
  taskAlwaysEager: option({
    kind: kinds.flag,
    default: false,
    celery: ['task_always_eager', 'CELERY_ALWAYS_EAGER'],
    doc: 'Run tasks here and now where they would be sent: `delay()`, `applyAsync()` and `applyMany()` do what `apply()` does, without a broker or a worker. For tests. [How](tasks.md#testing-tasks-without-a-worker)',
  }),
  taskEagerPropagates: option({
    kind: kinds.flag,
    default: false,
    celery: ['task_eager_propagates', 'CELERY_EAGER_PROPAGATES_EXCEPTIONS'],
    doc: 'What runs eagerly throws the error of the first task that fails, when all has run. Without it errors are in the results.',
  }),
  taskStoreEagerResult: option({
    kind: kinds.flag,
    default: false,
    celery: ['task_store_eager_result', 'CELERY_STORE_EAGER_RESULT'],
    doc: 'Store the results of what runs eagerly in the result backend, too.',
  }),
  taskTrackStarted: option({
    kind: kinds.flag,
    default: false,
    celery: ['task_track_started', 'CELERY_TRACK_STARTED'],
    doc: 'Store STARTED when a run begins, with process and worker. Tasks with `once` do so without it.',
  }),
  taskAcksLate: option({
    kind: kinds.flag,
    default: true,
    celery: ['task_acks_late', 'CELERY_ACKS_LATE'],
    doc: "Acknowledge after the result is stored, so that a crash runs the task again. Celery's default is false.",
  }),
  taskAcksOnFailureOrTimeout: option({
    kind: kinds.flag,
    default: true,
    celery: ['task_acks_on_failure_or_timeout', 'CELERY_ACKS_ON_FAILURE_OR_TIMEOUT'],
    doc: 'A failed task is done. `false` sends its message to the dead letters.',
  }),
  taskTimeLimit: option({
    kind: kinds.seconds(),
    celery: ['task_time_limit', 'CELERYD_TASK_TIME_LIMIT'],
    doc: 'Seconds after which a task fails with TimeLimitExceeded. In threads and processes it is killed; on the event loop its signal aborts, and a body that goes on regardless does so unseen.',
  }),
  taskSoftTimeLimit: option({
    kind: kinds.seconds(),
    celery: ['task_soft_time_limit', 'CELERYD_TASK_SOFT_TIME_LIMIT'],
    doc: "Seconds after which a task's signal aborts with SoftTimeLimitExceeded, so that it can end by itself.",
  }),
  taskRejectOnWorkerLost: option({
    kind: kinds.flag,
    default: true,
    celery: ['task_reject_on_worker_lost', 'CELERY_REJECT_ON_WORKER_LOST'],
    doc: 'A task whose thread or process dies comes back when its lease ends, up to taskMaxDeliveries. `false`: it fails with WorkerLostError.',
  }),
  taskMaxDeliveries: option({
    kind: kinds.int(1),
    default: 5,
    doc: 'A message delivered more often than this goes to the dead letters: its workers probably died of it.',
  }),
  taskPublishRetry: option({
    kind: kinds.flag,
    default: true,
    celery: ['task_publish_retry', 'CELERY_TASK_PUBLISH_RETRY'],
    doc: 'Try again to publish when the broker is in trouble.',
  }),
  taskPublishRetryPolicy: option({
    kind: retryPolicyKind,
    default: { max_retries: 3, interval_start: 0, interval_step: 0.2, interval_max: 1 },
    celery: ['task_publish_retry_policy', 'CELERY_TASK_PUBLISH_RETRY_POLICY'],
    doc: 'How often and how long, in seconds; `max_retries: null` has no limit.',
  }),
  resultExpires: option({
    kind: kinds.seconds(),
    default: 86_400,
    celery: ['result_expires', 'CELERY_TASK_RESULT_EXPIRES'],
    doc: 'Seconds until a stored result may vanish; 0 keeps it for ever.',
  }),
  resultExtended: option({
    kind: kinds.flag,
    default: false,
    celery: ['result_extended', 'CELERY_RESULT_EXTENDED'],
    doc: 'Store name, arguments, worker, retries and queue with each result.',
  }),
  workerConcurrency: option({
    kind: kinds.int(1, 100_000),
    default: 10,
    celery: ['worker_concurrency', 'CELERYD_CONCURRENCY'],
    doc: 'Runs at once in one worker.',
  }),
  workerAutoscale: option<Autoscale>({
    kind: autoscaleKind,
    doc: 'Have a worker set by itself how many tasks run at once, between two numbers, in place of workerConcurrency or workerChildren: more while all slots are busy and messages wait, fewer when they were not needed for workerAutoscaleKeepalive, when memory is short, or when the event loop is late. [How](tasks.md#autoscale)',
  }),
  workerAutoscaleKeepalive: option({
    kind: kinds.seconds(),
    default: 30,
    env: ['AUTOSCALE_KEEPALIVE'],
    doc: 'Seconds that a slot is kept for which there is nothing to do.',
  }),
  workerAutoscaleMaxMemory: option({
    kind: kinds.int(1),
    doc: 'What a worker with autoscale may have with its child processes, in KiB, before it runs fewer tasks at once. Without it: 85 % of what its container may have.',
  }),
  workerPrefetchMultiplier: option({
    kind: kinds.int(1, 1000),
    default: 1,
    celery: ['worker_prefetch_multiplier', 'CELERYD_PREFETCH_MULTIPLIER'],
    doc: 'Messages held for each slot; at 1 a worker holds what it runs (but see workerBursts).',
  }),
  workerBursts: option({
    kind: kinds.flag,
    default: true,
    doc: 'Take tasks that end at once in bursts of up to five times the slots; what is left over when one does not end at once goes back. With threads and processes: hold one task more for each while tasks take less than 0.1 s. `false`: never more than there are slots for.',
  }),
  workerPool: option({
    kind: kinds.oneOf('async', 'threads', 'processes', 'solo'),
    default: 'async',
    celery: ['worker_pool', 'CELERYD_POOL'],
    doc: 'Where task bodies run: `async`, on the event loop of the worker; `threads` or `processes`, for code that computes; `solo`, one at a time. A task may name another with its option `pool`.',
  }),
  workerChildren: option({
    kind: kinds.int(1, 1000),
    doc: 'Threads or processes of a pool of these. Without it: as many as there are cores.',
  }),
  workerMaxTasksPerChild: option({
    kind: kinds.int(1),
    celery: ['worker_max_tasks_per_child', 'CELERYD_MAX_TASKS_PER_CHILD'],
    doc: 'A thread or process is replaced after so many tasks.',
  }),
  workerMaxMemoryPerChild: option({
    kind: kinds.int(1),
    celery: ['worker_max_memory_per_child', 'CELERYD_MAX_MEMORY_PER_CHILD'],
    doc: 'A thread or process that has more memory after a task is replaced, in KiB: the heap of a thread, all of a process.',
  }),
  workerShutdownTimeout: option({
    kind: kinds.seconds(),
    doc: 'Seconds that running tasks may take after SIGTERM before they are aborted and given back. Without it: 8, for whoever kills after 10, such as Heroku and Docker; on ECS 28, or 2 less than `ECS_CONTAINER_STOP_TIMEOUT`.',
  }),
  workerSoftShutdownTimeout: option({
    kind: kinds.seconds(),
    default: 0,
    celery: ['worker_soft_shutdown_timeout'],
    doc: 'Seconds that running tasks may take after SIGQUIT, after a second SIGINT, and after SIGTERM with `REMAP_SIGTERM=SIGQUIT`, before they are aborted and given back.',
  }),
  workerWatchdog: option({
    kind: kinds.seconds(),
    default: 60,
    doc: 'A worker with free slots that received nothing for so many seconds counts its queues. Where messages wait, twice in a row, it makes its consumer anew; should that not help, it stops with WORKER_STUCK and exit status 1, to be started again. 0 turns this off.',
  }),
  workerBlockWarning: option({
    kind: kinds.seconds(),
    default: 1,
    doc: 'A warning names the task that kept the event loop of a worker from turning for so many seconds. 0 turns this off. [More](tasks.md#tasks-that-block)',
  }),
  errors: option<readonly ErrorClass[]>({
    kind: errorsKind,
    default: [],
    doc: 'Error classes that results bring back as themselves, found by class name.',
  }),
  logger: option<Logger>({
    kind: loggerKind,
    doc: 'Takes log lines as `logger.info({ ... }, "message")`, as pino does. Without it: readable lines on stderr, from warnings up.',
  }),
} satisfies OptionTable;

/** What `new Lovage(name, options)` takes. Each option is a row of docs/config.md. */
export type LovageOptions = OptionsOf<typeof configTable>;

/** Options after the environment and the defaults: those with a default are always there. */
export type Config = Readonly<Omit<LovageOptions, DefaultedNames>> & {
  readonly [N in DefaultedNames]: Exclude<LovageOptions[N], undefined>;
};

type DefaultedNames = {
  [N in keyof typeof configTable]: (typeof configTable)[N] extends { readonly default: unknown } ? N : never;
}[keyof typeof configTable];

/** A configuration and what should be told about it. */
export interface ResolvedConfig {
  readonly config: Config;
  readonly warnings: readonly string[];
}

/**
 * Puts options together: what the code says wins over the environment, and that over the defaults.
 * @throws ConfigError for an unknown option or a wrong value, wherever it came from
 */
export function resolveConfig(
  options: LovageOptions,
  environment: Readonly<Record<string, string | undefined>>,
): ResolvedConfig {
  checkOptions(configTable, options, 'Lovage');
  const { values, warnings } = readEnvironment(environment, options.backend);
  const defaults = Object.fromEntries(
    Object.entries(configTable).flatMap(([name, row]) => ('default' in row ? [[name, row.default]] : [])),
  );
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { config: { ...defaults, ...values, ...given } as Config, warnings };
}

/** Reads a map of Celery settings (`broker_url`, `task_default_queue`, old and new names) into options. */
export function fromCelerySettings(settings: Readonly<Record<string, unknown>>): {
  options: LovageOptions;
  warnings: string[];
} {
  const options: Record<string, unknown> = {};
  const warnings: string[] = [];
  const driver: Record<string, unknown> = {};
  const backend = settings.result_backend ?? settings.CELERY_RESULT_BACKEND;
  for (const [setting, value] of Object.entries(settings)) {
    if (value === undefined || value === null) continue;
    const name = celeryNames().get(setting);
    if (name) {
      options[name] = setting === 'result_backend' && value === 'disabled' ? false : value;
      continue;
    }
    const driverOption = backendOption(setting, backend);
    if (driverOption !== undefined) {
      driver[driverOption] = value;
      continue;
    }
    const reason = unusedCelerySettings(setting);
    if (reason === undefined) {
      const close = nearest(setting, [...celeryNames().keys()]);
      throw new ConfigError(`Celery has no setting '${setting}'${close ? `; did you mean '${close}'?` : ''}`);
    }
    warnings.push(`Celery's setting '${setting}' is ignored: ${reason}`);
  }
  withDriverOptions(options, driver);
  checkOptions(configTable, options, 'Lovage');
  return { options: options as LovageOptions, warnings };
}

/** Celery's setting names, new and old, and the option each one is. */
function celeryNames(): Map<string, string> {
  const names = new Map<string, string>();
  for (const [name, row] of Object.entries(configTable)) {
    for (const celery of ('celery' in row ? row.celery : undefined) ?? []) names.set(celery, name);
  }
  return names;
}

/** Adds options of the result backend's driver; those that are given by themselves win. */
function withDriverOptions(options: Record<string, unknown>, driver: Readonly<Record<string, unknown>>): void {
  if (Object.keys(driver).length === 0) return;
  options.resultBackendTransportOptions = { ...driver, ...Object(options.resultBackendTransportOptions) };
}

function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  backend: unknown,
): {
  values: Record<string, unknown>;
  warnings: string[];
} {
  const values: Record<string, unknown> = {};
  const warnings: string[] = [];
  const used = new Set<string>();
  for (const [name, row] of Object.entries(configTable) as [string, OptionTable[string]][]) {
    for (const variable of environmentNames(row)) {
      used.add(variable);
      const text = environment[variable];
      if (text === undefined || text === '' || name in values) continue;
      const value: unknown = row.kind.parse(text);
      if (value === undefined || !row.kind.is(value))
        throw new ConfigError(`environment variable ${variable}: expected ${row.kind.expected}, got ${show(text)}`);
      values[name] = value;
    }
  }
  const driver: Record<string, unknown> = {};
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith('CELERY_') || used.has(variable)) continue;
    const setting = variable.slice('CELERY_'.length).toLowerCase();
    const driverOption = backendOption(setting, backend ?? values.backend);
    if (driverOption !== undefined) {
      if (text !== undefined && text !== '') driver[driverOption] = text;
      continue;
    }
    const close = nearest(
      variable,
      [...used].filter((v) => v.startsWith('CELERY_')),
    );
    const reason = unusedCelerySettings(setting) ?? (close ? `it is unknown; did you mean ${close}?` : 'it is unknown');
    warnings.push(`environment variable ${variable} is ignored: ${reason}`);
  }
  withDriverOptions(values, driver);
  return { values, warnings };
}

/** The environment variables of an option: its own, then `CELERY_` with each of Celery's names, as Django projects spell them. */
export function environmentNames(row: OptionTable[string]): string[] {
  const celery = (row.celery ?? []).map((setting) =>
    setting.startsWith('CELERY') ? setting : `CELERY_${setting.toUpperCase()}`,
  );
  return [...new Set([...(row.env ?? []), ...celery])];
}
