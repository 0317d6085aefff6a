import { ConfigError } from '../../errors.ts';
import { allQueues } from '../../scaling/backlog.ts';
import { checkPolicy } from '../../scaling/scaler.ts';
import { show } from '../../util/options.ts';
import { lastPart } from '../dispatch/ecs-target.ts';
import { type Dimension, dimensionsOf, type MetricNames, tellsQueues } from './metric-names.ts';

type Scaling = typeof import('@aws-sdk/client-application-auto-scaling');
type Input<Name extends keyof Scaling> = Scaling[Name] extends new (input: infer In) => unknown ? In : never;
type RegisterInput = Input<'RegisterScalableTargetCommand'>;
type PolicyInput = Input<'PutScalingPolicyCommand'>;
/** What target tracking is told: the JSON of `aws application-autoscaling put-scaling-policy`. */
export type TrackingConfig = NonNullable<PolicyInput['TargetTrackingScalingPolicyConfiguration']>;
type AlarmInput = ConstructorParameters<typeof import('@aws-sdk/client-cloudwatch')['PutMetricAlarmCommand']>[0];

export interface PolicyOptions {
  readonly cluster: string;
  readonly service: string;
  readonly min: number;
  readonly max: number;
  readonly tracking: TrackingConfig;
  readonly queues: readonly string[];
  readonly names: MetricNames;
  /** With metrics that SQS and Container Insights publish, in place of a monitor's. */
  readonly math: boolean;
  /** Name of the tracking policy. */
  readonly name?: string | undefined;
}

/** All that is asked of AWS. */
export interface PolicyRequests {
  readonly register: RegisterInput;
  readonly tracking: PolicyInput;
  /** Where the service may have no task: what starts the first one. The alarm gets the ARN of the policy. */
  readonly fromZero: { readonly policy: PolicyInput; readonly alarm: AlarmInput } | undefined;
}

/**
 * The requests that have an ECS service follow its backlog.
 * @throws ConfigError for numbers that make no sense
 */
export function policyRequests(options: PolicyOptions): PolicyRequests {
  const { cluster, service, min, max, tracking } = options;
  checkPolicy({ target: tracking.TargetValue ?? Number.NaN, min, max });
  if (!cluster || !service) throw new ConfigError('a scaling policy needs --cluster and --service');
  const place = {
    ServiceNamespace: 'ecs',
    ResourceId: `service/${lastPart(cluster)}/${lastPart(service)}`,
    ScalableDimension: 'ecs:service:DesiredCount',
  } as const;
  const PolicyName = options.name ?? `${lastPart(service)}-backlog`;
  if (!/^[\x20-\x7e]{1,256}$/.test(PolicyName))
    throw new ConfigError(`policy name: expected 1 to 256 printable characters, got ${show(PolicyName)}`);
  return {
    register: { ...place, MinCapacity: min, MaxCapacity: max },
    tracking: {
      ...place,
      PolicyName,
      PolicyType: 'TargetTrackingScaling',
      TargetTrackingScalingPolicyConfiguration: tracking,
    },
    fromZero: min > 0 ? undefined : { policy: firstTask(place), alarm: unservedAlarm(options) },
  };
}

type Place = Pick<PolicyInput, 'ServiceNamespace' | 'ResourceId' | 'ScalableDimension'>;

/** One task more: not "exactly one", which would take others away while the alarm lasts. */
function firstTask(place: Place): PolicyInput {
  return {
    ...place,
    PolicyName: `${place.ResourceId?.split('/').at(-1)}-from-zero`,
    PolicyType: 'StepScaling',
    StepScalingPolicyConfiguration: {
      AdjustmentType: 'ChangeInCapacity',
      StepAdjustments: [{ MetricIntervalLowerBound: 0, ScalingAdjustment: 1 }],
      Cooldown: 60,
      MetricAggregationType: 'Maximum',
    },
  };
}

/** Rings while messages wait and there is no task; without values there is nothing to do. */
function unservedAlarm({ cluster, service, queues, names, math }: PolicyOptions): AlarmInput {
  const alarm = {
    AlarmName: `${lastPart(cluster)}-${lastPart(service)}-from-zero`,
    AlarmDescription: 'Messages wait and no task runs: starts the first one',
    EvaluationPeriods: 1,
    Threshold: 1,
    ComparisonOperator: 'GreaterThanOrEqualToThreshold',
    TreatMissingData: 'notBreaching',
  } as const;
  if (!math) {
    const Dimensions = dimensionsOf(names, totalQueue(queues, names));
    return {
      ...alarm,
      Namespace: names.namespace,
      MetricName: names.unservedMetric,
      Dimensions,
      Statistic: 'Maximum',
      Period: 60,
    };
  }
  const { stats, sum, running } = awsMetrics(cluster, service, queues);
  if (stats.length + 2 > MOST_METRICS)
    throw new ConfigError(
      `metric math: expected at most ${MOST_METRICS - 3} queues for a service that may have no task, since its alarm takes ${MOST_METRICS} metrics, got ${queues.length}`,
    );
  const pending = {
    id: `m${stats.length + 1}`,
    stat: 'Average',
    metric: taskMetric('PendingTaskCount', cluster, service),
  };
  const Metrics = [...stats, pending].map(({ id, metric, stat }) => ({
    Id: id,
    ReturnData: false,
    MetricStat: { Metric: metric, Period: 60, Stat: stat },
  }));
  // A task that starts counts, or each minute of its start would bring another one. Without any task there may be no values.
  const tasks = `FILL(${running}, 0) + FILL(${pending.id}, 0)`;
  return {
    ...alarm,
    Metrics: [...Metrics, { Id: 'e1', Expression: `IF(${tasks} < 1, ${sum}, 0)`, Label: 'unserved', ReturnData: true }],
  };
}

export interface TrackingOptions {
  readonly target: number;
  /** Seconds. */
  readonly scaleOutCooldown: number;
  readonly scaleInCooldown: number;
  readonly queues: readonly string[];
  readonly names: MetricNames;
  /** What is held to the target. */
  readonly metric: 'perTask' | 'seconds';
}

/** The configuration of target tracking on a monitor's metric, its members in the order of the widely used JSON. */
export function trackingConfig({
  target,
  scaleOutCooldown,
  scaleInCooldown,
  queues,
  names,
  metric,
}: TrackingOptions): TrackingConfig {
  return {
    TargetValue: target,
    CustomizedMetricSpecification: {
      MetricName: metric === 'perTask' ? names.metric : names.secondsMetric,
      Namespace: names.namespace,
      Dimensions: dimensionsOf(names, totalQueue(queues, names)),
      Statistic: 'Average',
      Unit: metric === 'perTask' ? 'Count' : 'Seconds',
    },
    ScaleOutCooldown: scaleOutCooldown,
    ScaleInCooldown: scaleInCooldown,
  };
}

/** The same without a monitor: CloudWatch divides what SQS publishes by what Container Insights publishes. */
export function mathTrackingConfig(
  { cluster, service }: { readonly cluster: string; readonly service: string },
  options: Omit<TrackingOptions, 'names' | 'metric'>,
): TrackingConfig {
  const { target, scaleOutCooldown, scaleInCooldown, queues } = options;
  const { stats, sum, running } = awsMetrics(cluster, service, queues);
  const Metrics = stats.map(({ id, metric, stat }) => ({
    Id: id,
    ReturnData: false,
    MetricStat: { Metric: metric, Stat: stat },
  }));
  return {
    TargetValue: target,
    CustomizedMetricSpecification: {
      Metrics: [
        ...Metrics,
        {
          Id: 'e1',
          Expression: `${sum} / IF(${running} > 0, ${running}, 1)`,
          Label: 'backlog of a task',
          ReturnData: true,
        },
      ],
    },
    ScaleOutCooldown: scaleOutCooldown,
    ScaleInCooldown: scaleInCooldown,
  };
}

/** Metrics and expressions of a policy or an alarm. */
const MOST_METRICS = 10;

/** What AWS publishes by itself, with names for expressions. */
function awsMetrics(cluster: string, service: string, queues: readonly string[]) {
  if (queues.length + 2 > MOST_METRICS)
    throw new ConfigError(
      `metric math: expected at most ${MOST_METRICS - 2} queues, since a policy takes ${MOST_METRICS} metrics, got ${queues.length}`,
    );
  const sqs = queues.map((queue, i) => ({
    id: `m${i + 1}`,
    stat: 'Sum',
    metric: metricOf('AWS/SQS', 'ApproximateNumberOfMessagesVisible', [{ Name: 'QueueName', Value: queue }]),
  }));
  const running = `m${queues.length + 1}`;
  const tasks = { id: running, stat: 'Average', metric: taskMetric('RunningTaskCount', cluster, service) };
  const sum = sqs.length === 1 ? 'm1' : `(${sqs.map(({ id }) => id).join(' + ')})`;
  return { stats: [...sqs, tasks], sum, running };
}

/** A metric of Container Insights. */
function taskMetric(name: string, cluster: string, service: string) {
  return metricOf('ECS/ContainerInsights', name, [
    { Name: 'ClusterName', Value: lastPart(cluster) },
    { Name: 'ServiceName', Value: lastPart(service) },
  ]);
}

function metricOf(Namespace: string, MetricName: string, Dimensions: Dimension[]) {
  return { Namespace, MetricName, Dimensions };
}

/** Under which name the whole backlog is published. */
function totalQueue(queues: readonly string[], names: MetricNames): string {
  const [only = ''] = queues;
  return queues.length === 1 || !tellsQueues(names) ? only : allQueues;
}

const trackingMembers = [
  'TargetValue',
  'PredefinedMetricSpecification',
  'CustomizedMetricSpecification',
  'ScaleOutCooldown',
  'ScaleInCooldown',
  'DisableScaleIn',
];

/**
 * Reads the JSON that `aws application-autoscaling put-scaling-policy` takes as its configuration of target tracking.
 * @throws ConfigError for what is none
 */
export function readTrackingConfig(text: string, from: string): TrackingConfig {
  const value = parse(text, from);
  const fail = (what: string): never => {
    throw new ConfigError(`${from}: ${what}`);
  };
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return fail('expected a JSON object with TargetValue');
  const unknown = Object.keys(value).find((name) => !trackingMembers.includes(name));
  if (unknown !== undefined)
    return fail(
      `'${unknown}' is no member of a target tracking configuration; there are ${trackingMembers.join(', ')}`,
    );
  const config = value as TrackingConfig;
  const { TargetValue, CustomizedMetricSpecification: custom, PredefinedMetricSpecification: predefined } = config;
  if (typeof TargetValue !== 'number' || !(TargetValue > 0))
    return fail(`expected TargetValue above 0, got ${show(TargetValue)}`);
  if (!custom === !predefined) return fail('expected CustomizedMetricSpecification or PredefinedMetricSpecification');
  for (const name of ['ScaleOutCooldown', 'ScaleInCooldown'] as const) {
    const seconds: unknown = config[name];
    if (seconds !== undefined && (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < 0))
      return fail(`expected ${name} in whole seconds from 0 up, got ${show(seconds)}`);
  }
  return config;
}

function parse(text: string, from: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${from}: expected JSON (${error instanceof Error ? error.message : String(error)})`);
  }
}
