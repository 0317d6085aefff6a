import type { Held } from '../../stores/sqs/settling.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import { jobEnv, type Receipt, STARTED_BY } from '../job/job-env.ts';
import { throwFirst } from '../job/sqs-hands.ts';
import { tellState } from '../job/tell-state.ts';
import type { Dispatching, Ending } from './dispatcher.ts';
import { againIn, type RunTaskVerdict } from './run-task-verdict.ts';

/** As much of a task as is known; without an application its id alone. */
type Waiting = Pick<TaskMessage, 'id'> & Partial<Pick<TaskMessage, 'ignoreResult'>>;

/**
 * Mode 'receipt': the container gets the message and its receipt, extends it while it works, and deletes it. The message
 * stays in SQS, hidden, so its group waits.
 */
export async function dispatchReceipt(parts: Dispatching, held: Held, task: Waiting): Promise<Ending> {
  const { hands, startMs } = parts;
  const { taken, name } = held;
  // Before the container exists, which may be quicker than this.
  throwFirst(await hands.settling.hide(taken.queue, [held], () => startMs));
  const { tag, attempt, group, attributes } = taken;
  const receipt: Receipt = { queue: name, ...tag, attempt, attributes, ...(group !== undefined && { group }) };
  // A message that comes again may have a container that runs.
  if (attempt === 1) await tellQueued(parts, task, {});
  const verdict = await runReceipt(parts, task.id, taken.body, receipt);
  if (verdict?.kind === 'started') return { kind: 'leave' };
  if (verdict?.kind === 'refused') return { kind: 'dead', reason: verdict.reason };
  // Perhaps there is one, with this receipt: it would be worthless in a copy's stead.
  if (verdict?.kind === 'trouble') return { kind: 'leave' };
  if (verdict) await tellQueued(parts, task, { waitsFor: verdict.kind, reason: verdict.reason });
  return { kind: 'back', delayMs: againIn(verdict) };
}

/** For those who watch: where the application keeps no results, or cannot now, the message goes its way all the same. */
async function tellQueued({ app, logger }: Dispatching, task: Waiting, info: Readonly<Record<string, unknown>>) {
  if (!app) return;
  const { id, ignoreResult = false } = task;
  try {
    await tellState((await app.connections()).results, { id, ignoreResult }, 'QUEUED', info);
  } catch (error) {
    logger.warn({ error, task: id }, 'that a task is queued could not be stored');
  }
}

function runReceipt(
  { run }: Dispatching,
  taskId: string,
  body: string,
  receipt: Receipt,
): Promise<RunTaskVerdict | undefined> {
  return run({
    env: { [jobEnv.message]: body, [jobEnv.receipt]: JSON.stringify(receipt) },
    identity: [taskId, receipt.id, receipt.handle],
    startedBy: `${STARTED_BY}receipt/${receipt.id.replace(/[^\w-]/g, '').slice(0, 100)}`,
  });
}
