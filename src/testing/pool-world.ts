import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Recipe } from '../contracts/common.ts';
import type { ChildPoolOptions, Pool, PoolFeatures, PoolJob, PoolOutput, PoolRun } from '../contracts/pool.ts';
import { sibling } from '../util/sibling.ts';
import { eventually } from './eventually.ts';
import { type PoolRequest, type PoolResult, poolTasks } from './pool-tasks.ts';
import type { Law } from './runner.ts';

/** What the suite makes a pool with: `recipe` for children, `run` for this process. */
export interface TestPoolOptions extends ChildPoolOptions<PoolRequest, PoolResult> {
  readonly run: PoolRun<PoolRequest, PoolResult>;
}

/** A kind of pool, as its test provides it. */
export interface PoolFixture {
  /** A new pool, not started. */
  create(options: TestPoolOptions): Pool<PoolRequest>;
  /** Of a pool with children: how another process makes one, with the options as the only argument. */
  readonly recipe?: Recipe;
}

/** A law for pools. */
export type PoolLaw = Law<PoolWorld>;

/** How long a test waits for what must come: starting children takes a busy machine long. */
const patienceMs = 60_000;

/** A file of the suite. */
export function suiteFile(name: string): URL {
  return sibling(import.meta.url, name);
}

/** How a child gets the tasks of the suite. */
export function tasksRecipe(...args: readonly unknown[]): Recipe {
  return { module: suiteFile('pool-tasks').href, factory: 'poolTasks', args };
}

/** What one law gets to work with: pools whose outcomes and output are kept. */
export class PoolWorld {
  readonly features: PoolFeatures;
  readonly recipe: Recipe | undefined;
  /** Everything that came of jobs, in order. */
  readonly ended: { readonly id: string; readonly result: PoolResult }[] = [];
  readonly output: PoolOutput[] = [];
  readonly troubles: { readonly error: Error; readonly retryMs: number }[] = [];
  readonly #fixture: PoolFixture;
  readonly #open = new Set<Pool<PoolRequest>>();
  readonly #submitted = new Set<string>();

  constructor(fixture: PoolFixture) {
    this.#fixture = fixture;
    this.recipe = fixture.recipe;
    this.features = this.create().features;
  }

  create(options: Partial<TestPoolOptions> = {}): Pool<PoolRequest> {
    return this.#fixture.create({
      slots: 2,
      run: poolTasks().run,
      recipe: tasksRecipe(),
      onOutcomes: (outcomes) =>
        this.ended.push(...outcomes.map(({ job, outcome }) => ({ id: job.id, result: outcome }))),
      failed: (_job, { kind, error }) => ({ failure: kind, error }),
      onOutput: (output) => this.output.push(output),
      onTrouble: (error, retryMs) => this.troubles.push({ error, retryMs }),
      ...options,
    });
  }

  /** A started pool, stopped at the end. */
  async open(options: Partial<TestPoolOptions> = {}): Promise<Pool<PoolRequest>> {
    const pool = this.create(options);
    await pool.start();
    this.#open.add(pool);
    const submit = pool.submit.bind(pool);
    pool.submit = (jobs) => {
      for (const { id } of jobs) this.#submitted.add(id);
      submit(jobs);
    };
    return pool;
  }

  /** What came of a job, once it has. */
  result(id: string): Promise<PoolResult> {
    return eventually(() => {
      const found = this.ended.find((each) => each.id === id);
      assert.ok(found, `no outcome of ${id} yet`);
      return found.result;
    }, patienceMs);
  }

  /** Runs one job and waits for it. */
  async run(
    pool: Pool<PoolRequest>,
    request: PoolRequest,
    { id = 'only', ...limits }: Partial<PoolJob<PoolRequest>> = {},
  ): Promise<PoolResult> {
    pool.submit([{ id, request, ...limits }]);
    return this.result(id);
  }

  /** What a job printed, once it has. */
  printed(id: string, count = 1): Promise<string[]> {
    return eventually(() => {
      const lines = this.output.filter(({ jobId }) => jobId === id).map(({ line }) => line);
      assert.ok(lines.length >= count, `${lines.length} of ${count} lines of ${id}`);
      return lines;
    }, patienceMs);
  }

  /** Nothing runs, and all slots are free. */
  assertIdle(pool: Pool<PoolRequest>): void {
    const { running, waiting, free } = pool;
    assert.deepEqual({ running, waiting, free }, { running: 0, waiting: 0, free: pool.slots });
  }

  async close(): Promise<void> {
    for (const pool of this.#open) {
      // Whatever a failed law left behind.
      for (const id of this.#submitted)
        pool.cancel(id, new Error('the law has ended'), this.features.kill ? 'hard' : 'soft');
      await pool.stop();
    }
  }
}

/** Waits until a process is gone. */
export function gone(pid: number): Promise<void> {
  return eventually(() => assert.ok(!isAlive(pid), `process ${pid} is alive`), patienceMs);
}

/** Whether a process runs. One that has ended, and whose parent has not looked yet, does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return process.platform !== 'linux';
  }
}
