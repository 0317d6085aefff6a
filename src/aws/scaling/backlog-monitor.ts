import type { LovageApp } from '../../app/app.ts';
import type { BacklogReading } from '../../scaling/backlog.ts';
import { BacklogMonitor, monitorOptionTable } from '../../scaling/monitor.ts';
import { starter } from '../../scaling/scaler.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../../util/options.ts';
import type { AwsPlace } from '../clients.ts';
import { ecsTarget } from '../dispatch/ecs-target.ts';
import { checkedNames, type Dimension } from './metric-names.ts';
import { metricPublisher } from './publish.ts';

const isDimensions = (value: unknown) =>
  Array.isArray(value) && value.every((one) => typeof one?.Name === 'string' && typeof one?.Value === 'string');

/** The options of a monitor of an ECS service, besides the application. */
export const backlogMonitorOptionTable = {
  ...monitorOptionTable,
  cluster: option({ kind: kinds.text, doc: 'Name or ARN of the cluster.' }),
  service: option({ kind: kinds.text, doc: 'Name or ARN of the service.' }),
  namespace: option({ kind: kinds.text, doc: "Namespace of the metrics. Default: 'Lovage'." }),
  metric: option({ kind: kinds.text, doc: "Name of the messages for each task. Default: 'BacklogPerTask'." }),
  secondsMetric: option({
    kind: kinds.text,
    doc: "Name of the seconds that a message waits. Default: 'BacklogSeconds'.",
  }),
  unservedMetric: option({
    kind: kinds.text,
    doc: "Name of the messages without any task. Default: 'UnservedBacklog'.",
  }),
  dimensions: option<readonly Dimension[]>({
    kind: kinds.custom('a list of { Name, Value }', isDimensions),
    doc: 'Dimensions of the metrics; %q stands for the queue. Default: QueueName=%q.',
  }),
  unserved: option({
    kind: kinds.flag,
    default: false,
    doc: 'Publish the messages without any task, for the alarm from zero.',
  }),
  fromZero: option({
    kind: kinds.flag,
    default: false,
    doc: 'Start the first task of a service at zero, with UpdateService.',
  }),
  region: option({ kind: kinds.text, doc: 'Region; without it the SDK finds it.' }),
  endpointUrl: option({ kind: kinds.text, doc: 'Where AWS answers, for a stand-in.' }),
} satisfies OptionTable;

export type BacklogMonitorOptions = { readonly app: LovageApp } & OptionsOf<typeof backlogMonitorOptionTable>;

/**
 * A monitor that publishes the backlog of an ECS service to CloudWatch.
 * @throws ConfigError for an unknown or wrong option, and for names that CloudWatch does not take
 */
export function ecsMonitor({ app, ...options }: BacklogMonitorOptions): BacklogMonitor {
  checkOptions(backlogMonitorOptionTable, options, 'the backlog monitor');
  const { cluster = '', service = '', unserved = false, fromZero, region, endpointUrl, ...rest } = options;
  const { namespace, metric, secondsMetric, unservedMetric, dimensions, ...own } = rest;
  const place: AwsPlace = { region, endpointUrl };
  const names = checkedNames({ namespace, metric, secondsMetric, unservedMetric, dimensions });
  const target = ecsTarget({ cluster, service }, place);
  const intervalSeconds = own.interval ?? monitorOptionTable.interval.default;
  const publisher = metricPublisher({ names, unserved, intervalSeconds }, place);
  const sinks = fromZero ? [publisher, starter(target, app.logger)] : [publisher];
  return new BacklogMonitor({ app, target, sinks }, own);
}

/**
 * The backlog monitor as a Lambda function on a schedule of a minute: `export const handler = backlogMonitor({ app,
 * cluster, service })`. Each call looks once; it rejects where the backlog could not be published, so that Lambda counts
 * the error.
 */
export function backlogMonitor(options: BacklogMonitorOptions): () => Promise<BacklogReading | undefined> {
  const monitor = ecsMonitor(options);
  return () => monitor.once();
}

/**
 * The backlog monitor inside of the application's workers: of all of them, one publishes, and when it dies another does.
 * The result backend must keep claims. A service at zero has no worker that could look: then it needs another way to start.
 */
export function monitorInWorkers(options: BacklogMonitorOptions): void {
  const { app } = options;
  // Options are checked now, not in a worker.
  ecsMonitor(options);
  let monitor: BacklogMonitor | undefined;
  app.on('workerReady', () => {
    monitor = ecsMonitor({ ...options, leader: true });
    monitor.start();
  });
  app.on('workerShuttingDown', () => monitor?.stop());
}
