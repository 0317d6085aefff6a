import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { checkedNames, type MetricNames, readDimension } from '../aws/scaling/metric-names.ts';
import {
  mathTrackingConfig,
  type TrackingConfig,
  type TrackingOptions,
  trackingConfig,
} from '../aws/scaling/policy.ts';
import { ConfigError } from '../errors.ts';
import { amount, duration, list, wholeNumber } from './values.ts';

/** Options by which commands of `autoscale` name metrics. */
export interface MetricOptions {
  readonly namespace?: string;
  readonly metric?: string;
  readonly secondsMetric?: string;
  readonly unservedMetric?: string;
  readonly dimension?: readonly string[];
}

/** Adds them. */
export function addMetricOptions(command: Command): Command {
  return command
    .option('--namespace <name>', 'namespace of the metrics (default: "Lovage")')
    .option('--metric <name>', 'messages for each task (default: "BacklogPerTask")')
    .option('--seconds-metric <name>', 'seconds that a message waits (default: "BacklogSeconds")')
    .option('--unserved-metric <name>', 'messages while there is no task (default: "UnservedBacklog")')
    .option(
      '--dimension <name=value>',
      'dimension of the metrics, %q is the queue; may be repeated (default: "QueueName=%q")',
      (text: string, before: readonly string[] = []) => [...before, text],
    );
}

/** The names that were chosen. @throws ConfigError for those that CloudWatch does not take */
export function metricNames({
  dimension,
  namespace,
  metric,
  secondsMetric,
  unservedMetric,
}: MetricOptions): MetricNames {
  const dimensions = dimension?.map(readDimension);
  return checkedNames({ namespace, metric, secondsMetric, unservedMetric, dimensions });
}

/** Options of a policy, with what it holds to what. */
export interface TargetOptions {
  readonly min: number;
  readonly max?: number;
  readonly target?: number;
  readonly latency?: number;
  readonly serviceTime?: number;
  readonly concurrency?: number;
  readonly scaleOutCooldown: number;
  readonly scaleInCooldown: number;
}

/** Adds them. */
export function addTargetOptions(command: Command): Command {
  return command
    .option('--min <n>', 'fewest tasks', wholeNumber(0), 0)
    .option('--max <n>', 'most tasks', wholeNumber(1))
    .option('--target <n>', 'messages for each task to aim at', amount)
    .option('--latency <time>', 'or how long a message may wait, such as 2m', duration)
    .option('--service-time <time>', 'what a run takes on average, such as 1.5s', duration)
    .option('--concurrency <n>', 'runs at once in one task', wholeNumber(1))
    .option('--scale-out-cooldown <seconds>', 'after tasks were added', wholeNumber(0), 60)
    .option('--scale-in-cooldown <seconds>', 'after tasks were taken away', wholeNumber(0), 60);
}

type AimOptions = { readonly [Name in 'target' | 'latency' | 'serviceTime' | 'concurrency']?: number | undefined };

/** What a policy holds to its target. */
export interface Aim {
  readonly metric: 'perTask' | 'seconds';
  readonly target: number;
}

/**
 * `--target`, or what `--latency` comes to: with a known service time as many messages as one task gets done in that
 * time, else seconds.
 * @throws ConfigError for both, for none, and for times of 0
 */
export function aimOf({ target, latency, serviceTime, concurrency = 1 }: AimOptions): Aim {
  if ((target === undefined) === (latency === undefined))
    throw new ConfigError('expected --target (messages for each task) or --latency (such as 2m), and not both');
  if (target !== undefined) return { metric: 'perTask', target };
  if (!latency) throw new ConfigError('option --latency: expected a time above 0');
  if (serviceTime === undefined) return { metric: 'seconds', target: latency };
  if (serviceTime === 0) throw new ConfigError('option --service-time: expected a time above 0');
  return { metric: 'perTask', target: (latency * concurrency) / serviceTime };
}

/** Adds what makes a monitor unnecessary. */
export function addMathOption(command: Command): Command {
  return command.option('--math', 'without a monitor: metrics of SQS over those of Container Insights');
}

/**
 * The configuration of target tracking for an aim. `math`: the service whose tasks CloudWatch is to divide by, in place of a
 * monitor's metric; then `queues` are as SQS calls them.
 * @throws ConfigError where metrics of AWS cannot say it
 */
export function trackingOf(
  { metric, target }: Aim,
  options: Omit<TrackingOptions, keyof Aim>,
  math: { readonly cluster: string; readonly service: string } | undefined,
): TrackingConfig {
  if (!math) return trackingConfig({ ...options, metric, target });
  if (metric === 'seconds')
    throw new ConfigError('--math knows no seconds: say --service-time beside --latency, or --target');
  if (!math.cluster || !math.service) throw new ConfigError('--math needs --cluster and --service');
  return mathTrackingConfig(math, { ...options, target });
}

/** Adds where the service is on ECS, and where AWS is. */
export function addServiceOptions(command: Command): Command {
  return command
    .option('--queue <queues>', "queues whose messages count, with commas; without it the app's", list)
    .option('--cluster <cluster>', 'name or ARN of the ECS cluster')
    .option('--service <service>', 'name or ARN of the ECS service')
    .option('--region <region>', 'region of AWS; without it AWS_REGION, or that of the profile');
}

/** The text of a file that an option names. @throws ConfigError */
export function readOptionFile(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`option ${option}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
