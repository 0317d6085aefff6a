import { type DynamodbLocation, dynamodbLocation } from '../../stores/dynamodb/url.ts';
import { s3Actions } from '../../stores/s3/setup.ts';
import { s3Location } from '../../stores/s3/url.ts';
import { keyPermissions, type QueueNames } from '../../stores/sqs/provision.ts';
import { sqsActions } from '../../stores/sqs/setup.ts';
import type { SqsLocation } from '../../stores/sqs/url.ts';
import { producerActions, roleActions, tableActions } from '../role-actions.ts';
import { arn, arnIn, CLUSTER, type Json, placeholder, type Resource, ref, STACK } from './template-parts.ts';

/** Names that policies are about. */
export interface Place {
  /** As SQS calls the queue of long jobs, and its dead letters; `undefined` where the stack has none. */
  readonly jobs: { readonly queue: string; readonly dead: string } | undefined;
  /** The queues of the workers; none where the stack has no workers. */
  readonly workers: readonly QueueNames[];
  readonly sqs: SqsLocation;
  readonly dynamodb: DynamodbLocation;
}

/** One statement of a policy. */
export type Statement = Readonly<Record<string, Json>>;

/** What the dispatcher may do: receive, settle, start, keep jobs, and send what follows one that cannot be started. */
export function dispatcherPolicy(place: Place): Statement[] {
  const { queues, dead, ecs } = roleActions.dispatcher;
  return [
    ...onJobs(place, queues, dead),
    ...onEach(producerActions, namesOf(place)),
    ...stores(place),
    {
      ...allow(ecs, arnIn('ecs', `task-definition/${STACK}-run-one:*`)),
      Condition: { ArnEquals: { 'ecs:cluster': arnIn('ecs', `cluster/${CLUSTER}`) } },
    },
    {
      ...allow(['iam:PassRole'], [arn('TaskRole'), arn('ExecutionRole')]),
      Condition: { StringEquals: { 'iam:PassedToService': 'ecs-tasks.amazonaws.com' } },
    },
    logs(),
  ];
}

/** What the reconciler may do: give back, bury, keep jobs, and send what follows one that has failed. */
export function reconcilerPolicy(place: Place): Statement[] {
  const { queues, dead } = roleActions.reconciler;
  return [...onJobs(place, queues, dead), ...onEach(producerActions, namesOf(place)), ...stores(place), logs()];
}

/** What the container of a long job may do: as a worker that receives nothing. Its own work needs more. */
export function containerPolicy(place: Place): Statement[] {
  const { queues, dead } = roleActions.container;
  return [...onJobs(place, queues, dead), ...onEach(producerActions, namesOf(place)), ...stores(place)];
}

/** What a worker may do, be spared from scale-in included. Its own work needs more. */
export function workerPolicy(place: Place): Statement[] {
  const { queues, dead } = sqsActions.worker;
  return [
    ...onEach(queues, namesOf(place)),
    ...onEach(
      dead,
      place.workers.map((one) => one.dead),
    ),
    ...onEach(producerActions, place.jobs ? [place.jobs.queue] : []),
    ...stores(place),
    {
      ...allow(roleActions.protection, arnIn('ecs', `task/${CLUSTER}/*`)),
      Condition: { ArnEquals: { 'ecs:cluster': arnIn('ecs', `cluster/${CLUSTER}`) } },
    },
  ];
}

/** What the monitor may do: count and publish. `namespace`: of its metrics. `readsRuntimes`: it reads how long runs take. */
export function monitorPolicy(
  place: Place,
  { namespace, readsRuntimes }: { readonly namespace: string; readonly readsRuntimes: boolean },
): Statement[] {
  const { queues, dead, service, publish, runtimes } = roleActions.monitor;
  return [
    ...onEach(queues, namesOf(place)),
    ...onEach(
      dead,
      place.workers.map((one) => one.dead),
    ),
    allow(service, ref('WorkerService')),
    // Metrics have no ARN: the namespace is what there is to restrict.
    { ...allow(publish, '*'), Condition: { StringEquals: { 'cloudwatch:namespace': namespace } } },
    ...(readsRuntimes ? [allow(runtimes, arn('Table'))] : []),
  ];
}

/** A role that a service takes on. `managed` is a policy of AWS. */
export function role(service: string, statements: readonly Statement[], managed?: string): Resource {
  return {
    Type: 'AWS::IAM::Role',
    Properties: {
      AssumeRolePolicyDocument: {
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Principal: { Service: service }, Action: 'sts:AssumeRole' }],
      },
      ...(statements.length > 0 && {
        Policies: [{ PolicyName: 'own', PolicyDocument: { Version: '2012-10-17', Statement: statements } }],
      }),
      ...(managed !== undefined && {
        ManagedPolicyArns: [{ 'Fn::Sub': `arn:${placeholder('AWS::Partition')}:iam::aws:policy/${managed}` }],
      }),
    },
  };
}

/** The names in SQS of all queues of the workers, those of steps of priority included. */
function namesOf({ workers }: Place): string[] {
  return workers.flatMap(({ steps }) => steps);
}

function onJobs({ jobs }: Place, queues: readonly string[], dead: readonly string[]): Statement[] {
  return jobs ? [...onEach(queues, [jobs.queue]), ...onEach(dead, [jobs.dead])] : [];
}

function onEach(actions: readonly string[], names: readonly string[]): Statement[] {
  if (names.length === 0) return [];
  return [
    allow(
      actions,
      names.map((name) => arnIn('sqs', name)),
    ),
  ];
}

/** The table, the stores of what is too large for queue and table, and the key of queues that have one of their own. */
function stores({ sqs, dynamodb }: Place): Statement[] {
  const { payloadStore } = sqs.options;
  const { largeResults } = dynamodb;
  const keys = keyPermissions(sqs, 'worker');
  return [
    allow(tableActions, arn('Table')),
    ...(payloadStore === undefined ? [] : largeStore(payloadStore, dynamodb)),
    ...(largeResults === 'table' ? [] : largeStore(largeResults, dynamodb)),
    ...(keys[0]
      ? [
          allow(
            keys.map(({ action }) => action),
            keys[0].resource,
          ),
        ]
      : []),
  ];
}

function largeStore(url: string, own: DynamodbLocation): Statement[] {
  if (url.startsWith('s3:')) {
    const { bucket, basePath } = s3Location(url);
    const { bucket: onBucket, objects } = s3Actions.worker;
    const root = `arn:${placeholder('AWS::Partition')}:s3:::${bucket}`;
    return [allow(onBucket, { 'Fn::Sub': root }), allow(objects, { 'Fn::Sub': `${root}/${basePath}*` })];
  }
  const { table } = dynamodbLocation(url);
  return table === own.table ? [] : [allow(tableActions, arnIn('dynamodb', `table/${table}`))];
}

function allow(actions: readonly string[], resource: Json): Statement {
  return { Effect: 'Allow', Action: [...actions], Resource: resource };
}

function logs(): Statement {
  return allow(
    ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:PutLogEvents'],
    arnIn('logs', `log-group:/aws/lambda/${STACK}-*`),
  );
}
