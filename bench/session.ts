/** One job, in a process of its own: `node bench/session.ts <job as JSON>`, forked by `jobs.ts`. */
import { idleWork } from './idle.ts';
import { openStage } from './stage.ts';
import type { Target } from './targets.ts';
import { type Sizes, type Workload, type WorkloadName, workloads } from './workloads.ts';

/** What a session is to do: run a workload once, or watch a worker without work for so many seconds. */
export interface Job {
  readonly target: Target;
  readonly workload?: WorkloadName;
  readonly idleSeconds?: number;
  readonly sizes: Sizes;
  readonly folder: string;
}

/** What it says in the end. */
export type Report<Found> = { readonly findings: Found } | { readonly error: string };

const job = JSON.parse(process.argv[2] ?? '{}') as Job;
process.once('disconnect', () => process.exit(1));
const report: Report<object> = await run(job).then(
  (findings) => ({ findings }),
  (error) => ({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
);
process.send?.(report, () => process.exit(0));

async function run({ target, workload = 'w1', idleSeconds, sizes, folder }: Job): Promise<object> {
  const { concurrency } = sizes;
  const open = (options = {}) => openStage(target, { folder, concurrency, ...options });
  const { run: measure }: Workload = workloads[workload];
  return idleSeconds === undefined ? measure(open, sizes) : idleWork(open, idleSeconds);
}
