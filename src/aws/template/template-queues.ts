import { createHash } from 'node:crypto';
import { deadName, isFifoName } from '../../stores/sqs/names.ts';
import { maxReceivesOf } from '../../stores/sqs/provision.ts';
import { creationAttributes, MAX_RETENTION } from '../../stores/sqs/setup.ts';
import { arn, type Json, type Resource, type Resources } from './template-parts.ts';
import type { Place } from './template-roles.ts';

/** The queue of long jobs, and its dead letters. `functionTimeout`: seconds that the dispatcher may take for a batch. */
export function jobQueues(queue: string, functionTimeout: number): Resources {
  const fifo = isFifoName(queue) ? { FifoQueue: true } : {};
  return {
    DeadLetters: {
      Type: 'AWS::SQS::Queue',
      Properties: {
        QueueName: deadName(queue),
        MessageRetentionPeriod: MAX_RETENTION,
        SqsManagedSseEnabled: true,
        ...fifo,
      },
    },
    Queue: {
      Type: 'AWS::SQS::Queue',
      Properties: {
        QueueName: queue,
        VisibilityTimeout: 6 * functionTimeout,
        MessageRetentionPeriod: MAX_RETENTION,
        SqsManagedSseEnabled: true,
        // In a FIFO queue a message that waits for capacity is received again and again.
        RedrivePolicy: { deadLetterTargetArn: arn('DeadLetters'), maxReceiveCount: isFifoName(queue) ? 1000 : 10 },
        ...fifo,
        ...(isFifoName(queue) && { DeduplicationScope: 'messageGroup', FifoThroughputLimit: 'perMessageGroupId' }),
      },
    },
  };
}

/** The queues of the workers as `lovage setup` makes them, each with its dead letters. */
export function workerQueues({ workers, sqs }: Place, maxDeliveries: number): Resources {
  const queue = (name: string, more: Readonly<Record<string, Json>> = {}): Resource => {
    const own = Object.entries(creationAttributes(sqs, name)).map(([key, text]) => [key, propertyOf(text)] as const);
    const properties: Record<string, Json> = Object.fromEntries(own);
    const sealed = 'KmsMasterKeyId' in properties ? {} : { SqsManagedSseEnabled: true };
    return { Type: 'AWS::SQS::Queue', Properties: { QueueName: name, ...sealed, ...properties, ...more } };
  };
  const resources = workers.flatMap(({ steps, dead }) => {
    const letters = logicalName('WorkerDeadLetters', dead);
    const RedrivePolicy = {
      deadLetterTargetArn: arn(letters),
      maxReceiveCount: maxReceivesOf(dead, { maxDeliveries }),
    };
    return [
      [letters, queue(dead)] as const,
      ...steps.map((name) => [logicalName('WorkerQueue', name), queue(name, { RedrivePolicy })] as const),
    ];
  });
  return Object.fromEntries(resources);
}

/** The table of results, jobs and claims. */
export function resultTable(table: string): Resources {
  return {
    Table: {
      Type: 'AWS::DynamoDB::Table',
      Properties: {
        TableName: table,
        BillingMode: 'PAY_PER_REQUEST',
        AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
        KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
        TimeToLiveSpecification: { AttributeName: 'ttl', Enabled: true },
      },
    },
  };
}

/** The name of a queue's resource follows from the queue alone: were it to change, CloudFormation would make a new queue. */
function logicalName(kind: string, inSqs: string): string {
  const plain = inSqs.replace(/[^A-Za-z0-9]/g, '');
  const mark = /^[a-z0-9]+$/.test(inSqs) ? '' : createHash('sha256').update(inSqs).digest('hex').slice(0, 6);
  return `${kind}${plain.charAt(0).toUpperCase()}${plain.slice(1)}${mark}`;
}

/** Attributes of SQS are texts, those of CloudFormation are not. */
function propertyOf(text: string): Json {
  if (/^(\d+|true|false|\{.*\})$/s.test(text)) return JSON.parse(text);
  return text;
}
