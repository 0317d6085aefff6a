import type { SqsAttribute } from '../../stores/sqs/api.ts';

/** Environment variables by which a dispatcher tells a container which message to run. */
export const jobEnv = {
  /** The id of the job, in mode 'claim'. */
  job: 'LOVAGE_JOB',
  /** Which of its ECS tasks this is. */
  start: 'LOVAGE_JOB_START',
  /** The message as SQS has it, in mode 'receipt'. */
  message: 'LOVAGE_SQS_MESSAGE',
  /** Its receipt, as JSON. */
  receipt: 'LOVAGE_SQS_RECEIPT',
} as const;

/** Begins `startedBy` of ECS tasks of jobs. */
export const STARTED_BY = 'lovage/';

/** What a container needs besides the body to hold its message: plain data. */
export interface Receipt {
  /** As the application calls the queue. */
  readonly queue: string;
  readonly url: string;
  readonly handle: string;
  /** The id in SQS. */
  readonly id: string;
  /** When it was received, epoch milliseconds. */
  readonly at: number;
  readonly attempt: number;
  readonly attributes: Readonly<Record<string, SqsAttribute>>;
  readonly group?: string;
}
