import { hostname } from 'node:os';
import type { LovageApp } from '../app/app.ts';
import type { Platform } from '../worker/life/grace.ts';
import type { Worker } from '../worker/worker.ts';
import { paint, pairs } from './output.ts';
import { version } from './version.ts';

/** What a worker says of itself when it starts. */
export interface WorkerFacts {
  readonly worker: string;
  readonly app: string;
  readonly broker: string;
  readonly backend: string | undefined;
  readonly pool: string;
  readonly concurrency: number;
  /** Between which numbers the worker sets that by itself: at most, at least. */
  readonly autoscale: readonly [max: number, min: number] | undefined;
  /** Seconds that running tasks get at the end. */
  readonly shutdownTimeout: number;
  /** Who kills the process if it takes longer, and after how many seconds, where that is known. */
  readonly killedBy: Platform | undefined;
  readonly queues: readonly string[];
  readonly tasks: readonly string[];
  readonly lovage: string;
  readonly node: string;
  readonly platform: string;
  readonly hostname: string;
  readonly pid: number;
}

/** Gathers the facts; opens the application's connections for it. */
export async function workerFacts(app: LovageApp, worker: Worker): Promise<WorkerFacts> {
  const { broker, backend } = await app.connections();
  return {
    worker: worker.hostname,
    app: app.name,
    broker: broker.url,
    backend: backend?.url,
    pool: worker.pool,
    concurrency: worker.concurrency,
    autoscale: worker.autoscale,
    shutdownTimeout: worker.grace.tasksMs / 1000,
    killedBy: worker.grace.platform,
    queues: worker.queues,
    tasks: [...app.tasks.keys()].sort(),
    lovage: version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    hostname: hostname(),
    pid: process.pid,
  };
}

/** The banner of `lovage worker`. */
export function banner(facts: WorkerFacts, appFile: string | undefined): string {
  const herb = (text: string) => paint('green', text);
  const rows = pairs(
    [
      ['app', appFile === undefined ? facts.app : `${facts.app} (${appFile})`],
      ['broker', facts.broker],
      ['results', facts.backend ?? 'not kept'],
      ['concurrency', concurrency(facts)],
      ['queues', facts.queues.join(', ')],
      ['shutdown', shutdown(facts)],
      ['running on', `Node ${facts.node}, ${facts.platform}, host ${facts.hostname}, pid ${facts.pid}`],
    ],
    `${herb('|')} `,
  );
  const tasks = facts.tasks.length === 0 ? ['  (none)'] : facts.tasks.map((name) => `  ${herb('.')} ${name}`);
  return [
    `${herb(paint('bold', 'lovage'))} ${facts.lovage}  ${paint('bold', facts.worker)}`,
    rows,
    '',
    herb('[tasks]'),
    ...tasks,
    '',
  ].join('\n');
}

function concurrency({ concurrency: slots, autoscale, pool }: WorkerFacts): string {
  return `${autoscale ? `${autoscale[1]} to ${autoscale[0]}` : slots} (${pool})`;
}

function shutdown({ shutdownTimeout, killedBy }: WorkerFacts): string {
  const why = killedBy ? ` (${killedBy.name} kills after ${killedBy.killsAfter} s)` : '';
  return `${shutdownTimeout} s for running tasks${why}`;
}
