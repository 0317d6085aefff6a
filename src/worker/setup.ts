import type { LovageApp } from '../app/app.ts';
import { type Autoscale, autoscaleKind } from '../app/autoscale.ts';
import { checkTimeLimits } from '../app/tasks/task-options.ts';
import { ConfigError } from '../errors.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../util/options.ts';
import { type Grace, graceOf, platformOf } from './life/grace.ts';
import { nodeName } from './node-name.ts';
import { defaultChildren, type PoolName, poolNames } from './running/lanes.ts';

/** Every option of a worker; the same names as the command line's. */
export const workerOptionTable = {
  queues: option({ kind: kinds.texts, doc: 'Queues to consume. Without it: taskQueues, or the default queue.' }),
  concurrency: option({ kind: kinds.int(1, 100_000), doc: 'Overrides workerConcurrency, and workerAutoscale.' }),
  autoscale: option({ kind: autoscaleKind, doc: 'Overrides workerAutoscale. Not together with concurrency.' }),
  pool: option({ kind: kinds.oneOf(...poolNames), doc: 'Overrides workerPool.' }),
  appFile: option({
    kind: kinds.text,
    doc: 'The file that exports the app, for threads and processes. Without it: the file that made it.',
  }),
  timeLimit: option({ kind: kinds.seconds(), doc: 'Overrides taskTimeLimit, in seconds.' }),
  softTimeLimit: option({ kind: kinds.seconds(), doc: 'Overrides taskSoftTimeLimit, in seconds.' }),
  maxTasksPerChild: option({ kind: kinds.int(1), doc: 'Overrides workerMaxTasksPerChild.' }),
  maxMemoryPerChild: option({ kind: kinds.int(1), doc: 'Overrides workerMaxMemoryPerChild, in KiB.' }),
  prefetchMultiplier: option({ kind: kinds.int(1, 1000), doc: 'Overrides workerPrefetchMultiplier.' }),
  name: option({
    kind: kinds.text,
    doc: "Node name; `%h` is the host, `%n` the name, `%d` the domain. Default 'celery@%h'.",
  }),
  shutdownTimeout: option({ kind: kinds.seconds(), doc: 'Overrides workerShutdownTimeout, in seconds.' }),
  softShutdownTimeout: option({ kind: kinds.seconds(), doc: 'Overrides workerSoftShutdownTimeout, in seconds.' }),
} satisfies OptionTable;

export type WorkerOptions = OptionsOf<typeof workerOptionTable>;

/** What a worker goes by: its own options, the application's where it has none, checked. */
export interface WorkerSetup {
  readonly hostname: string;
  readonly queues: readonly string[];
  readonly pool: PoolName;
  /** How many tasks run at once in the main pool; with `autoscale` at first. */
  readonly slots: number;
  readonly autoscale: Autoscale | undefined;
  readonly prefetchMultiplier: number;
  readonly appFile: string | undefined;
  /** Seconds. */
  readonly timeLimit: number | undefined;
  readonly softTimeLimit: number | undefined;
  readonly maxTasksPerChild: number | undefined;
  /** KiB. */
  readonly maxMemoryPerChild: number | undefined;
  readonly grace: Grace;
  readonly softShutdownMs: number;
}

/** @throws ConfigError for an unknown or wrong option, and for options that contradict each other */
export function workerSetup(app: LovageApp, options: WorkerOptions): WorkerSetup {
  checkOptions(workerOptionTable, options, 'the worker');
  const { config } = app;
  const timeLimit = options.timeLimit ?? config.taskTimeLimit;
  const softTimeLimit = options.softTimeLimit ?? config.taskSoftTimeLimit;
  checkTimeLimits('the worker', { timeLimit, softTimeLimit });
  const queues = options.queues ?? config.taskQueues ?? [config.taskDefaultQueue];
  if (queues.length === 0) throw new ConfigError('a worker needs at least one queue, got an empty list');
  const pool = options.pool ?? config.workerPool;
  const autoscale = autoscaleOf(app, options, pool);
  return {
    hostname: nodeName(options.name ?? 'celery@%h'),
    queues,
    pool,
    slots: autoscale?.[1] ?? slotsOf(app, options, pool),
    autoscale,
    prefetchMultiplier: options.prefetchMultiplier ?? config.workerPrefetchMultiplier,
    appFile: options.appFile,
    timeLimit,
    softTimeLimit,
    maxTasksPerChild: options.maxTasksPerChild ?? config.workerMaxTasksPerChild,
    maxMemoryPerChild: options.maxMemoryPerChild ?? config.workerMaxMemoryPerChild,
    grace: graceOf(options.shutdownTimeout ?? config.workerShutdownTimeout, platformOf(process.env)),
    softShutdownMs: (options.softShutdownTimeout ?? config.workerSoftShutdownTimeout) * 1000,
  };
}

/**
 * Refuses tasks whose own limits contradict those that the worker gives them: each of their runs would fail. To be called
 * when all tasks are registered.
 * @throws ConfigError
 */
export function checkLimitsOfTasks(app: LovageApp, setup: Pick<WorkerSetup, 'timeLimit' | 'softTimeLimit'>): void {
  for (const [name, { options }] of app.tasks) {
    const { timeLimit = setup.timeLimit, softTimeLimit = setup.softTimeLimit } = options;
    checkTimeLimits(`task '${name}', with the limits of the worker for what it does not say`, {
      timeLimit,
      softTimeLimit,
    });
  }
}

function slotsOf({ config }: LovageApp, { concurrency }: WorkerOptions, pool: PoolName): number {
  if (pool === 'solo') return 1;
  return concurrency ?? (pool === 'async' ? config.workerConcurrency : (config.workerChildren ?? defaultChildren));
}

/** A number that stands nearer than the range wins; both at one place contradict each other. */
function autoscaleOf(app: LovageApp, options: WorkerOptions, pool: PoolName): Autoscale | undefined {
  const { concurrency, autoscale } = options;
  if (concurrency !== undefined && autoscale !== undefined) {
    throw new ConfigError(
      `the worker was given both concurrency ${concurrency} and autoscale ${autoscale.join(',')}: give one of them`,
    );
  }
  const range = autoscale ?? (concurrency === undefined ? app.config.workerAutoscale : undefined);
  if (range && pool === 'solo') {
    throw new ConfigError(
      `autoscale ${range.join(',')} cannot be with the pool solo, which runs one task at a time: choose another pool`,
    );
  }
  return range;
}
