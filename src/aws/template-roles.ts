import { dynamodbActions } from '../stores/dynamodb/setup.ts';
import { sqsActions } from '../stores/sqs/setup.ts';

/** Names that policies are about. */
export interface Place {
  /** As SQS calls the queue, and its dead letters. */
  readonly queue: string;
  readonly dead: string;
  readonly table: string;
}

/** A value of a template. */
export type Json = string | number | boolean | readonly Json[] | { readonly [name: string]: Json };

/** A resource of a template. */
export interface Resource {
  readonly Type: string;
  readonly Properties: Readonly<Record<string, Json>>;
}

export type Resources = Readonly<Record<string, Resource>>;

/** A parameter or a resource, by its name. */
export function ref(Ref: string): Json {
  return { Ref };
}

/** Where CloudFormation writes the name of the stack. */
export const STACK = placeholder('AWS::StackName');

/** One statement of a policy. */
export type Statement = Readonly<Record<string, Json>>;

const tableActions = dynamodbActions.worker.map((action) => `dynamodb:${action}`);
const sendActions = ['sqs:GetQueueUrl', 'sqs:GetQueueAttributes', 'sqs:SendMessage'];

/** What the dispatcher may do: receive, settle, start, keep jobs. */
export function dispatcherPolicy(place: Place): Statement[] {
  return [
    allow(sqsActions.worker.queues, queueArn(place.queue)),
    allow(sqsActions.worker.dead, queueArn(place.dead)),
    allow(tableActions, { 'Fn::GetAtt': ['Table', 'Arn'] }),
    {
      ...allow(['ecs:RunTask'], arnIn('ecs', `task-definition/${STACK}-run-one:*`)),
      Condition: { ArnEquals: { 'ecs:cluster': arnIn('ecs', `cluster/${placeholder('Cluster')}`) } },
    },
    {
      ...allow(['iam:PassRole'], [{ 'Fn::GetAtt': ['TaskRole', 'Arn'] }, { 'Fn::GetAtt': ['ExecutionRole', 'Arn'] }]),
      Condition: { StringEquals: { 'iam:PassedToService': 'ecs-tasks.amazonaws.com' } },
    },
    logs(),
  ];
}

/** What the reconciler may do: give back, bury, keep jobs. */
export function reconcilerPolicy(place: Place): Statement[] {
  return [
    allow(sendActions, [queueArn(place.queue), queueArn(place.dead)]),
    allow(tableActions, { 'Fn::GetAtt': ['Table', 'Arn'] }),
    logs(),
  ];
}

/** What the container may do: as a worker that receives nothing. Its own work needs more. */
export function containerPolicy(place: Place): Statement[] {
  return [
    allow([...sendActions, 'sqs:ChangeMessageVisibility', 'sqs:DeleteMessage'], queueArn(place.queue)),
    allow(sendActions, queueArn(place.dead)),
    allow(tableActions, { 'Fn::GetAtt': ['Table', 'Arn'] }),
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

function allow(actions: readonly string[], resource: Json): Statement {
  return { Effect: 'Allow', Action: [...actions], Resource: resource };
}

function queueArn(name: string): Json {
  return arnIn('sqs', name);
}

function logs(): Statement {
  return allow(
    ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:PutLogEvents'],
    arnIn('logs', `log-group:/aws/lambda/${STACK}-*`),
  );
}

/** The ARN of something in the account and region of the stack. */
function arnIn(service: string, resource: string): Json {
  const [partition, region, account] = ['AWS::Partition', 'AWS::Region', 'AWS::AccountId'].map(placeholder);
  return { 'Fn::Sub': `arn:${partition}:${service}:${region}:${account}:${resource}` };
}

/** What CloudFormation replaces in a text. */
function placeholder(name: string): string {
  return `$\{${name}}`;
}
