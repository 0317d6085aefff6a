import { Command, Option } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import type { Autoscale } from '../../app/autoscale.ts';
import { type LogLevel, logLevels, streamLogger } from '../../app/logger.ts';
import { protectFromScaleIn } from '../../aws/scaling/protection.ts';
import { reportRuntimes } from '../../scaling/runtimes.ts';
import { within } from '../../util/within.ts';
import { firstConnection } from '../../worker/life/first-connection.ts';
import { listenForSignals } from '../../worker/life/signals.ts';
import { type PoolName, poolNames } from '../../worker/running/lanes.ts';
import { Worker } from '../../worker/worker.ts';
import { banner, workerFacts } from '../banner.ts';
import { plural } from '../output.ts';
import { chooseQueues, purgeQueues } from '../queue-choice.ts';
import { refuseOptions } from '../refuse.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { autoscale, list, seconds, wholeNumber } from '../values.ts';

interface Options {
  readonly concurrency?: number;
  readonly autoscale?: Autoscale;
  readonly pool?: PoolName;
  readonly timeLimit?: number;
  readonly softTimeLimit?: number;
  readonly maxTasksPerChild?: number;
  readonly maxMemoryPerChild?: number;
  readonly queues?: readonly string[];
  readonly excludeQueues?: readonly string[];
  readonly hostname?: string;
  readonly loglevel?: LogLevel;
  readonly prefetchMultiplier?: number;
  readonly shutdownTimeout?: number;
  readonly softShutdownTimeout?: number;
  readonly purge?: boolean;
  readonly reportRuntimes?: boolean;
}

const beat = 'schedules are not part of this version';
const daemon = 'run the worker in the foreground under systemd, Docker or your platform';
const files = 'logs go to stderr; redirect them';

/** How long it may take to close the connections of a worker that has ended; `overdue`: of one that had to be given up. */
const lastMs = { usual: 1_000, overdue: 250 };

/** Options of Celery's worker that mean nothing here, with the reason. */
export const refusedWorkerOptions = {
  '-B, --beat': beat,
  '-s, --schedule-filename <file>': beat,
  '--scheduler <scheduler>': beat,
  '-D, --detach': daemon,
  '--pidfile <file>': daemon,
  '--uid <user>': daemon,
  '--gid <group>': daemon,
  '--umask <mask>': daemon,
  '--executable <file>': daemon,
  '-f, --logfile <file>': files,
  '-E, --task-events': 'task events are not part of this version',
  '--events': 'task events are not part of this version',
  '-S, --statedb <file>': 'revoked tasks are kept in the result backend',
  '-I, --include <modules>': 'import the modules in the app file',
  '--disable-prefetch':
    'say --prefetch-multiplier 1, the default: the worker holds what it runs (and set workerBursts: false in the app)',
  '--heartbeat-interval <seconds>': 'workers send no heartbeats',
} as const;

/** `lovage worker`: runs tasks until it is told to stop. */
export function workerCommand(): Command {
  const command = new Command('worker')
    .description('run tasks until SIGTERM or Ctrl-C; a second Ctrl-C, or SIGQUIT, does not wait for running tasks')
    .option(
      '-c, --concurrency <n>',
      'tasks at once (10; with threads and processes as many as cores)',
      wholeNumber(1, 100_000),
    )
    .option('--autoscale <max,min>', 'tasks at once between these, as there is work; not with -c', autoscale)
    .addOption(new Option('-P, --pool <pool>', 'where tasks run; async is the event loop').choices([...poolNames]))
    .option('-Q, --queues <queues>', "queues to consume, such as celery,mail; without it the app's", list)
    .option('-X, --exclude-queues <queues>', 'but not these', list)
    .option('-n, --hostname <name>', 'node name; %h is the host, %n its first part, %d the rest (default: "celery@%h")')
    .addOption(new Option('-l, --loglevel <level>', 'how much to log (default: "info")').choices([...logLevels]))
    .option(
      '--prefetch-multiplier <n>',
      'messages held for each slot (workerPrefetchMultiplier: 1)',
      wholeNumber(1, 1000),
    )
    .option(
      '--shutdown-timeout <seconds>',
      'how long running tasks may take to end (workerShutdownTimeout: 8, or what the platform allows)',
      seconds,
    )
    .option('--soft-shutdown-timeout <seconds>', 'the same after SIGQUIT (workerSoftShutdownTimeout: 0)', seconds)
    .option('--time-limit <seconds>', 'a task that runs longer fails, and is killed in threads and processes', seconds)
    .option('--soft-time-limit <seconds>', 'a task that runs longer has its signal aborted', seconds)
    .option('--max-tasks-per-child <n>', 'replace a thread or process after so many tasks', wholeNumber(1, 1e9))
    .option('--max-memory-per-child <kib>', 'replace one that has more memory after a task', wholeNumber(1, 1e9))
    .option('--purge', 'drop all messages that wait, first')
    .option('--report-runtimes', 'keep in the result backend how long tasks take, for `lovage autoscale monitor`')
    .action(run<[Options]>(work));
  // What these ask for is how it is.
  for (const flags of ['--without-gossip', '--without-mingle', '--without-heartbeat'])
    command.addOption(new Option(flags).hideHelp());
  command.addOption(new Option('-O, --optimization <profile>').choices(['fair']).hideHelp());
  return refuseOptions(command, refusedWorkerOptions);
}

async function work(session: Session, options: Options): Promise<number> {
  const early = new AbortController();
  const stopListening = listenForSignals((signal) => early.abort(signal));
  try {
    const worker = await unlessAborted(prepare(session, options, early.signal), early.signal);
    if (worker) return await serve(session, worker, { onListening: stopListening, ...options });
    process.stderr.write(`the worker was stopped by ${early.signal.reason} before it took any message\n`);
    exitSoon(status.ok);
    return status.ok;
  } finally {
    stopListening();
  }
}

/** All that comes before the first message. */
async function prepare(session: Session, options: Options, signal: AbortSignal): Promise<Worker> {
  const { queues, excludeQueues, hostname: name, loglevel, purge } = options;
  const {
    concurrency,
    autoscale: range,
    pool,
    timeLimit,
    softTimeLimit,
    maxTasksPerChild,
    maxMemoryPerChild,
  } = options;
  const { prefetchMultiplier, shutdownTimeout, softShutdownTimeout } = options;
  const app = await session.appWithTasks();
  useLogger(app, session, loglevel);
  const worker = new Worker(app, {
    queues: chooseQueues(app.config, queues, excludeQueues),
    concurrency,
    autoscale: range,
    pool,
    timeLimit,
    softTimeLimit,
    maxTasksPerChild,
    maxMemoryPerChild,
    name,
    prefetchMultiplier,
    shutdownTimeout,
    softShutdownTimeout,
  });
  await firstConnection(app, [], signal);
  const facts = await workerFacts(app, worker);
  say(session, app, () => banner(facts, session.appPath), facts, 'starting');
  if (purge) {
    const purged = await purgeQueues(await app.broker(), worker.queues);
    app.logger.info({ queues: worker.queues }, `Purged ${plural(purged, 'message')}`);
  }
  return worker;
}

interface Serving extends Pick<Options, 'reportRuntimes'> {
  /** Called when it listens for signals itself. */
  readonly onListening: () => void;
}

/** Runs the worker to its end. On ECS, its container is spared by scale-in while it works. */
async function serve(
  session: Session,
  worker: Worker,
  { onListening, reportRuntimes: reports }: Serving,
): Promise<number> {
  const { app } = worker;
  let exit: number = status.failed;
  const endProtection = protectFromScaleIn(worker);
  const endReport = reports ? reportRuntimes(worker) : undefined;
  try {
    const running = worker.run();
    onListening();
    await Promise.race([worker.start(), running]);
    say(session, app, () => `${worker.hostname} ready.`, {}, `${worker.hostname} ready.`);
    exit = await running;
    return exit;
  } finally {
    await within(Promise.all([endProtection(), endReport?.()]), lastMs.overdue).catch(() => {});
    exitSoon(exit, worker.overdue ? lastMs.overdue : lastMs.usual);
    app.logger.info(worker.counts, `${worker.hostname} stopped`);
  }
}

/** Whoever started the worker waits for this process to end, from which connections that are stuck would keep it. */
function exitSoon(exit: number, ms = lastMs.usual): void {
  setTimeout(() => process.exit(exit), ms).unref();
}

/** What a promise comes to, or `undefined` once the signal aborts. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
    promise.then(resolve, reject);
  });
}

/** Text on stdout for people, a log line for programs. */
function say({ out }: Session, app: LovageApp, text: () => string, fields: object, message: string): void {
  if (out.json) app.logger.info(fields, message);
  else if (!out.quiet) process.stdout.write(`${text()}\n`);
}

/** Has an app log as the command line asks: its own logger stays unless `-l` or `--json` asks for something else. */
export function useLogger(app: LovageApp, { out }: Session, level: LogLevel | undefined): void {
  if (app.config.logger && level === undefined && !out.json) return;
  const stream = out.json ? process.stdout : process.stderr;
  app.override({ logger: streamLogger({ level: level ?? 'info', json: out.json, stream }) });
}
