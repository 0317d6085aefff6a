import type { LovageApp } from '../../app/app.ts';
import { MessageTooLargeError } from '../../errors.ts';
import type { Held } from '../../stores/sqs/settling.ts';
import type { WireMessage } from '../../wire/message.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import { ClaimErrand } from '../job/claim-errand.ts';
import { jobEnv, STARTED_BY } from '../job/job-env.ts';
import { type EcsJob, holderOf, type Jobs, jobId, packMessage } from '../job/jobs.ts';
import { settleUnrun } from '../job/settle.ts';
import { tellState } from '../job/tell-state.ts';
import type { Dispatching, Ending } from './dispatcher.ts';
import { againIn, type RunTaskVerdict } from './run-task-verdict.ts';

/** A message that could be read. */
interface Read {
  readonly message: WireMessage;
  readonly task: TaskMessage;
}

interface ClaimDispatching extends Dispatching {
  readonly app: LovageApp;
  readonly jobs: Jobs;
}

/** Whoever has the claim lets go of it within moments. */
const SOON_MS = 5_000;
const SETTLE_MS = 20_000;

/**
 * Mode 'claim': the job is kept in the result backend, and the message may be deleted as soon as there is an ECS task for it.
 * Every step may be repeated, by this or another process, and comes to the same: holder and request follow from the job.
 */
export async function dispatchClaim(parts: ClaimDispatching, held: Held, { message, task }: Read): Promise<Ending> {
  const { jobs, startMs } = parts;
  const id = jobId(task);
  const known = await jobs.fetch(id);
  // One that is being started is asked for again, as the same; what has run gets a new ECS task.
  const start = known === undefined ? 0 : known.state === 'starting' ? known.start : known.start + 1;
  const origin = known?.state === 'starting' ? known.origin : held.taken.tag.id;
  const holder = holderOf({ id, start, origin });
  await jobs.list([id]);
  const answer = await jobs.claim(id, holder, startMs);
  if (!answer.granted) {
    if (answer.done) return tell(parts, id, 'has finished: its message is deleted');
    if (known?.state === 'starting' || known?.state === 'running')
      return tell(parts, id, 'is under way: this copy of its message is deleted');
    return { kind: 'back', delayMs: SOON_MS * (1 + Math.random()) };
  }
  const payload = parts.hands.payloadOf(held.taken);
  const job: EcsJob = {
    id,
    taskId: task.id,
    task: task.task,
    queue: held.name,
    // What was too large for SQS stays where it is: its container fetches it.
    ...(payload ? { payload } : { message: packMessage(message) }),
    groupKey: held.taken.group,
    attempts: known?.attempts ?? 0,
    failedStarts: known?.failedStarts ?? 0,
    reason: known?.reason,
    state: 'starting',
    start,
    origin,
  };
  if (known?.state !== 'starting') {
    await jobs.save(job);
    // Before the container exists: what it tells comes later.
    await tellState((await parts.app.connections()).results, task, 'QUEUED', { start, reason: known?.reason ?? null });
  }
  const verdict = await runJob(parts, job);
  return ended(parts, job, { message, task }, verdict);
}

async function runJob({ run }: ClaimDispatching, { id, start, origin }: EcsJob): Promise<RunTaskVerdict | undefined> {
  try {
    return await run({
      env: { [jobEnv.job]: id, [jobEnv.start]: String(start) },
      identity: [id, String(start), origin],
      startedBy: `${STARTED_BY}${id}/${start}`,
    });
  } catch (error) {
    if (!(error instanceof MessageTooLargeError)) throw error;
    return { kind: 'refused', reason: error.message, waitMs: [0, 0], alarm: true };
  }
}

async function ended(
  parts: ClaimDispatching,
  job: EcsJob,
  { message, task }: Read,
  verdict: RunTaskVerdict | undefined,
): Promise<Ending> {
  const { app, jobs, hands } = parts;
  const holder = holderOf(job);
  const { broker, results } = await app.connections();
  if (verdict?.kind === 'started') {
    parts.logger.info({ job: job.id, task: task.task, ecsTask: verdict.taskArn }, 'an ECS task is on its way');
    return { kind: 'done' };
  }
  const errand = new ClaimErrand({ jobs, hands, broker, results, leaseMs: parts.startMs }, job, { holder, message });
  if (verdict?.kind === 'refused') {
    await settleUnrun(app, errand, { kind: 'dead', error: new MessageTooLargeError(verdict.reason) }, SETTLE_MS);
    return { kind: 'done' };
  }
  // Perhaps there is an ECS task: who asks again must ask for the same one.
  if (verdict?.kind !== 'trouble') {
    await jobs.save({ ...job, state: 'queued' });
    await jobs.release(job.id, holder);
  }
  if (verdict) await tellState(results, task, 'QUEUED', { waitsFor: verdict.kind, reason: verdict.reason });
  return { kind: 'back', delayMs: againIn(verdict) };
}

function tell({ logger }: ClaimDispatching, job: string, what: string): Ending {
  logger.info({ job }, `the job ${what}`);
  return { kind: 'done' };
}
