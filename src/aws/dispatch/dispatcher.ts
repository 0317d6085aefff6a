import type { LovageApp } from '../../app/app.ts';
import { type Logger, streamLogger } from '../../app/logger.ts';
import { DecodeError, LovageError, MessageTooLargeError } from '../../errors.ts';
import { decodeBody, takenOf } from '../../stores/sqs/messages.ts';
import { isPointer } from '../../stores/sqs/payloads.ts';
import type { Held } from '../../stores/sqs/settling.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { sleep } from '../../util/sleep.ts';
import { decodeTask, peekTaskId } from '../../wire/protocol.ts';
import { acceptList } from '../../wire/serializers.ts';
import { openRunTask, type RunTaskClient } from '../ecs-client.ts';
import { hasEnded } from '../job/job-message.ts';
import { Jobs } from '../job/jobs.ts';
import { openHands, type SqsHands, throwFirst } from '../job/sqs-hands.ts';
import { dispatchClaim } from './dispatch-claim.ts';
import { dispatchReceipt } from './dispatch-receipt.ts';
import {
  checkDispatcher,
  type EcsDispatcherOptions,
  type EcsTarget,
  ecsAddress,
  ecsDispatcherTable,
  targetOf,
} from './ecs-options.ts';
import { type JobRun, runTaskRequest } from './run-task-request.ts';
import { classifyRunTask, type RunTaskVerdict } from './run-task-verdict.ts';
import { type BatchAnswer, groupsOf, messageOf, receivedAt, recordsOf, type SqsRecord } from './sqs-event.ts';
import { TokenBucket } from './token-bucket.ts';

/** What Lambda tells a function of its call, as far as it is of use. */
export interface LambdaContext {
  getRemainingTimeInMillis?(): number;
}

/** An SQS-triggered Lambda function. */
export type SqsHandler = (event: unknown, context?: LambdaContext) => Promise<BatchAnswer>;

/** What becomes of a message that a dispatcher was given. */
export type Ending =
  /** It may be deleted: the job has it, or it was a copy. */
  | { readonly kind: 'done' }
  /** Not now: back to its queue, uncounted. */
  | { readonly kind: 'back'; readonly delayMs: number }
  /** It stays hidden: its container has the receipt. */
  | { readonly kind: 'leave' }
  | { readonly kind: 'dead'; readonly reason: string };

/** What the two modes work with. */
export interface Dispatching {
  readonly hands: SqsHands;
  readonly logger: Logger;
  readonly startMs: number;
  readonly app: LovageApp | undefined;
  readonly jobs: Jobs | undefined;
  /** Asks for an ECS task; `undefined` where there is no time left for it. */
  run(job: JobRun): Promise<RunTaskVerdict | undefined>;
}

interface Opened {
  readonly hands: SqsHands;
  readonly ecs: RunTaskClient;
  readonly jobs: Jobs | undefined;
}

/** Records at once: what they wait for is other services. */
const AT_ONCE = 20;
/** Left for the end of a call of Lambda. */
const RESERVE_MS = 3_000;
/** A message that could not be dealt with comes back after this. */
const TROUBLE_MS = 15_000;
/** A configuration that is wrong is tried again after this. */
const PARKED_MS = 600_000;

/**
 * Makes the Lambda function that starts an ECS task for each message of an SQS queue. It never throws: it answers with
 * `batchItemFailures`, so the event source mapping needs `ReportBatchItemFailures`.
 * @throws ConfigError for missing, wrong or contradictory options, at once
 */
export function ecsDispatcher(options: EcsDispatcherOptions): SqsHandler {
  checkDispatcher(options);
  const dispatcher = new EcsDispatcher(options);
  return (event, context) => dispatcher.handle(event, context);
}

class EcsDispatcher {
  readonly #options: EcsDispatcherOptions;
  readonly #target: EcsTarget;
  readonly #bucket: TokenBucket;
  readonly #logger: Logger;
  #opening: Promise<Opened> | undefined;

  constructor(options: EcsDispatcherOptions) {
    this.#options = options;
    this.#target = targetOf(options);
    this.#bucket = new TokenBucket(options.runTasksPerSecond ?? ecsDispatcherTable.runTasksPerSecond.default);
    this.#logger = options.app?.logger ?? streamLogger({ level: 'info', json: true, stream: process.stdout });
  }

  async handle(event: unknown, context: LambdaContext = {}): Promise<BatchAnswer> {
    const records = recordsOf(event);
    if (!records) {
      this.#logger.error(
        {},
        'ecsDispatcher: expected an event of SQS ({ Records: [...] } with eventSourceARN), and got another one. Is the function triggered by something else? Nothing is done',
      );
      return { batchItemFailures: failedIdsOf(event) };
    }
    const endsAt = Date.now() + (context.getRemainingTimeInMillis?.() ?? 60_000) - RESERVE_MS;
    const groups = groupsOf(records);
    const failed = await inParallel(groups, AT_ONCE, (group) => this.#group(group, endsAt));
    return { batchItemFailures: failed.flat().map((itemIdentifier) => ({ itemIdentifier })) };
  }

  /** One after the other: once one of a group is not done, those behind it must not overtake it. Gives the ids of what is not to be deleted. */
  async #group(records: readonly SqsRecord[], endsAt: number): Promise<string[]> {
    for (const [i, record] of records.entries()) {
      const isDone = await this.#one(record, endsAt).catch((error: Error) => {
        this.#logger.error(
          { error, messageId: record.messageId },
          'a message could not be dispatched; it comes back when its visibility ends',
        );
        return false;
      });
      if (!isDone) return records.slice(i).map(({ messageId }) => messageId);
    }
    return [];
  }

  /** Whether Lambda may delete it. */
  async #one(record: SqsRecord, endsAt: number): Promise<boolean> {
    const opened = await this.#open();
    const name = opened.hands.nameOf(record.eventSourceARN);
    const queue = await opened.hands.queues.get(name);
    const held = opened.hands.hold(takenOf(messageOf(record), queue, receivedAt(record, Date.now())), name);
    const ending = await this.#dispatch(held, opened, endsAt).catch((error: Error): Ending => {
      const parked = error instanceof LovageError && !error.retryable;
      this.#logger.error(
        { error, messageId: record.messageId },
        'a message could not be dispatched; it goes back to its queue',
      );
      return { kind: 'back', delayMs: parked ? PARKED_MS : TROUBLE_MS };
    });
    return this.#end(held, opened.hands, ending);
  }

  async #end(held: Held, { settling }: SqsHands, ending: Ending): Promise<boolean> {
    if (ending.kind === 'done') return true;
    if (ending.kind === 'leave') return false;
    if (ending.kind === 'dead') {
      this.#logger.error(
        { messageId: held.taken.tag.id, queue: held.name },
        `a message goes to the dead letters: ${ending.reason}`,
      );
      throwFirst(await settling.reject([held], [ending.reason]));
      return true;
    }
    throwFirst(await settling.release([held], ending.delayMs));
    // In a FIFO queue it stays where it is, hidden.
    return !held.taken.queue.isFifo;
  }

  async #dispatch(held: Held, { hands, ecs, jobs }: Opened, endsAt: number): Promise<Ending> {
    const { app } = this.#options;
    const { dueAt, queue } = held.taken;
    const early = (dueAt ?? 0) - Date.now();
    if (early > 1_000) return { kind: 'back', delayMs: early };
    const parts: Dispatching = {
      hands,
      app,
      jobs,
      logger: this.#logger,
      startMs: (this.#options.startTimeout ?? ecsDispatcherTable.startTimeout.default) * 1000,
      run: (job) => this.#run(ecs, job, endsAt),
    };
    const isClaim = jobs !== undefined && !(queue.isFifo && this.#options.mode === undefined);
    if (isClaim && queue.isFifo) {
      this.#logger.error(
        { queue: held.name },
        "mode 'claim' deletes a message when its job begins, and SQS would hand out the next one of its group: use mode 'receipt' (the default) for FIFO queues",
      );
      return { kind: 'back', delayMs: PARKED_MS };
    }
    try {
      const message = decodeBody(await hands.bodyOf(held.taken));
      if (!app) return await dispatchReceipt(parts, held, peeked(message));
      const task = await decodeTask(message, { accept: acceptList(app.config.acceptContent) });
      const wait = (task.eta ?? 0) - Date.now();
      if (wait > 1_000) return { kind: 'back', delayMs: wait };
      return isClaim
        ? await dispatchClaim({ ...parts, app, jobs }, held, { message, task })
        : await dispatchReceipt(parts, held, task);
    } catch (error) {
      if (error instanceof DecodeError || error instanceof MessageTooLargeError)
        return (await this.#isCopy(held)) ? { kind: 'done' } : { kind: 'dead', reason: error.message };
      throw error;
    }
  }

  /** Whether a message that cannot be read is a late copy of one that has ended, whose large body is gone therefore. */
  async #isCopy({ taken }: Held): Promise<boolean> {
    const { app } = this.#options;
    if (!app || !isPointer(taken) || !(await hasEnded(await app.results(), taken))) return false;
    this.#logger.info({ messageId: taken.tag.id }, 'a copy of a message that has ended is deleted');
    return true;
  }

  /** Calls RunTask when its turn has come. @throws MessageTooLargeError for overrides that are too large */
  async #run(ecs: RunTaskClient, job: JobRun, endsAt: number): Promise<RunTaskVerdict | undefined> {
    const request = runTaskRequest(this.#target, job);
    const wait = this.#bucket.take(endsAt - Date.now());
    if (wait === undefined) return undefined;
    await sleep(wait);
    const verdict = classifyRunTask(await ecs.runTask(request));
    if (verdict.kind === 'started') return verdict;
    const fields = { startedBy: job.startedBy, kind: verdict.kind, reason: verdict.reason };
    if (verdict.alarm) this.#logger.error(fields, 'RunTask was refused, and that will not pass by itself');
    else this.#logger.warn(fields, 'RunTask was refused for the moment');
    return verdict;
  }

  /** Once for all calls that this process of Lambda serves; tried again by the next one where it fails. */
  #open(): Promise<Opened> {
    this.#opening ??= this.#openAll().catch((error) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #openAll(): Promise<Opened> {
    const { app, broker, mode } = this.#options;
    const ecs = await openRunTask(ecsAddress(this.#options));
    const hands = await openHands(app?.config ?? { broker: broker ?? 'sqs://', brokerTransportOptions: {} });
    if (!app || mode === 'receipt') return { ecs, hands, jobs: undefined };
    return { ecs, hands, jobs: new Jobs(await app.results()) };
  }
}

/** As much of a task as is known without an application. @throws DecodeError */
function peeked(message: Parameters<typeof peekTaskId>[0]): { readonly id: string } {
  const { id } = peekTaskId(message);
  if (id !== undefined) return { id };
  throw new DecodeError(
    'Not a task message: expected a header "id". Something other than Celery or Lovage writes to this queue.',
  );
}

/** What of an event that is none of SQS can be named, so that nothing is deleted. */
function failedIdsOf(event: unknown): { readonly itemIdentifier: string }[] {
  const records: unknown = Object(event).Records;
  if (!Array.isArray(records)) return [];
  return records.flatMap((record) => {
    const id: unknown = Object(record).messageId;
    return typeof id === 'string' && id !== '' ? [{ itemIdentifier: id }] : [];
  });
}
