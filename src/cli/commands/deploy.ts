import { Command, Option } from 'commander';
import { stringify } from 'yaml';
import type { Config } from '../../app/config.ts';
import { metricQueues } from '../../aws/scaling/metric-queues.ts';
import { awsTemplate, type TemplateOptions } from '../../aws/template/template.ts';
import { fleetPlace, type WorkerFleet } from '../../aws/template/template-workers.ts';
import { ConfigError } from '../../errors.ts';
import {
  addMathOption,
  addMetricOptions,
  addTargetOptions,
  aimOf,
  type MetricOptions,
  metricNames,
  type TargetOptions,
  trackingOf,
} from '../autoscale-options.ts';
import { chooseQueues } from '../queue-choice.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { list, wholeNumber } from '../values.ts';

interface Options extends TemplateOptions, TargetOptions, MetricOptions {
  readonly template?: boolean;
  readonly format: 'yaml' | 'json';
  readonly jobs: boolean;
  readonly workers: boolean;
  readonly queue?: readonly string[];
  readonly math?: boolean;
}

/** Without --max and --target. */
const usual = { max: 10, target: 100 };

/** `lovage deploy`: what a platform needs to run an application. */
export function deployCommand(): Command {
  return new Command('deploy').description('write what a platform needs to run an app').addCommand(awsCommand());
}

function awsCommand(): Command {
  const command = new Command('aws')
    .description(
      'a CloudFormation template of an app on ECS, by its configuration: long jobs, and workers that follow their backlog',
    )
    .option('--template', 'print the template; nothing is changed anywhere')
    .addOption(new Option('--format <format>', 'how it is written').choices(['yaml', 'json']).default('yaml'))
    .option('--no-jobs', 'without long jobs')
    .option('--no-workers', 'without workers')
    .option('--cpu <units>', 'CPU of the container of a job; 1024 are one (1024)', wholeNumber(256, 16_384))
    .option('--memory <mib>', 'its memory (2048)', wholeNumber(512, 122_880))
    .option('--worker-cpu <units>', 'CPU of a worker (512)', wholeNumber(256, 16_384))
    .option('--worker-memory <mib>', 'its memory (1024)', wholeNumber(512, 122_880))
    .option('--stop-timeout <seconds>', 'from SIGTERM to SIGKILL (120)', wholeNumber(2, 120))
    .option('--function-timeout <seconds>', 'how long the dispatcher may take for a batch (60)', wholeNumber(10, 900))
    .option('--max-concurrency <n>', 'batches at once (2)', wholeNumber(2, 1000))
    .option('--queue <queues>', "queues of the workers, with commas; without it the app's", list);
  return addMathOption(addMetricOptions(addTargetOptions(command))).action(run<[Options]>(deployAws));
}

async function deployAws(session: Session, { template, format, jobs, workers, ...options }: Options): Promise<number> {
  if (!template)
    throw new ConfigError(
      'lovage deploy aws prints a template and deploys nothing by itself: say --template, and give it to `aws cloudformation deploy`',
    );
  const { config } = await session.appWithTasks();
  const { cpu, memory, workerCpu, workerMemory, stopTimeout, functionTimeout, maxConcurrency } = options;
  const made = awsTemplate(
    config,
    session.appPath ?? '',
    { cpu, memory, workerCpu, workerMemory, stopTimeout, functionTimeout, maxConcurrency },
    { jobs, fleet: workers ? fleetOf(config, options) : undefined },
  );
  const isJson = format === 'json' || session.out.json;
  process.stdout.write(
    isJson ? `${JSON.stringify(made, null, 2)}\n` : stringify(made, { aliasDuplicateObjects: false, lineWidth: 120 }),
  );
  return status.ok;
}

type FleetOptions = TargetOptions & MetricOptions & Pick<Options, 'queue' | 'math'>;

function fleetOf(config: Config, options: FleetOptions): WorkerFleet {
  const { latency, serviceTime, concurrency, min, max = usual.max, scaleOutCooldown, scaleInCooldown } = options;
  const { math = false } = options;
  const names = metricNames(options);
  const queues = options.queue ?? chooseQueues(config, undefined, [config.taskEcsQueue]);
  const asked = options.target ?? (latency === undefined ? usual.target : undefined);
  const aim = aimOf({ target: asked, latency, serviceTime, concurrency });
  const metered = math ? metricQueues(config, queues) : queues;
  const tracking = { scaleOutCooldown, scaleInCooldown, queues: metered, names };
  return {
    queues,
    min,
    max,
    tracking: trackingOf(aim, tracking, math ? fleetPlace : undefined),
    metered,
    math,
    names,
    measured: aim.metric === 'seconds',
    serviceTime,
    concurrency,
  };
}
