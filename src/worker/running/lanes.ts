import { availableParallelism } from 'node:os';
import type { LovageApp } from '../../app/app.ts';
import { printedLines } from '../../app/logger.ts';
import { type TaskDefinition, taskOption } from '../../app/tasks/task.ts';
import type { ChildPoolOptions, Pool, PoolFailure, PoolJob, PoolOptions, PoolOutcome } from '../../contracts/pool.ts';
import { ConfigError, LeaseLostError, WorkerShutdownError } from '../../errors.ts';
import { AsyncPool } from '../../pools/async.ts';
import { processPool } from '../../pools/processes.ts';
import { SoloPool } from '../../pools/solo.ts';
import { threadPool } from '../../pools/threads.ts';
import { sibling } from '../../util/sibling.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import type { LoopWatch } from '../loop/loop-watch.ts';
import type { Held, Outcome, Run } from '../outcome.ts';
import type { WorkerSetup } from '../setup.ts';
import type { ChildApp } from './child-runner.ts';
import type { Executor } from './executor.ts';

/** Where tasks can run. */
export const poolNames = ['async', 'threads', 'processes', 'solo'] as const;
export type PoolName = (typeof poolNames)[number];

export interface LanesOptions {
  readonly app: LovageApp;
  readonly executor: Executor;
  readonly setup: WorkerSetup;
  /** Notes what runs on the event loop. */
  readonly loopWatch: LoopWatch | undefined;
  onOutcomes(outcomes: readonly PoolOutcome<Run, Outcome>[]): void;
  /** There may be more room than before. */
  onRoom(): void;
}

/** What {@link Lanes.place} finds. */
export interface Placed {
  readonly main: readonly Held[];
  readonly elsewhere: readonly Held[];
  readonly over: readonly Held[];
  readonly laterMs: number;
}

/** A message whose lane is full comes back after this, and more where there are many. */
const leastLaterMs = 250;
const maxLaterMs = 60_000;
/** How many tasks may wait in a lane beside the main one, for each of its slots. */
const waitingPerSlot = 10;

/**
 * The pools of one worker: a main one, and one for each other pool that a task asks for. The main one decides how many
 * messages are fetched; in the others a few tasks wait, and what is too much goes back for a while.
 */
export class Lanes {
  readonly main: Pool<Run>;
  readonly #options: LanesOptions;
  readonly #pools = new Map<PoolName, Pool<Run>>();
  /** Where each job outside of the main lane runs. */
  readonly #elsewhere = new Map<string, Pool<Run>>();

  /** Messages in a row that found no room in their lane. */
  #over = 0;

  /** @throws ConfigError where children are needed and nobody knows which file exports the application */
  constructor(options: LanesOptions) {
    this.#options = options;
    const wanted = new Set([
      options.setup.pool,
      ...[...options.app.tasks.values()].flatMap(({ options: o }) => o.pool ?? []),
    ]);
    for (const name of wanted) this.#pools.set(name, this.#make(name));
    this.main = this.#poolOf(undefined);
  }

  /** Starts threads and processes; they load the application. */
  async start(): Promise<void> {
    try {
      await Promise.all([...this.#pools.values()].map((pool) => pool.start()));
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Waits for what runs. */
  async stop(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.stop()));
  }

  /** Whether tasks run on the event loop of this process. */
  get onLoop(): boolean {
    return [...this.#pools.values()].some(({ features }) => !features.parallel);
  }

  /** Jobs outside of the main lane. */
  get elsewhere(): number {
    return this.#elsewhere.size;
  }

  /** Jobs without an outcome, in all lanes. */
  get unfinished(): number {
    let count = 0;
    for (const { running, waiting } of this.#pools.values()) count += running + waiting;
    return count;
  }

  /**
   * Which tasks may begin or wait in their lanes: those of the main lane, those with another that has room, and those whose
   * lane is full, which should come back after `laterMs`: the longer, the more there have been in a row.
   */
  place(tasks: readonly Held[]): Placed {
    const room = new Map<Pool<Run>, number>();
    const main: Held[] = [];
    const elsewhere: Held[] = [];
    const over: Held[] = [];
    for (const held of tasks) {
      const pool = this.#poolOf(held.definition);
      if (pool === this.main) {
        main.push(held);
        continue;
      }
      const left = room.get(pool) ?? (1 + waitingPerSlot) * pool.slots - pool.waiting - pool.running;
      room.set(pool, left - 1);
      (left > 0 ? elsewhere : over).push(held);
    }
    if (main.length < tasks.length) this.#over = over.length === 0 ? 0 : this.#over + over.length;
    return { main, elsewhere, over, laterMs: Math.min(maxLaterMs, leastLaterMs + 10 * this.#over) };
  }

  isMain({ definition }: Held): boolean {
    return this.#poolOf(definition) === this.main;
  }

  submit(jobs: readonly { readonly id: string; readonly held: Held; readonly request: Run }[]): void {
    const byPool = Map.groupBy(jobs, ({ held }) => this.#poolOf(held.definition));
    for (const [pool, some] of byPool) {
      if (pool !== this.main) for (const { id } of some) this.#elsewhere.set(id, pool);
      pool.submit(some.map(({ id, held, request }) => this.#job(id, held, request)));
    }
  }

  cancel(jobId: string, reason: Error, mode?: 'soft' | 'hard'): boolean {
    const pool = this.#elsewhere.get(jobId) ?? this.main;
    return pool.cancel(jobId, reason, mode);
  }

  /** Kills a job where its pool can. Returns whether it did. */
  kill(jobId: string, reason: Error): boolean {
    const pool = this.#elsewhere.get(jobId) ?? this.main;
    return pool.features.kill && pool.cancel(jobId, reason, 'hard');
  }

  /** Kills a job, or asks it to stop where its pool cannot. */
  end(jobId: string, reason: Error): void {
    if (!this.kill(jobId, reason)) this.cancel(jobId, reason);
  }

  /** Has a task fail that runs on the event loop, because of something its own code does not hear of. Returns whether it runs there. */
  spoil(message: TaskMessage, error: Error): boolean {
    const isIt = (run: Run) => run.message === message;
    return [...this.#pools.values()].some((pool) => pool instanceof AsyncPool && pool.spoil(isIt, error));
  }

  /** Takes back those of these jobs that wait for a slot. */
  withdraw(jobIds: ReadonlySet<string>, reason: Error): void {
    for (const pool of this.#pools.values()) pool.withdraw(jobIds, reason);
  }

  /** Resolves when nothing runs. */
  async drained(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.drained()));
  }

  #poolOf(definition: TaskDefinition | undefined): Pool<Run> {
    const name = definition?.options.pool ?? this.#options.setup.pool;
    const pool = this.#pools.get(name);
    if (!pool) throw new ConfigError(`no pool '${name}' was started: register tasks before the worker starts`);
    return pool;
  }

  #job(id: string, { definition, message }: Held, request: Run): PoolJob<Run> {
    const { timeLimit, softTimeLimit } = this.#options.setup;
    const hard = message?.timeLimit ?? definition?.options.timeLimit ?? timeLimit;
    const soft = message?.softTimeLimit ?? definition?.options.softTimeLimit ?? softTimeLimit;
    return {
      id,
      request,
      label: labelOf(request),
      ...(hard && { timeLimitMs: hard * 1000 }),
      ...(soft && { softTimeLimitMs: soft * 1000 }),
    };
  }

  /** After its hard limit a body on the event loop may go on: a run beside it would break what these options say. */
  #mustBeLast(definition: TaskDefinition | undefined): boolean {
    const { once, serial } = definition?.options ?? {};
    return (once === true || serial !== undefined) && !this.#poolOf(definition).features.kill;
  }

  #make(name: PoolName): Pool<Run> {
    const { app, executor, setup, loopWatch } = this.#options;
    const { pool, slots } = setup;
    const common: PoolOptions<Run, Outcome> = {
      slots:
        name === pool
          ? slots
          : name === 'async'
            ? app.config.workerConcurrency
            : (app.config.workerChildren ?? defaultChildren),
      onOutcomes: (outcomes) => {
        for (const { job } of outcomes) this.#elsewhere.delete(job.id);
        this.#options.onOutcomes(outcomes);
      },
      failed: (job, failure) => this.#failed(job, failure),
    };
    const run = (request: Run, signal: AbortSignal) =>
      loopWatch ? loopWatch.run(labelOf(request), () => executor.run(request, signal)) : executor.run(request, signal);
    if (name === 'async') return new AsyncPool<Run, Outcome>({ ...common, run });
    if (name === 'solo') return new SoloPool<Run, Outcome>({ ...common, slots: 1, run });
    return name === 'threads' ? threadPool(this.#childOptions(common)) : processPool(this.#childOptions(common));
  }

  #childOptions(common: PoolOptions<Run, Outcome>): ChildPoolOptions<Run, Outcome> {
    const { app, setup, onRoom } = this.#options;
    const { hostname, maxTasksPerChild, maxMemoryPerChild, appFile: file = app.file } = setup;
    if (file === undefined) {
      throw new ConfigError(
        `threads and processes load the app '${app.name}' by themselves, and nobody knows its file: give the worker appFile: import.meta.filename of the file that exports it`,
      );
    }
    const childApp: ChildApp = { file, name: app.name, overrides: app.overrides, hostname };
    return {
      ...common,
      recipe: { module: sibling(import.meta.url, 'child-runner').href, factory: 'taskRunner', args: [childApp] },
      ...(maxTasksPerChild !== undefined && { maxTasksPerChild }),
      ...(maxMemoryPerChild !== undefined && { maxMemoryPerChild }),
      onOutput({ label, stream, line }) {
        const { out } = app.logger;
        if (out?.json) process[out.fd === 1 ? 'stdout' : 'stderr'].write(printedLines([line], stream, label));
        else process[stream].write(label ? `[${label}] ${line}\n` : `${line}\n`);
      },
      onTrouble: (error, retryMs) =>
        app.logger.error({ error }, `a child of the pool could not start; trying again in ${retryMs / 1000} s`),
      onRoom,
    };
  }

  /** What becomes of a task that could not say so itself. */
  #failed({ request }: PoolJob<Run>, { kind, error }: PoolFailure): Outcome {
    const failure = { kind: 'failure', error, children: [] } as const;
    if (kind === 'cancelled') {
      return error instanceof WorkerShutdownError || error instanceof LeaseLostError ? { kind: 'release' } : failure;
    }
    if (kind === 'error') return failure;
    const { executor, app } = this.#options;
    const definition = app.tasks.get(request.message.task);
    if (kind === 'timeLimit') return this.#mustBeLast(definition) ? failure : executor.stopped(request, error);
    const options = definition?.options ?? {};
    const again = taskOption(options, 'rejectOnWorkerLost') ?? app.config.taskRejectOnWorkerLost;
    return again ? { kind: 'abandon', error } : executor.stopped(request, error);
  }
}

/** What people call a run. */
function labelOf({ message }: Run): string {
  return `${message.task}[${message.id}]`;
}

/** How many children a pool has where nobody says. */
export const defaultChildren = availableParallelism();
