import type { LovageApp } from '../../app/app.ts';
import { deliveryLimit } from '../../app/tasks/task.ts';
import { WorkerLostError } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../../util/options.ts';
import type { WireMessage } from '../../wire/message.ts';
import { decodeTask } from '../../wire/protocol.ts';
import { acceptList } from '../../wire/serializers.ts';
import { ClaimErrand } from './claim-errand.ts';
import { STARTED_BY } from './job-env.ts';
import { jobMessage } from './job-message.ts';
import { type EcsJob, holderOf, Jobs } from './jobs.ts';
import { settleUnrun } from './settle.ts';
import { openHands, type SqsHands } from './sqs-hands.ts';
import { readTaskEnd, type StoppedTask, type TaskEnd } from './task-end.ts';
import { tellState } from './tell-state.ts';

/** Every option of `ecsReconciler(app, options)` and `lovage reconcile`. */
export const reconcilerTable = {
  maxFailedStarts: option({
    kind: kinds.int(1, 1000),
    default: 5,
    doc: 'ECS tasks in a row that may fail to start before the job fails.',
  }),
} satisfies OptionTable;

export type EcsReconcilerOptions = OptionsOf<typeof reconcilerTable>;

/** What a reconciler did, by job. */
export interface Reconciled {
  /** Jobs under way that are well. */
  readonly alive: number;
  /** Given back to their queues, to be started again. */
  readonly again: readonly string[];
  /** Ended as failed. */
  readonly failed: readonly string[];
  /** Ended as revoked. */
  readonly revoked: readonly string[];
}

type Deed = 'alive' | 'again' | 'failed' | 'revoked' | 'gone';

/** Whoever sweeps holds a job for so long, and tries to end it for no longer. */
const HOLD_MS = 60_000;
/** A job whose start failed comes back after this, doubled each time. */
const BACKOFF_MS = 15_000;
const MAX_BACKOFF_MS = 15 * 60_000;

/**
 * Makes the Lambda function that looks after jobs on ECS. For an event "ECS Task State Change" of EventBridge it sees to the
 * job of the stopped ECS task; for anything else, such as a schedule, it sweeps all jobs whose container is not heard of any
 * more. It throws where a store is in trouble, so that EventBridge calls it again.
 * @throws ConfigError for a wrong option, at once
 */
export function ecsReconciler(
  app: LovageApp,
  options: EcsReconcilerOptions = {},
): (event?: unknown) => Promise<Reconciled> {
  checkOptions(reconcilerTable, options, 'ecsReconciler');
  let opening: Promise<SqsHands> | undefined;
  return async (event) => {
    opening ??= openHands(app.config);
    const hands = await opening.catch((error) => {
      opening = undefined;
      throw error;
    });
    const reconciler = new Reconciler(app, hands, options.maxFailedStarts ?? reconcilerTable.maxFailedStarts.default);
    const { source, 'detail-type': type, detail } = Object(event) as Readonly<Record<string, unknown>>;
    const isTask = source === 'aws.ecs' && type === 'ECS Task State Change';
    return isTask ? reconciler.stopped(Object(detail) as StoppedTask) : reconciler.sweep();
  };
}

/**
 * Looks after all jobs once, then lets go of SQS. What `lovage reconcile` does.
 * @throws ConfigError, StoreError
 */
export async function reconcileOnce(app: LovageApp, options: EcsReconcilerOptions = {}): Promise<Reconciled> {
  checkOptions(reconcilerTable, options, 'reconcile');
  const hands = await openHands(app.config);
  try {
    return await new Reconciler(app, hands, options.maxFailedStarts ?? reconcilerTable.maxFailedStarts.default).sweep();
  } finally {
    await hands.close();
  }
}

class Reconciler {
  readonly #app: LovageApp;
  readonly #hands: SqsHands;
  readonly #maxFailedStarts: number;
  readonly #deeds: { readonly id: string; readonly deed: Deed }[] = [];

  constructor(app: LovageApp, hands: SqsHands, maxFailedStarts: number) {
    this.#app = app;
    this.#hands = hands;
    this.#maxFailedStarts = maxFailedStarts;
  }

  /** Sees to the job of an ECS task that has stopped. Events come twice and out of order: only the present ECS task of a job counts. */
  async stopped(task: StoppedTask): Promise<Reconciled> {
    const [, id, start] = new RegExp(`^${STARTED_BY}([\\w-]+)/(\\d+)$`).exec(task.startedBy ?? '') ?? [];
    if (task.lastStatus !== 'STOPPED' || id === undefined) return this.#told();
    const jobs = await this.#jobs();
    const job = await jobs.fetch(id);
    if (!job || Number(start) > job.start) return this.#told();
    const end = readTaskEnd(task, job.state === 'running');
    const isPresent = Number(start) === job.start && (job.state === 'starting' || job.state === 'running');
    if (!isPresent) {
      // It has given its message back, as it does when it is told to stop; but this was meant for the job.
      if (end.kind === 'stopped') await this.#app.revoke(job.taskId, { terminate: true });
      return this.#told();
    }
    // The ECS task is gone, and its claim with it: nobody else has this name.
    const holder = holderOf(job);
    const answer = await jobs.claim(id, holder, HOLD_MS);
    if (answer.granted) await this.#see(jobs, job, holder, end);
    return this.#told();
  }

  /** Sees to every job whose claim has ended: its container is gone, or never came. */
  async sweep(): Promise<Reconciled> {
    const jobs = await this.#jobs();
    const holder = `sweep/${newId()}`;
    await jobs.sweep(async (id, job) => {
      // In its queue again, or ended.
      if (!job || job.state === 'queued') return false;
      const answer = await jobs.claim(id, holder, HOLD_MS);
      if (!answer.granted) {
        if (!answer.done) this.#deeds.push({ id, deed: 'alive' });
        return !answer.done;
      }
      const now = await jobs.fetch(id);
      if (!now || now.state === 'queued') {
        await jobs.release(id, holder);
        return false;
      }
      await this.#see(jobs, now, holder, silence(now));
      return false;
    });
    return this.#told();
  }

  async #see(jobs: Jobs, job: EcsJob, holder: string, end: TaskEnd): Promise<void> {
    const deed = await this.#decide(jobs, job, holder, end);
    this.#deeds.push({ id: job.id, deed });
    this.#app.logger.warn({ job: job.id, task: job.task, end: end.kind, reason: end.reason }, deedTexts[deed]);
  }

  async #decide(jobs: Jobs, job: EcsJob, holder: string, { kind, reason, exitCode }: TaskEnd): Promise<Deed> {
    const { broker, results } = await this.#app.connections();
    const { message } = await jobMessage(job, this.#hands);
    const parts = { jobs, hands: this.#hands, broker, results, leaseMs: HOLD_MS };
    const errand = new ClaimErrand(parts, job, { holder, message });
    if (kind === 'stopped') {
      await settleUnrun(this.#app, errand, { kind: 'revoked', reason: 'terminated' }, HOLD_MS);
      return 'revoked';
    }
    const failedStarts = kind === 'failedStart' ? job.failedStarts + 1 : kind === 'died' ? 0 : job.failedStarts;
    const limit = deliveryLimit(this.#app.tasks.get(job.task), this.#app.config, {});
    const tooOften =
      kind === 'failedStart'
        ? failedStarts >= this.#maxFailedStarts && `its ECS task failed to start ${failedStarts} times`
        : kind === 'died' && job.attempts >= limit && `its container died ${job.attempts} times (limit ${limit})`;
    if (tooOften) {
      const error = new WorkerLostError(`${tooOften}; the last time: ${reason}`, { exitCode });
      await settleUnrun(this.#app, errand, { kind: 'dead', error }, HOLD_MS);
      return 'failed';
    }
    const attempts = kind === 'free' && job.state === 'running' ? Math.max(0, job.attempts - 1) : job.attempts;
    const delayMs = kind === 'failedStart' ? Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** (failedStarts - 1)) : 0;
    await this.#tell(job, message, reason);
    await errand.requeue({ attempts, failedStarts, reason }, delayMs);
    return 'again';
  }

  /** Before the message is back: what its next container tells comes later. */
  async #tell({ attempts }: EcsJob, message: WireMessage, reason: string): Promise<void> {
    const { results } = await this.#app.connections();
    const accept = acceptList(this.#app.config.acceptContent);
    const task = await decodeTask(message, { accept }).catch(() => undefined);
    if (task) await tellState(results, task, 'QUEUED', { reason, attempts });
  }

  async #jobs(): Promise<Jobs> {
    return new Jobs(await this.#app.results());
  }

  #told(): Reconciled {
    const by = (wanted: Deed) => this.#deeds.filter(({ deed }) => deed === wanted).map(({ id }) => id);
    return { alive: by('alive').length, again: by('again'), failed: by('failed'), revoked: by('revoked') };
  }
}

const deedTexts: Readonly<Record<Deed, string>> = {
  alive: 'a job is under way',
  again: 'the ECS task of a job has ended before it; it goes back to its queue',
  failed: 'the ECS task of a job has ended before it, and it is not tried again',
  revoked: 'the ECS task of a job was stopped on purpose: the job is revoked',
  gone: 'a job has ended',
};

/** What it means that nothing is heard of a job. An intent to give it back is completed. */
function silence({ state, start }: EcsJob): TaskEnd {
  const what = `ECS task number ${start} of this job`;
  if (state === 'starting') return { kind: 'failedStart', reason: `${what} never showed itself`, exitCode: null };
  if (state === 'requeue') return { kind: 'free', reason: `${what} was about to be replaced`, exitCode: null };
  return { kind: 'died', reason: `${what} is not heard of any more`, exitCode: null };
}
