import type { Config } from '../app/config.ts';
import { ConfigError } from '../errors.ts';
import { dynamodbLocation } from '../stores/dynamodb/url.ts';
import { deadName, isFifoName, sqsName } from '../stores/sqs/names.ts';
import { MAX_RETENTION } from '../stores/sqs/setup.ts';
import { sqsLocation } from '../stores/sqs/url.ts';
import { maskUrl } from '../util/mask-url.ts';
import { kinds, type OptionsOf, type OptionTable, option } from '../util/options.ts';
import { alarms } from './template-alarms.ts';
import {
  containerPolicy,
  dispatcherPolicy,
  type Json,
  type Place,
  type Resource,
  type Resources,
  reconcilerPolicy,
  ref,
  role,
  STACK,
} from './template-roles.ts';

/** Every option of the template, the same on the command line. */
export const templateTable = {
  cpu: option({ kind: kinds.int(256, 16_384), default: 1024, doc: 'CPU units of the container; 1,024 are one CPU.' }),
  memory: option({ kind: kinds.int(512, 122_880), default: 2048, doc: 'Memory of the container, in MiB.' }),
  stopTimeout: option({
    kind: kinds.int(2, 120),
    default: 120,
    doc: 'Seconds from SIGTERM to SIGKILL; Fargate allows 2 to 120.',
  }),
  functionTimeout: option({
    kind: kinds.int(10, 900),
    default: 60,
    doc: 'Seconds that the dispatcher may take for a batch; the visibility of the queue is six times as long.',
  }),
  maxConcurrency: option({
    kind: kinds.int(2, 1000),
    default: 2,
    doc: 'Batches at once; two are enough for the 20 RunTask calls a second that Fargate takes.',
  }),
} satisfies OptionTable;

export type TemplateOptions = OptionsOf<typeof templateTable>;

/** A CloudFormation template. */
export interface Template {
  readonly AWSTemplateFormatVersion: string;
  readonly Description: string;
  readonly Parameters: Readonly<Record<string, Readonly<Record<string, Json>>>>;
  readonly Conditions: Readonly<Record<string, Json>>;
  readonly Resources: Resources;
  readonly Outputs: Readonly<Record<string, Readonly<Record<string, Json>>>>;
}

const arn = (name: string): Json => ({ 'Fn::GetAtt': [name, 'Arn'] });

/**
 * The CloudFormation template of long jobs on ECS: the queue of `taskEcsQueue` with its dead letters, the table, both Lambda
 * functions with mapping, rule and schedule, the task definition, and a role with least privilege for each. What only the
 * account knows (image, subnets, code of the functions) are parameters. `appPath` is what the container gives to `-A`.
 * @throws ConfigError where broker and result backend are not sqs:// and dynamodb://
 */
export function awsTemplate(config: Config, appPath: string, options: TemplateOptions = {}): Template {
  const { broker, backend, taskEcsQueue } = config;
  const urls = [broker, backend].map((place) => (typeof place === 'string' ? place : undefined));
  const [brokerUrl, backendUrl] = urls;
  if (!brokerUrl?.startsWith('sqs:') || !backendUrl?.startsWith('dynamodb:')) {
    const shown = urls.map((url) => (url === undefined ? 'none' : maskUrl(url))).join(' and ');
    throw new ConfigError(
      `a template is of an application with the broker sqs:// and the result backend dynamodb://, got ${shown}`,
    );
  }
  for (const url of [brokerUrl, backendUrl])
    if (maskUrl(url) !== url)
      throw new ConfigError(
        `${maskUrl(url)} has keys in it, which would stand in the template: leave them out, roles have them`,
      );
  const location = sqsLocation(brokerUrl, config.brokerTransportOptions);
  const queue = sqsName(taskEcsQueue, location);
  const table = dynamodbLocation(backendUrl, config.resultBackendTransportOptions).table;
  const place: Place = { queue, dead: deadName(queue), table };
  const environment = { LOVAGE_BROKER: brokerUrl, LOVAGE_BACKEND: backendUrl };
  const settings = { ...defaults(), ...given(options) };
  return {
    AWSTemplateFormatVersion: '2010-09-09',
    Description: `Long jobs on ECS: queue ${queue}, table ${table}`,
    Parameters: parameters,
    Conditions: { HasAlarmTopic: { 'Fn::Not': [{ 'Fn::Equals': [ref('AlarmTopic'), ''] }] } },
    Resources: {
      ...stores(place, settings),
      ...functions(place, environment, settings),
      ...container(place, environment, { ...settings, appPath }),
      ...alarms(place),
    },
    Outputs: {
      QueueUrl: { Value: ref('Queue') },
      TaskDefinition: { Value: ref('TaskDefinition') },
    },
  };
}

const parameters: Template['Parameters'] = {
  Image: { Type: 'String', Description: 'The image of the container, whose entry point is in the exec form' },
  Cluster: { Type: 'String', Description: 'Name of the ECS cluster' },
  Subnets: { Type: 'List<AWS::EC2::Subnet::Id>', Description: 'Where containers run' },
  SecurityGroups: { Type: 'List<AWS::EC2::SecurityGroup::Id>', Description: 'What containers may reach' },
  CodeBucket: { Type: 'String', Description: 'Bucket with the code of both functions' },
  CodeKey: { Type: 'String', Description: 'Its key: a zip file' },
  DispatcherHandler: { Type: 'String', Default: 'functions.dispatch', Description: 'file.export of ecsDispatcher' },
  ReconcilerHandler: { Type: 'String', Default: 'functions.reconcile', Description: 'file.export of ecsReconciler' },
  AlarmTopic: { Type: 'String', Default: '', Description: 'ARN of an SNS topic for alarms; empty: none' },
};

type Settings = { readonly [Name in keyof typeof templateTable]: number };

function defaults(): Settings {
  const entries = Object.entries(templateTable).map(([name, row]) => [name, row.default]);
  return Object.fromEntries(entries) as Settings;
}

function given(options: TemplateOptions): Partial<Settings> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function stores({ queue, dead, table }: Place, { functionTimeout }: Settings): Resources {
  const fifo = isFifoName(queue) ? { FifoQueue: true } : {};
  return {
    DeadLetters: {
      Type: 'AWS::SQS::Queue',
      Properties: { QueueName: dead, MessageRetentionPeriod: MAX_RETENTION, SqsManagedSseEnabled: true, ...fifo },
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

function functions(place: Place, environment: Readonly<Record<string, string>>, settings: Settings): Resources {
  const common = (handler: string, roleName: string, timeout: number) => ({
    Runtime: 'nodejs24.x',
    Handler: ref(handler),
    Role: arn(roleName),
    Timeout: timeout,
    MemorySize: 512,
    Code: { S3Bucket: ref('CodeBucket'), S3Key: ref('CodeKey') },
  });
  const ecs = {
    ECS_CLUSTER: ref('Cluster'),
    ECS_TASK_DEFINITION: ref('TaskDefinition'),
    ECS_SUBNETS: { 'Fn::Join': [',', ref('Subnets')] },
    ECS_SECURITY_GROUPS: { 'Fn::Join': [',', ref('SecurityGroups')] },
  };
  return {
    DispatcherRole: role('lambda.amazonaws.com', dispatcherPolicy(place)),
    Dispatcher: {
      Type: 'AWS::Lambda::Function',
      Properties: {
        ...common('DispatcherHandler', 'DispatcherRole', settings.functionTimeout),
        Environment: { Variables: { ...environment, ...ecs } },
      },
    },
    DispatcherMapping: {
      Type: 'AWS::Lambda::EventSourceMapping',
      Properties: {
        EventSourceArn: arn('Queue'),
        FunctionName: ref('Dispatcher'),
        BatchSize: 10,
        FunctionResponseTypes: ['ReportBatchItemFailures'],
        ScalingConfig: { MaximumConcurrency: settings.maxConcurrency },
      },
    },
    ReconcilerRole: role('lambda.amazonaws.com', reconcilerPolicy(place)),
    Reconciler: {
      Type: 'AWS::Lambda::Function',
      Properties: {
        ...common('ReconcilerHandler', 'ReconcilerRole', 300),
        Environment: { Variables: environment },
      },
    },
    StoppedRule: {
      Type: 'AWS::Events::Rule',
      Properties: {
        Description: 'ECS tasks that have stopped',
        EventPattern: {
          source: ['aws.ecs'],
          'detail-type': ['ECS Task State Change'],
          detail: { lastStatus: ['STOPPED'], startedBy: [{ prefix: 'lovage/' }] },
        },
        Targets: [{ Id: 'reconciler', Arn: arn('Reconciler') }],
      },
    },
    SweepRule: {
      Type: 'AWS::Events::Rule',
      Properties: {
        Description: 'Jobs whose container is not heard of any more',
        ScheduleExpression: 'rate(5 minutes)',
        Targets: [{ Id: 'reconciler', Arn: arn('Reconciler') }],
      },
    },
    StoppedPermission: permission('StoppedRule'),
    SweepPermission: permission('SweepRule'),
  };
}

function permission(rule: string): Resource {
  return {
    Type: 'AWS::Lambda::Permission',
    Properties: {
      FunctionName: ref('Reconciler'),
      Action: 'lambda:InvokeFunction',
      Principal: 'events.amazonaws.com',
      SourceArn: arn(rule),
    },
  };
}

function container(
  place: Place,
  environment: Readonly<Record<string, string>>,
  { cpu, memory, stopTimeout, appPath }: Settings & { readonly appPath: string },
): Resources {
  const variables = { ...environment, ECS_CONTAINER_STOP_TIMEOUT: String(stopTimeout) };
  return {
    LogGroup: { Type: 'AWS::Logs::LogGroup', Properties: { RetentionInDays: 30 } },
    ExecutionRole: role('ecs-tasks.amazonaws.com', [], 'service-role/AmazonECSTaskExecutionRolePolicy'),
    TaskRole: role('ecs-tasks.amazonaws.com', containerPolicy(place)),
    TaskDefinition: {
      Type: 'AWS::ECS::TaskDefinition',
      Properties: {
        Family: { 'Fn::Sub': `${STACK}-run-one` },
        RequiresCompatibilities: ['FARGATE'],
        NetworkMode: 'awsvpc',
        Cpu: String(cpu),
        Memory: String(memory),
        ExecutionRoleArn: arn('ExecutionRole'),
        TaskRoleArn: arn('TaskRole'),
        ContainerDefinitions: [
          {
            Name: 'app',
            Image: ref('Image'),
            Essential: true,
            // In the exec form: a shell as process 1 would keep SIGTERM to itself.
            EntryPoint: ['node', 'node_modules/lovage/dist/cli/main.js'],
            Command: ['-A', appPath, 'run-one'],
            StopTimeout: stopTimeout,
            Environment: Object.entries(variables).map(([Name, Value]) => ({ Name, Value })),
            LogConfiguration: {
              LogDriver: 'awslogs',
              Options: {
                'awslogs-group': ref('LogGroup'),
                'awslogs-region': ref('AWS::Region'),
                'awslogs-stream-prefix': 'run-one',
              },
            },
          },
        ],
      },
    },
  };
}
