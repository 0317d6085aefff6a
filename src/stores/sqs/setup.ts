import { CEILING_MS } from './messages.ts';
import { isDeadName, isFifoName } from './names.ts';
import type { SqsLocation } from './url.ts';

/** How long SQS keeps a message at most: 14 days, in seconds. */
export const MAX_RETENTION = 1_209_600;

/** The actions that each role needs, for policies: on the queues themselves, and on their dead letters. */
export const sqsActions = {
  producer: { queues: ['sqs:GetQueueUrl', 'sqs:SendMessage'], dead: [] },
  worker: {
    queues: [
      'sqs:GetQueueUrl',
      'sqs:GetQueueAttributes',
      'sqs:ReceiveMessage',
      'sqs:DeleteMessage',
      'sqs:ChangeMessageVisibility',
      'sqs:SendMessage',
    ],
    dead: ['sqs:GetQueueUrl', 'sqs:SendMessage', 'sqs:GetQueueAttributes'],
  },
  setup: {
    queues: ['sqs:GetQueueUrl', 'sqs:CreateQueue', 'sqs:GetQueueAttributes', 'sqs:SetQueueAttributes'],
    dead: ['sqs:GetQueueUrl', 'sqs:CreateQueue', 'sqs:GetQueueAttributes', 'sqs:SetQueueAttributes'],
  },
} as const;

/** The attributes with which a queue is created: those that a queue of its kind should have, and those of the configuration. */
export function creationAttributes(
  { leaseMs, options }: Pick<SqsLocation, 'leaseMs' | 'options'>,
  inSqs: string,
): Readonly<Record<string, string>> {
  const isDead = isDeadName(inSqs);
  return {
    VisibilityTimeout: String(Math.round(leaseMs / 1000)),
    MessageRetentionPeriod: String(MAX_RETENTION),
    ...(isFifoName(inSqs) && {
      FifoQueue: 'true',
      ...(!isDead && { DeduplicationScope: 'messageGroup', FifoThroughputLimit: 'perMessageGroupId' }),
    }),
    ...Object.fromEntries(Object.entries(options.sqsCreationAttributes ?? {}).map(([name, v]) => [name, text(v)])),
  };
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/**
 * Requests that waiting costs a task beyond sending it, when it is alone: up to ten that are due together share them. A
 * standard queue sends it anew for each hop (a receive, a send, a delete); a FIFO queue hides it for up to 12 hours (a
 * receive, a change of its visibility).
 */
export function parkedRequests(delayMs: number, { hopMs, isFifo }: Pick<SqsLocation, 'hopMs' | 'isFifo'>): number {
  if (isFifo) return 2 * Math.ceil(delayMs / CEILING_MS);
  return 3 * Math.max(0, Math.ceil(delayMs / hopMs) - 1);
}
