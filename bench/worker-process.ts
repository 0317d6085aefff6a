import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { countTrips } from './trips.ts';

/** What a worker process tells of itself. */
export interface WorkerUsage {
  /** Processor time of all its threads since it began, in ms. */
  readonly cpuMs: number;
  /** Round trips to Redis of its main thread, where they are counted. */
  readonly trips: number;
}

/** A worker that was started. */
export interface StageWorker {
  readonly pid: number;
  /** Epoch milliseconds when its process began. */
  readonly bornAt: number;
  usage(): Promise<WorkerUsage>;
  stop(): Promise<void>;
}

/** What a worker process is started with. */
export interface WorkerArguments {
  readonly url: string;
  readonly concurrency: number;
  /** Whether it shall count its round trips, which costs a little. */
  readonly counting: boolean;
}

/** Starts a worker in a process of its own: `worker.ts`, or another script that begins with {@link beWorker}. */
export function startWorker(script: string, args: WorkerArguments): StageWorker {
  const bornAt = Date.now();
  const child = fork(join(import.meta.dirname, script), [JSON.stringify(args)]);
  return {
    pid: child.pid ?? 0,
    bornAt,
    async usage() {
      const answer = once(child, 'message');
      child.send('usage');
      const [usage]: WorkerUsage[] = await answer;
      if (!usage) throw new Error('the worker process said nothing');
      return usage;
    },
    stop: () => ended(child),
  };
}

/** The beginning of a worker process: what it was started with. It answers questions, and ends when its parent is gone. */
export function beWorker(): WorkerArguments {
  const args: WorkerArguments = JSON.parse(process.argv[2] ?? '{}');
  process.once('disconnect', () => process.exit(1));
  const trips = args.counting ? countTrips() : () => 0;
  process.on('message', () => process.send?.(ownUsage(trips())));
  return args;
}

/** What this process has used. */
export function ownUsage(trips: number): WorkerUsage {
  const { user, system } = process.cpuUsage();
  return { cpuMs: (user + system) / 1000, trips };
}

/** Asks a worker process to stop, and kills it when it does not. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const late = new AbortController();
  await Promise.race([gone, sleep(5000, undefined, { signal: late.signal }).catch(() => {})]);
  late.abort();
  child.kill('SIGKILL');
  await gone;
}
