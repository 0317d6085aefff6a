import { Command } from 'commander';
import { applyPolicy } from '../../aws/scaling/apply-policy.ts';
import { type MetricNames, tellsQueues } from '../../aws/scaling/metric-names.ts';
import { metricQueues } from '../../aws/scaling/metric-queues.ts';
import { policyRequests, readTrackingConfig, type TrackingConfig } from '../../aws/scaling/policy.ts';
import { ConfigError } from '../../errors.ts';
import {
  addMathOption,
  addMetricOptions,
  addServiceOptions,
  addTargetOptions,
  aimOf,
  type MetricOptions,
  metricNames,
  readOptionFile,
  type TargetOptions,
  trackingOf,
} from '../autoscale-options.ts';
import { chooseQueues } from '../queue-choice.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';

interface Options extends MetricOptions, TargetOptions {
  readonly queue?: readonly string[];
  readonly cluster?: string;
  readonly service?: string;
  readonly region?: string;
  readonly name?: string;
  readonly tracking?: string;
  readonly math?: boolean;
  readonly trackingOnly?: boolean;
  readonly apply?: boolean;
}

/** `lovage autoscale policy`: has Application Auto Scaling follow the backlog of an ECS service. */
export function policyCommand(): Command {
  const command = new Command('policy').description(
    'print what has AWS scale an ECS service by its backlog, or ask AWS for it (--apply); with --min 0 also what starts the first task',
  );
  addTargetOptions(addServiceOptions(command));
  addMetricOptions(command)
    .option('--name <name>', 'name of the policy (default: the service, and -backlog)')
    .option(
      '--tracking <file>',
      'JSON of target tracking, as `aws application-autoscaling put-scaling-policy` takes it',
    );
  return addMathOption(command)
    .option('--tracking-only', 'print only the JSON of target tracking')
    .option('--apply', 'ask AWS for it')
    .action(run<[Options]>(policy));
}

async function policy(session: Session, options: Options): Promise<number> {
  const { cluster = '', service = '', min, max, name, math = false, region } = options;
  const names = metricNames(options);
  const own = options.queue ?? (await queuesOf(session, options, names));
  const queues = math ? metricQueues((await session.app()).config, own) : own;
  const { scaleOutCooldown, scaleInCooldown } = options;
  const asked = { scaleOutCooldown, scaleInCooldown, queues, names };
  const tracking = readTracking(options) ?? trackingOf(aimOf(options), asked, math ? { cluster, service } : undefined);
  if (options.trackingOnly) {
    process.stdout.write(`${configText(tracking)}\n`);
    return status.ok;
  }
  if (max === undefined) throw new ConfigError('expected --max, the most tasks that there may be');
  const requests = policyRequests({ cluster, service, min, max, tracking, queues, names, math, name });
  const { register, tracking: put, fromZero } = requests;
  if (options.tracking === undefined && !math && aimOf(options).metric === 'seconds')
    session.out.note(
      `the policy needs the metric ${names.secondsMetric}: run the monitor with --service-time, or workers with --report-runtimes`,
    );
  const steps = [
    { action: 'application-autoscaling:RegisterScalableTarget', input: register },
    { action: 'application-autoscaling:PutScalingPolicy', input: put },
    ...(fromZero
      ? [
          { action: 'application-autoscaling:PutScalingPolicy', input: fromZero.policy },
          {
            action: 'cloudwatch:PutMetricAlarm',
            input: { ...fromZero.alarm, AlarmActions: ['<the ARN of the policy above>'] },
          },
        ]
      : []),
  ];
  if (!options.apply) {
    session.out.answer(steps, () => JSON.stringify(steps, undefined, 2));
    session.out.note('nothing was changed; --apply asks AWS for it');
    return status.ok;
  }
  const policies = await applyPolicy(requests, { region });
  session.out.answer({ policies }, () => policies.map((arn) => `applied ${arn}`).join('\n'));
  if (fromZero && !math)
    session.out.note(`the alarm needs the metric ${names.unservedMetric}: run the monitor with --unserved`);
  return status.ok;
}

/** The configuration that a file has; `undefined` where none is named. */
function readTracking({ tracking: config, target, latency }: Options): TrackingConfig | undefined {
  if (config === undefined) return undefined;
  if (target !== undefined || latency !== undefined)
    throw new ConfigError('--tracking has the target already: leave out --target and --latency');
  return readTrackingConfig(readOptionFile(config, '--tracking'), config);
}

/** Where neither metric nor dimensions depend on a queue, none need be known. */
async function queuesOf(
  session: Session,
  { math, tracking: config }: Options,
  names: MetricNames,
): Promise<readonly string[]> {
  if (!math && (config !== undefined || !tellsQueues(names))) return [''];
  return chooseQueues((await session.app()).config, undefined);
}

/** With TargetValue as AWS writes it, `100.0`. */
function configText(tracking: TrackingConfig): string {
  const text = JSON.stringify(tracking, undefined, 2);
  return text.replace(/("TargetValue": \d+)(?=,|\n)/, '$1.0');
}
