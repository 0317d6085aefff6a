/** Application Auto Scaling of the test server: keeps targets and policies, and refuses what is documented to be refused. */
import type * as Scaling from '@aws-sdk/client-application-auto-scaling';
import { awsTracking, newTracking, type TrackingState, track } from '../../../src/scaling/tracking.ts';
import { returnedValue } from '../metric-math.ts';
import { type Datapoint, sorted, type TestCloudWatch } from './cloudwatch.ts';
import type { TestEcs } from './ecs.ts';
import type { TestService } from './ecs-model.ts';
import { AwsRefusal } from './faults.ts';
import type { Actions } from './server.ts';

export interface TestScalingOptions {
  /** How long a minute of CloudWatch takes here. Default: a minute. */
  readonly minuteMs?: number;
  /** In place of 3 minutes out and 15 in. */
  readonly tracking?: Partial<typeof awsTracking>;
  /** What AWS publishes itself once a minute: depths of queues, and what Container Insights says of services. */
  readonly awsMetrics?: () => Promise<readonly Pick<Datapoint, 'namespace' | 'name' | 'dimensions' | 'value'>[]>;
}

/** What metric is meant. */
interface Measured {
  readonly Namespace?: string | undefined;
  readonly MetricName?: string | undefined;
  readonly Dimensions?:
    | readonly { readonly Name?: string | undefined; readonly Value?: string | undefined }[]
    | undefined;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly service: TestService;
}

export class TestScaling {
  /** By resource id. */
  readonly targets = new Map<string, Scaling.RegisterScalableTargetRequest>();
  /** By resource id and name. */
  readonly policies = new Map<string, Scaling.PutScalingPolicyRequest & { arn: string }>();
  readonly #ecs: TestEcs;
  readonly #cloudwatch: TestCloudWatch;
  readonly #options: TestScalingOptions;
  readonly #timer: NodeJS.Timeout;
  /** What the policies of target tracking remember, by ARN. */
  readonly #tracking = new Map<string, TrackingState>();
  /** Until when policies of steps rest, by ARN. */
  readonly #rest = new Map<string, number>();
  #busy = false;

  constructor(ecs: TestEcs, cloudwatch: TestCloudWatch, options: TestScalingOptions) {
    this.#ecs = ecs;
    this.#cloudwatch = cloudwatch;
    this.#options = options;
    this.#timer = setInterval(() => void this.#everyMinute(), this.#minuteMs).unref();
  }

  get #minuteMs(): number {
    return this.#options.minuteMs ?? 60_000;
  }

  readonly actions: Actions = {
    RegisterScalableTarget: (input: Scaling.RegisterScalableTargetRequest) => {
      checkResource(input);
      const { ResourceId = '', MinCapacity, MaxCapacity } = input;
      const before = this.targets.get(ResourceId);
      const [min, max] = [MinCapacity ?? before?.MinCapacity, MaxCapacity ?? before?.MaxCapacity];
      if (min === undefined || max === undefined) throw invalid('MinCapacity and MaxCapacity are required at first');
      if (!Number.isInteger(min) || min < 0 || max < min)
        throw invalid('MinCapacity must be 0 or more, and not above MaxCapacity');
      if (!this.#service(ResourceId)) throw invalid(`ECS service doesn't exist: ${ResourceId}`);
      this.targets.set(ResourceId, { ...before, ...input, MinCapacity: min, MaxCapacity: max });
      return {
        ScalableTargetARN: `arn:aws:application-autoscaling:${this.#ecs.region}:${this.#ecs.account}:scalable-target/test`,
      };
    },
    DeregisterScalableTarget: (input: Scaling.DeregisterScalableTargetRequest) => {
      if (!this.targets.delete(input.ResourceId ?? '')) throw notFound(input.ResourceId);
      for (const key of this.policies.keys()) if (key.startsWith(`${input.ResourceId} `)) this.policies.delete(key);
      return {};
    },
    DescribeScalableTargets: ({ ResourceIds }: Scaling.DescribeScalableTargetsRequest) => ({
      ScalableTargets: [...this.targets.values()]
        .filter(({ ResourceId = '' }) => ResourceIds?.includes(ResourceId) ?? true)
        .map(({ Tags: _, ...target }) => ({
          RoleARN: 'arn:aws:iam::123456789012:role/test',
          CreationTime: 0,
          ...target,
        })),
    }),
    PutScalingPolicy: (input: Scaling.PutScalingPolicyRequest) => {
      checkResource(input);
      const { ResourceId = '', PolicyName = '' } = input;
      if (!this.targets.has(ResourceId)) throw notFound(ResourceId);
      checkPolicy(input);
      const arn = `arn:aws:autoscaling:${this.#ecs.region}:${this.#ecs.account}:scalingPolicy:test:resource/ecs/${ResourceId}:policyName/${PolicyName}`;
      this.policies.set(`${ResourceId} ${PolicyName}`, { ...input, arn });
      return { PolicyARN: arn, Alarms: [] };
    },
    DeleteScalingPolicy: ({ ResourceId, PolicyName }: Scaling.DeleteScalingPolicyRequest) => {
      if (!this.policies.delete(`${ResourceId} ${PolicyName}`)) throw notFound(PolicyName);
      return {};
    },
    DescribeScalingPolicies: ({ ResourceId }: Scaling.DescribeScalingPoliciesRequest) => ({
      ScalingPolicies: [...this.policies.values()]
        .filter((policy) => ResourceId === undefined || policy.ResourceId === ResourceId)
        .map(({ arn, ...policy }) => ({ PolicyARN: arn, CreationTime: 0, ...policy })),
    }),
  };

  stop(): void {
    clearInterval(this.#timer);
  }

  /** AWS's own metrics come first, in the minute that is looked at. A minute in which they are late is left out. */
  async #everyMinute(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    // While a test ends, what it counts may be gone.
    const own = (await this.#options.awsMetrics?.().catch(() => [])) ?? [];
    const points = own.map((point) => ({ ...point, dimensions: sorted(Object.entries(point.dimensions)) }));
    this.#cloudwatch.datapoints.push(...points.map((point) => ({ ...point, unit: undefined, at: Date.now() })));
    this.#decide();
    this.#busy = false;
  }

  /**
   * Carries policies out, once a minute, as it is documented: with the same code as the simulator, so it shows that the
   * parts work together, and not that AWS decides so. Metric math is carried out as far as our policies use it.
   */
  #decide(): void {
    for (const policy of this.policies.values()) {
      const { ResourceId = '', arn } = policy;
      const [target, service] = [this.targets.get(ResourceId), this.#service(ResourceId)];
      if (!target || !service) continue;
      const bounds = { min: target.MinCapacity ?? 0, max: target.MaxCapacity ?? 0 };
      const { TargetTrackingScalingPolicyConfiguration: tracking, StepScalingPolicyConfiguration: steps } = policy;
      if (tracking) this.#track(arn, tracking, { ...bounds, service });
      else if (steps && this.#rings(arn) && Date.now() >= (this.#rest.get(arn) ?? 0)) {
        const [step] = steps.StepAdjustments ?? [];
        this.#rest.set(arn, Date.now() + ((steps.Cooldown ?? 300) / 60) * this.#minuteMs);
        this.#ecs.setDesired(service, Math.min(bounds.max, service.desiredCount + (step?.ScalingAdjustment ?? 0)));
      }
    }
  }

  #track(arn: string, config: Scaling.TargetTrackingScalingPolicyConfiguration, { min, max, service }: Bounds): void {
    const { TargetValue: target = 0, ScaleOutCooldown = 300, ScaleInCooldown = 300 } = config;
    const custom = config.CustomizedMetricSpecification;
    if (!custom?.MetricName && !custom?.Metrics) return;
    const value = custom.Metrics ? this.#math(custom.Metrics) : meanOf(this.#lastMinute(custom));
    const seconds = (count: number) => (count / 60) * this.#minuteMs;
    const policy = {
      ...awsTracking,
      ...this.#options.tracking,
      ...{
        target,
        min,
        max,
        scaleOutCooldownMs: seconds(ScaleOutCooldown),
        scaleInCooldownMs: seconds(ScaleInCooldown),
      },
    };
    const look = { at: Date.now(), value, current: service.desiredCount };
    const { state, desired } = track(this.#tracking.get(arn) ?? newTracking, look, policy);
    this.#tracking.set(arn, state);
    if (desired !== service.desiredCount) this.#ecs.setDesired(service, desired);
  }

  /** Whether an alarm with this action is in ALARM. */
  #rings(arn: string): boolean {
    return [...this.#cloudwatch.alarms.values()].some(
      ({ AlarmActions, Threshold = 0, MetricName, Metrics, ...alarm }) => {
        if (!AlarmActions?.includes(arn)) return false;
        if (Metrics) return (this.#math(Metrics) ?? Number.NaN) >= Threshold;
        return (
          MetricName !== undefined && this.#lastMinute({ MetricName, ...alarm }).some(({ value }) => value >= Threshold)
        );
      },
    );
  }

  /** AWS's own metrics have one value a minute: whatever the statistic, it is that. */
  #math(metrics: Parameters<typeof returnedValue<Measured>>[0]): number | undefined {
    return returnedValue<Measured>(metrics, (metric) => this.#lastMinute(metric).at(-1)?.value);
  }

  #lastMinute({ Namespace = '', MetricName = '', Dimensions = [] }: Measured) {
    const named = sorted(Dimensions.map(({ Name = '', Value = '' }) => [Name, Value]));
    const since = Date.now() - this.#minuteMs;
    return this.#cloudwatch.values(Namespace, MetricName, named).filter(({ at }) => at >= since);
  }

  #service(resourceId: string) {
    return this.#ecs.services.get(resourceId.replace(/^service\//, ''));
  }
}

function meanOf(points: readonly Datapoint[]): number | undefined {
  return points.length > 0 ? points.reduce((sum, { value }) => sum + value, 0) / points.length : undefined;
}

function checkResource({
  ServiceNamespace,
  ResourceId = '',
  ScalableDimension,
}: Scaling.RegisterScalableTargetRequest): void {
  if (ServiceNamespace !== 'ecs') throw invalid(`only ServiceNamespace ecs is known here, got ${ServiceNamespace}`);
  if (!/^service\/[\w-]+\/[\w-]+$/.test(ResourceId))
    throw invalid(`ResourceId must be service/CLUSTER/SERVICE, got ${ResourceId}`);
  if (ScalableDimension !== 'ecs:service:DesiredCount') throw invalid(`ScalableDimension ${ScalableDimension}`);
}

function checkPolicy(input: Scaling.PutScalingPolicyRequest): void {
  const {
    PolicyName = '',
    PolicyType,
    StepScalingPolicyConfiguration,
    TargetTrackingScalingPolicyConfiguration,
  } = input;
  if (!/^[\x20-\x7e]{1,256}$/.test(PolicyName)) throw invalid('PolicyName must have 1 to 256 characters');
  if (PolicyType === 'TargetTrackingScaling' && TargetTrackingScalingPolicyConfiguration)
    checkTracking(TargetTrackingScalingPolicyConfiguration);
  else if (PolicyType === 'StepScaling' && StepScalingPolicyConfiguration) checkSteps(StepScalingPolicyConfiguration);
  else throw invalid(`a policy of type ${PolicyType} needs its configuration`);
}

function checkTracking(config: Scaling.TargetTrackingScalingPolicyConfiguration): void {
  const { TargetValue = 0, CustomizedMetricSpecification: custom, PredefinedMetricSpecification: predefined } = config;
  if (!custom === !predefined) throw invalid('give CustomizedMetricSpecification or PredefinedMetricSpecification');
  if (!(TargetValue > 0)) throw invalid('TargetValue must be above 0');
  for (const cooldown of [config.ScaleInCooldown, config.ScaleOutCooldown])
    if (cooldown !== undefined && (cooldown < 0 || !Number.isInteger(cooldown)))
      throw invalid('a cooldown must be 0 or more');
  if (!custom) return;
  const { Metrics, MetricName, Namespace, Statistic } = custom;
  if (!Metrics === !MetricName) throw invalid('give Metrics or MetricName');
  if (MetricName && !(Namespace && Statistic)) throw invalid('MetricName needs Namespace and Statistic');
  if (!Metrics) return;
  if (Metrics.length > 10) throw invalid('at most 10 metrics');
  if (Metrics.filter(({ ReturnData = true }) => ReturnData).length !== 1) throw invalid('one metric must return data');
  for (const { Id = '', Expression, MetricStat } of Metrics) {
    if (!/^[a-z]\w{0,254}$/.test(Id)) throw invalid(`the id '${Id}' must begin with a small letter`);
    if (!Expression === !MetricStat) throw invalid(`${Id}: give Expression or MetricStat`);
  }
}

function checkSteps({ AdjustmentType, StepAdjustments = [] }: Scaling.StepScalingPolicyConfiguration): void {
  if (!['ChangeInCapacity', 'ExactCapacity', 'PercentChangeInCapacity'].includes(String(AdjustmentType)))
    throw invalid('AdjustmentType');
  if (StepAdjustments.length < 1 || StepAdjustments.length > 20)
    throw invalid('StepAdjustments must have 1 to 20 items');
}

function invalid(message: string): AwsRefusal {
  return new AwsRefusal('ValidationException', message);
}

function notFound(what: string | undefined): AwsRefusal {
  return new AwsRefusal('ObjectNotFoundException', `No scalable target or policy found for ${what}`);
}
