// A process that has a pool, for the conformance suite to kill: it starts tasks that never end, and reports the
// processes in which they run.
import { once } from 'node:events';
import type { Recipe } from '../contracts/common.ts';
import type { ChildPoolOptions, Pool } from '../contracts/pool.ts';
import type { PoolRequest, PoolResult } from './pool-tasks.ts';

const [{ pool: poolRecipe, tasks }] = (await once(process, 'message')) as [{ pool: Recipe; tasks: Recipe }];
const pids: number[] = [];
const jobs: readonly PoolRequest[] = [{ do: 'spin' }, { do: 'spawn' }, { do: 'wait' }];
const options: ChildPoolOptions<PoolRequest, PoolResult> = {
  slots: jobs.length,
  recipe: tasks,
  onOutcomes: () => {},
  failed: (_job, { kind, error }) => ({ failure: kind, error }),
  onOutput: ({ line }) => {
    // One more: that of the process which a task starts.
    if (pids.push(Number(line)) === jobs.length + 1) process.send?.(pids);
  },
};
const module = await import(poolRecipe.module);
const pool: Pool<PoolRequest> = module[poolRecipe.factory](options);
await pool.start();
pool.submit(jobs.map((request, i) => ({ id: String(i), request: { do: 'print', text: 'PID\n', next: request } })));
