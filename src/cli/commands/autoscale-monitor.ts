import { Command, Option } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import { streamLogger } from '../../app/logger.ts';
import { ecsTarget } from '../../aws/dispatch/ecs-target.ts';
import { metricPublisher } from '../../aws/scaling/publish.ts';
import { ConfigError } from '../../errors.ts';
import { type BacklogReading, type Formula, formulas } from '../../scaling/backlog.ts';
import { commandTarget } from '../../scaling/command.ts';
import { backlogEndpoint } from '../../scaling/endpoint.ts';
import { herokuTarget } from '../../scaling/heroku.ts';
import { BacklogMonitor } from '../../scaling/monitor.ts';
import { checkPolicy, scaler, starter } from '../../scaling/scaler.ts';
import type { BacklogSink, ScalingTarget } from '../../scaling/target.ts';
import { listenForSignals } from '../../worker/life/signals.ts';
import {
  addMetricOptions,
  addServiceOptions,
  addTargetOptions,
  aimOf,
  type MetricOptions,
  metricNames,
  type TargetOptions,
} from '../autoscale-options.ts';
import { plural } from '../output.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { seconds, wholeNumber } from '../values.ts';

const providers = ['ecs', 'heroku', 'command'] as const;

interface Options extends MetricOptions, TargetOptions {
  readonly queue?: readonly string[];
  readonly provider: (typeof providers)[number];
  readonly cluster?: string;
  readonly service?: string;
  readonly region?: string;
  readonly herokuApp?: string;
  readonly processType: string;
  readonly command?: string;
  readonly interval: number;
  readonly formula: Formula;
  readonly metrics: boolean;
  readonly unserved?: boolean;
  readonly fromZero?: boolean;
  readonly scaleOutAfter: number;
  readonly scaleInAfter: number;
  readonly port?: number;
  readonly leader?: boolean;
  readonly once?: boolean;
}

/** `lovage autoscale monitor`: reckons the backlog of a task, and publishes it or scales by it. */
export function monitorCommand(): Command {
  const command = new Command('monitor')
    .description('reckon the backlog of each task, for CloudWatch, KEDA, or to scale by it at once; until SIGTERM')
    .addOption(new Option('--provider <provider>', 'where the tasks run').choices([...providers]).default('ecs'));
  addServiceOptions(command)
    .option('--heroku-app <app>', 'app of Heroku; its token is in HEROKU_API_KEY')
    .option('--process-type <type>', 'process type of the Heroku app', 'worker')
    .option('--command <command>', 'script that counts and scales; see docs/autoscaling.md')
    .option('--interval <seconds>', 'from one look to the next, at least 1', seconds, 60)
    .addOption(
      new Option(
        '--formula <formula>',
        'work: what waits or runs, over tasks that run or start; ready: what waits, over tasks that run',
      )
        .choices([...formulas])
        .default('work'),
    );
  addMetricOptions(command)
    .option('--no-metrics', 'publish nothing to CloudWatch')
    .option('--unserved', 'publish the messages without any task, for the alarm of `policy --min 0`')
    .option('--from-zero', 'start the first task of a service at zero');
  return addTargetOptions(command)
    .option('--scale-out-after <looks>', 'looks above the target before tasks are added', wholeNumber(1), 1)
    .option('--scale-in-after <looks>', 'looks well below it before tasks are taken away', wholeNumber(1), 10)
    .option('--port <port>', 'serve the backlog as JSON, for KEDA', wholeNumber(0, 65_535))
    .option('--leader', 'of all monitors of these queues, only one looks')
    .option('--once', 'look once, and end')
    .action(run<[Options]>(monitor));
}

async function monitor(session: Session, options: Options): Promise<number> {
  if (options.interval < 1) throw new ConfigError('option --interval: expected at least 1 second');
  const app = await session.app();
  if (!app.config.logger)
    app.override({ logger: streamLogger({ level: session.out.quiet ? 'error' : 'info', json: session.out.json }) });
  const target = targetOf(options);
  const watch = new BacklogMonitor(
    { app, target, sinks: await sinksOf(app, target, options) },
    {
      queues: options.queue,
      interval: options.interval,
      formula: options.formula,
      serviceTime: options.serviceTime,
      concurrency: options.concurrency,
      leader: options.leader,
    },
  );
  const tell = (reading: BacklogReading) => {
    if (!session.out.quiet || options.once) session.out.answer(reading, () => lineOf(reading));
  };
  try {
    if (options.once) {
      const reading = await watch.once();
      if (reading) tell(reading);
      else session.out.note('another monitor leads');
      return status.ok;
    }
    const ended = Promise.withResolvers<void>();
    const stopListening = listenForSignals(() => ended.resolve());
    watch.start(tell);
    await ended.promise;
    stopListening();
    return status.ok;
  } finally {
    await watch.stop();
  }
}

function targetOf(options: Options): ScalingTarget {
  const { provider, cluster = '', service = '', region, herokuApp, processType, command } = options;
  if (provider === 'ecs') return ecsTarget({ cluster, service }, { region });
  if (provider === 'heroku') {
    if (!herokuApp) throw new ConfigError('the provider heroku needs --heroku-app');
    return herokuTarget({ herokuApp, processType });
  }
  if (!command) throw new ConfigError("the provider command needs --command, such as --command './scale.sh'");
  return commandTarget(command);
}

async function sinksOf(
  app: LovageApp,
  target: ScalingTarget,
  options: Options,
): Promise<BacklogSink<BacklogReading>[]> {
  const { provider, metrics, namespace, unserved = false, interval, region, max, min, port } = options;
  const sinks: BacklogSink<BacklogReading>[] = [];
  const names = metricNames(options);
  if (metrics && (provider === 'ecs' || namespace !== undefined))
    sinks.push(metricPublisher({ names, unserved, intervalSeconds: interval }, { region }));
  if (max !== undefined) {
    const { metric, target: aim } = aimOf({ target: options.target, latency: options.latency });
    const policy = {
      target: aim,
      min,
      max,
      scaleOutCooldownMs: options.scaleOutCooldown * 1000,
      scaleInCooldownMs: options.scaleInCooldown * 1000,
      outPoints: options.scaleOutAfter,
      inPoints: options.scaleInAfter,
      inBelow: 0.9,
      inStep: 1,
    };
    checkPolicy(policy);
    sinks.push(scaler({ target, policy, metric, logger: app.logger }));
  } else if (options.target !== undefined || options.latency !== undefined) {
    throw new ConfigError('--target and --latency have the monitor scale the tasks itself: say --max, too');
  } else if (options.fromZero) sinks.push(starter(target, app.logger));
  if (port !== undefined) sinks.push(await backlogEndpoint({ port, staleMs: 3 * interval * 1000 }));
  return sinks;
}

function lineOf({ at, total, tasks }: BacklogReading): string {
  const { ready, inFlight, delayed, perTask, seconds: wait } = total;
  const waits = wait === undefined ? '' : `, ${wait.toFixed(1)} s`;
  return `${at.toISOString()}  ${plural(ready, 'message')} ready, ${inFlight} in flight, ${delayed} delayed; ${plural(tasks.running, 'task')} running, ${tasks.pending} pending; backlog ${Number(perTask.toFixed(2))} a task${waits}`;
}
