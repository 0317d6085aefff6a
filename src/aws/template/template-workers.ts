import { defaultNames, type MetricNames } from '../scaling/metric-names.ts';
import { type PolicyRequests, policyRequests, type TrackingConfig } from '../scaling/policy.ts';
import {
  asProperties,
  CLUSTER,
  type Json,
  type Parameters,
  placeholder,
  type Resources,
  ref,
  taskDefinition,
} from './template-parts.ts';
import { monitorPolicy, type Place, role, workerPolicy } from './template-roles.ts';

/** Workers as an ECS service that follows its backlog: what `lovage autoscale policy` is told, too. */
export interface WorkerFleet {
  /** As the application calls them. */
  readonly queues: readonly string[];
  readonly min: number;
  readonly max: number;
  readonly tracking: TrackingConfig;
  /** The queues as their metrics call them. */
  readonly metered: readonly string[];
  /** Without a monitor: by metrics that SQS and Container Insights publish. */
  readonly math: boolean;
  readonly names: MetricNames;
  /** Whether workers are to measure how long tasks take: the policy looks at seconds, and nobody has said them. */
  readonly measured: boolean;
  /** Seconds of a run, where they are known. */
  readonly serviceTime?: number | undefined;
  /** Runs at once in one worker. Default: as the application says. */
  readonly concurrency?: number | undefined;
}

export interface WorkerParts {
  readonly fleet: WorkerFleet;
  readonly place: Place;
  readonly environment: Readonly<Record<string, string>>;
  readonly appPath: string;
  readonly settings: { readonly workerCpu: number; readonly workerMemory: number; readonly stopTimeout: number };
}

/** What cluster and service are called: CloudFormation chooses the service's name, so that it can replace it. */
export const fleetPlace = { cluster: CLUSTER, service: placeholder('WorkerService.Name') };

/** What an operator may change without another template. */
export function workerParameters({ min, max }: WorkerFleet): Parameters {
  return {
    MinTasks: { Type: 'Number', Default: min, MinValue: 0, Description: 'Fewest workers' },
    MaxTasks: { Type: 'Number', Default: max, MinValue: 1, Description: 'Most workers' },
  };
}

/** The alarm from zero is for services that may have no task. */
export const workerConditions: Readonly<Record<string, Json>> = {
  FromZero: { 'Fn::Equals': [ref('MinTasks'), '0'] },
};

/** The service of workers, the monitor of its backlog where one is needed, and what has AWS scale it. */
export function workerResources(parts: WorkerParts): Resources {
  const { fleet, place, environment, appPath, settings } = parts;
  return {
    WorkerRole: role('ecs-tasks.amazonaws.com', workerPolicy(place)),
    WorkerTaskDefinition: taskDefinition({
      what: 'worker',
      command: ['-A', appPath, ...workerCommand(fleet)],
      role: 'WorkerRole',
      cpu: settings.workerCpu,
      memory: settings.workerMemory,
      stopTimeout: settings.stopTimeout,
      environment,
    }),
    // No count: with one, each update of the stack would undo what the policy has done.
    WorkerService: service('WorkerTaskDefinition', { DeploymentCircuitBreaker: { Enable: true, Rollback: true } }),
    ...(!fleet.math && monitorResources(parts)),
    ...scaling(fleet),
  };
}

function monitorResources({ fleet, place, environment, appPath }: WorkerParts): Resources {
  const { namespace } = fleet.names;
  // A monitor that is not told looks what workers have measured, whether there is something or not.
  const readsRuntimes = fleet.serviceTime === undefined;
  return {
    MonitorRole: role('ecs-tasks.amazonaws.com', monitorPolicy(place, { namespace, readsRuntimes })),
    MonitorTaskDefinition: taskDefinition({
      what: 'monitor',
      command: ['-A', appPath, ...monitorCommand(fleet)],
      role: 'MonitorRole',
      cpu: 256,
      memory: 512,
      stopTimeout: 30,
      environment,
    }),
    // The old one ends before the new one begins: two would publish everything twice.
    MonitorService: service('MonitorTaskDefinition', { MaximumPercent: 100, MinimumHealthyPercent: 0 }, 1),
  };
}

function service(definition: string, deployment: Readonly<Record<string, Json>>, count?: number) {
  return {
    Type: 'AWS::ECS::Service',
    Properties: {
      Cluster: ref('Cluster'),
      LaunchType: 'FARGATE',
      TaskDefinition: ref(definition),
      ...(count !== undefined && { DesiredCount: count }),
      DeploymentConfiguration: deployment,
      NetworkConfiguration: {
        AwsvpcConfiguration: { Subnets: ref('Subnets'), SecurityGroups: ref('SecurityGroups') },
      },
    },
  };
}

/** The requests of `lovage autoscale policy`, as resources. */
function scaling(fleet: WorkerFleet): Resources {
  const { register, tracking, fromZero } = requestsOf(fleet);
  const policy = ({ PolicyName, PolicyType, ...rest }: PolicyRequests['tracking']) => {
    const { ServiceNamespace: _, ResourceId: __, ScalableDimension: ___, ...configuration } = rest;
    return {
      Type: 'AWS::ApplicationAutoScaling::ScalingPolicy',
      Properties: {
        ...asProperties({ PolicyName, PolicyType, ...configuration }),
        ScalingTargetId: ref('ScalableTarget'),
      },
    };
  };
  return {
    ScalableTarget: {
      Type: 'AWS::ApplicationAutoScaling::ScalableTarget',
      Properties: { ...asProperties(register), MinCapacity: ref('MinTasks'), MaxCapacity: ref('MaxTasks') },
    },
    BacklogPolicy: policy(tracking),
    ...(fromZero && {
      FromZeroPolicy: { ...policy(fromZero.policy), Condition: 'FromZero' },
      FromZeroAlarm: {
        Type: 'AWS::CloudWatch::Alarm',
        Condition: 'FromZero',
        Properties: { ...asProperties(fromZero.alarm), AlarmActions: [ref('FromZeroPolicy')] },
      },
    }),
  };
}

/** As for a service that may have no task: whether it may is for the parameter to say. */
function requestsOf({ metered, min, max, tracking, names, math }: WorkerFleet): PolicyRequests {
  const asked = { ...fleetPlace, max, tracking, queues: metered, names, math };
  // For its checks.
  policyRequests({ ...asked, min });
  return policyRequests({ ...asked, min: 0 });
}

function workerCommand({ queues, concurrency, measured }: WorkerFleet): Json[] {
  return [
    'worker',
    '-Q',
    queues.join(','),
    ...(concurrency === undefined ? [] : ['-c', String(concurrency)]),
    ...(measured ? ['--report-runtimes'] : []),
  ];
}

function monitorCommand({ queues, names, serviceTime, concurrency }: WorkerFleet): Json[] {
  const named = [
    ['--namespace', names.namespace, defaultNames.namespace],
    ['--metric', names.metric, defaultNames.metric],
    ['--seconds-metric', names.secondsMetric, defaultNames.secondsMetric],
    ['--unserved-metric', names.unservedMetric, defaultNames.unservedMetric],
  ] as const;
  const dimensions = names.dimensions === defaultNames.dimensions ? [] : names.dimensions;
  return [
    'autoscale',
    'monitor',
    '--queue',
    queues.join(','),
    '--cluster',
    ref('Cluster'),
    '--service',
    { 'Fn::GetAtt': ['WorkerService', 'Name'] },
    '--unserved',
    ...named.flatMap(([option, name, usual]) => (name === usual ? [] : [option, name])),
    ...dimensions.flatMap(({ Name, Value }) => ['--dimension', `${Name}=${Value}`]),
    ...(serviceTime === undefined ? [] : ['--service-time', `${serviceTime}s`]),
    ...(concurrency === undefined ? [] : ['--concurrency', String(concurrency)]),
  ];
}
