import { dynamodbActions } from '../stores/dynamodb/setup.ts';
import { sqsActions } from '../stores/sqs/setup.ts';

/** Who sends, and looks whether there is a queue. */
const send = ['sqs:GetQueueUrl', 'sqs:GetQueueAttributes', 'sqs:SendMessage'];

/** Who sends tasks to a queue and never looks into it. */
export const producerActions = sqsActions.producer.queues;

/** All that a worker does to the table of results. */
export const tableActions = dynamodbActions.worker.map((action) => `dynamodb:${action}`);

/**
 * The actions of those who are neither senders nor workers, by who needs them: one list for the template of CloudFormation
 * and for `lovage iam`. `queues`, `dead`: on queues and their dead letters.
 */
export const roleActions = {
  /** Starts an ECS task for each message. */
  dispatcher: { queues: sqsActions.worker.queues, dead: sqsActions.worker.dead, ecs: ['ecs:RunTask'] },
  /** Gives back and buries; receives nothing. */
  reconciler: { queues: send, dead: send },
  /** Runs one message that the dispatcher has received. */
  container: { queues: [...send, 'sqs:ChangeMessageVisibility', 'sqs:DeleteMessage'], dead: send },
  /** Counts messages and tasks, and publishes. */
  monitor: {
    queues: ['sqs:GetQueueUrl', 'sqs:GetQueueAttributes'],
    dead: ['sqs:GetQueueUrl', 'sqs:GetQueueAttributes'],
    service: ['ecs:DescribeServices'],
    /** Where it scales by itself. */
    scale: ['ecs:UpdateService'],
    publish: ['cloudwatch:PutMetricData'],
    /** Where the runtimes that workers have measured make seconds of the backlog. */
    runtimes: ['dynamodb:BatchGetItem'],
    /** Where of several monitors one looks. */
    leader: ['dynamodb:GetItem', 'dynamodb:PutItem'],
  },
  /** Asks for protection from scale-in. */
  protection: ['ecs:GetTaskProtection', 'ecs:UpdateTaskProtection'],
} as const;
