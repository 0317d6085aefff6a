import type { Config } from '../../app/config.ts';
import { ConfigError } from '../../errors.ts';
import { dynamodbLocation } from '../../stores/dynamodb/url.ts';
import { deadName, sqsName } from '../../stores/sqs/names.ts';
import { namesOf } from '../../stores/sqs/provision.ts';
import { sqsLocation } from '../../stores/sqs/url.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { kinds, type OptionsOf, type OptionTable, option } from '../../util/options.ts';
import { alarms } from './template-alarms.ts';
import { jobResources } from './template-jobs.ts';
import { type Json, type Parameters, type Resources, ref } from './template-parts.ts';
import { jobQueues, resultTable, workerQueues } from './template-queues.ts';
import { type Place, role } from './template-roles.ts';
import { type WorkerFleet, workerConditions, workerParameters, workerResources } from './template-workers.ts';

/** Every option of the template, the same on the command line. */
export const templateTable = {
  cpu: option({
    kind: kinds.int(256, 16_384),
    default: 1024,
    doc: 'CPU units of the container of a job; 1,024 are one CPU.',
  }),
  memory: option({ kind: kinds.int(512, 122_880), default: 2048, doc: 'Memory of the container of a job, in MiB.' }),
  workerCpu: option({ kind: kinds.int(256, 16_384), default: 512, doc: 'CPU units of a worker.' }),
  workerMemory: option({ kind: kinds.int(512, 122_880), default: 1024, doc: 'Memory of a worker, in MiB.' }),
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

/** What a template has in it; without a fleet no workers, and with `jobs: false` no long jobs. */
export interface TemplateParts {
  readonly jobs?: boolean;
  readonly fleet?: WorkerFleet | undefined;
}

/** A CloudFormation template. */
export interface Template {
  readonly AWSTemplateFormatVersion: string;
  readonly Description: string;
  readonly Parameters: Parameters;
  readonly Conditions: Readonly<Record<string, Json>>;
  readonly Resources: Resources;
  readonly Outputs: Readonly<Record<string, Readonly<Record<string, Json>>>>;
}

/**
 * The CloudFormation template of an application on ECS. Of long jobs: the queue of `taskEcsQueue` with its dead letters,
 * both Lambda functions with mapping, rule and schedule, and the task definition. Of workers: their queues, a service, the
 * monitor of its backlog, and what scales it. The table is for both; each has a role with least privilege. What only the
 * account knows (image, subnets, code of the functions) are parameters. `appPath` is what the containers give to `-A`.
 * @throws ConfigError where broker and result backend are not sqs:// and dynamodb://, and for what makes no sense
 */
export function awsTemplate(
  config: Config,
  appPath: string,
  options: TemplateOptions = {},
  { jobs = true, fleet }: TemplateParts = {},
): Template {
  const { brokerUrl, backendUrl } = urlsOf(config);
  const place = placeOf(config, { brokerUrl, backendUrl }, { jobs, fleet });
  const { table } = place.dynamodb;
  const environment = { LOVAGE_BROKER: brokerUrl, LOVAGE_BACKEND: backendUrl };
  const settings = { ...defaults(), ...given(options) };
  const parts = { place, environment, appPath, settings };
  const about = [
    ...(place.jobs ? [`long jobs of queue ${place.jobs.queue}`] : []),
    ...(fleet ? [`workers of ${fleet.queues.join(', ')}`] : []),
  ];
  return {
    AWSTemplateFormatVersion: '2010-09-09',
    // CloudFormation takes 1,024 bytes.
    Description: `On ECS: ${about.join('; ')}; table ${table}`.slice(0, 1000),
    Parameters: {
      ...parameters,
      ...(fleet?.math && meteredCluster),
      ...(jobs && jobParameters),
      ...(fleet && workerParameters(fleet)),
    },
    Conditions: {
      ...(jobs && { HasAlarmTopic: { 'Fn::Not': [{ 'Fn::Equals': [ref('AlarmTopic'), ''] }] } }),
      ...(fleet && workerConditions),
    },
    Resources: {
      ...(place.jobs && jobQueues(place.jobs.queue, settings.functionTimeout)),
      ...workerQueues(place, config.taskMaxDeliveries),
      ...resultTable(table),
      LogGroup: { Type: 'AWS::Logs::LogGroup', Properties: { RetentionInDays: 30 } },
      ExecutionRole: role('ecs-tasks.amazonaws.com', [], 'service-role/AmazonECSTaskExecutionRolePolicy'),
      ...(place.jobs && { ...jobResources(parts), ...alarms(place.jobs.dead) }),
      ...(fleet && workerResources({ ...parts, fleet })),
    },
    Outputs: {
      ...(jobs && { QueueUrl: { Value: ref('Queue') }, TaskDefinition: { Value: ref('TaskDefinition') } }),
      ...(fleet && { WorkerService: { Value: { 'Fn::GetAtt': ['WorkerService', 'Name'] } } }),
    },
  };
}

/** @throws ConfigError for other stores, and for URLs with keys in them */
function urlsOf({ broker, backend }: Config): { readonly brokerUrl: string; readonly backendUrl: string } {
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
  return { brokerUrl, backendUrl };
}

/** @throws ConfigError for queues that a template cannot make, and for a template with nothing in it */
function placeOf(
  { brokerTransportOptions, resultBackendTransportOptions, taskEcsQueue }: Config,
  { brokerUrl, backendUrl }: ReturnType<typeof urlsOf>,
  { jobs, fleet }: TemplateParts,
): Place {
  const sqs = sqsLocation(brokerUrl, brokerTransportOptions);
  if (sqs.predefined)
    throw new ConfigError(
      'a template makes the queues, and with the option predefinedQueues they are there already: leave it out',
    );
  if (!jobs && !fleet) throw new ConfigError('a template without long jobs and without workers is empty');
  if (fleet && fleet.queues.length === 0)
    throw new ConfigError('workers need a queue besides that of long jobs: say --queue, or --no-workers');
  if (fleet?.queues.includes(taskEcsQueue))
    throw new ConfigError(
      `queue '${taskEcsQueue}' is that of long jobs (taskEcsQueue), which the dispatcher serves: workers need others`,
    );
  const queue = sqsName(taskEcsQueue, sqs);
  return {
    jobs: jobs ? { queue, dead: deadName(queue) } : undefined,
    workers: fleet ? namesOf(sqs, { queues: fleet.queues }) : [],
    sqs,
    dynamodb: dynamodbLocation(backendUrl, resultBackendTransportOptions),
  };
}

const parameters: Parameters = {
  Image: { Type: 'String', Description: 'The image of the containers, whose entry point is in the exec form' },
  Cluster: { Type: 'String', Description: 'Name of the ECS cluster' },
  Subnets: { Type: 'List<AWS::EC2::Subnet::Id>', Description: 'Where containers run' },
  SecurityGroups: { Type: 'List<AWS::EC2::SecurityGroup::Id>', Description: 'What containers may reach' },
};

const meteredCluster: Parameters = {
  Cluster: { Type: 'String', Description: 'Name of the ECS cluster, whose Container Insights must be on' },
};

const jobParameters: Parameters = {
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
