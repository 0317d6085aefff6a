/** One run of one workload, in a process of its own: `node bench/session.ts <job as JSON>`, forked by {@link runJob}. */
import { stageOpener, type Target } from './stage.ts';
import { type Findings, type Sizes, type Workload, type WorkloadName, workloads } from './workloads.ts';

/** What a session is to do. */
export interface Job {
  readonly target: Target;
  readonly workload: WorkloadName;
  readonly sizes: Sizes;
  readonly folder: string;
}

/** What it says in the end. */
export type Report = { readonly findings: Findings } | { readonly error: string };

const { target, workload, sizes, folder } = JSON.parse(process.argv[2] ?? '{}') as Job;
process.once('disconnect', () => process.exit(1));
const { run }: Workload = workloads[workload];
const report: Report = await run(stageOpener(target, folder, sizes.concurrency), sizes, target).then(
  (findings) => ({ findings }),
  (error) => ({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
);
process.send?.(report, () => process.exit(0));
