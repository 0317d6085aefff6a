import type { BacklogReading, QueueBacklog } from '../../scaling/backlog.ts';
import type { BacklogSink } from '../../scaling/target.ts';
import { type AwsPlace, cloudwatchService } from '../clients.ts';
import { dimensionsOf, type MetricNames, tellsQueues } from './metric-names.ts';

type MetricDatum = import('@aws-sdk/client-cloudwatch').MetricDatum;

export interface PublisherOptions {
  readonly names: MetricNames;
  /** Publishes the unserved backlog, too: for the alarm that starts the first task. */
  readonly unserved?: boolean;
  /** Seconds between readings: below 60, the metrics are of high resolution, which costs more. */
  readonly intervalSeconds: number;
}

/** What one request may have. */
const maxData = 1000;

/**
 * Publishes readings as metrics of CloudWatch, all queues in one request, also when there is nothing to do: an alarm
 * without values does nothing, and would never scale in. Needs `cloudwatch:PutMetricData`.
 */
export function metricPublisher(options: PublisherOptions, place: AwsPlace = {}): BacklogSink<BacklogReading> {
  const cloudwatch = cloudwatchService(place, 'metrics of CloudWatch');
  const { namespace: Namespace } = options.names;
  return {
    name: `CloudWatch namespace ${Namespace}`,
    async take(reading, abortSignal) {
      const { PutMetricDataCommand } = await cloudwatch.sdk();
      const data = metricData(reading, options);
      for (let from = 0; from < data.length; from += maxData) {
        const MetricData = data.slice(from, from + maxData);
        await cloudwatch.send({ action: 'cloudwatch:PutMetricData', on: `namespace ${Namespace}` }, (client) =>
          client.send(new PutMetricDataCommand({ Namespace, MetricData }), { abortSignal }),
        );
      }
    },
    async close() {
      cloudwatch.close();
    },
  };
}

/** The values of a reading: for each queue, and where there are several, for all together (queue `*`). */
export function metricData(
  reading: BacklogReading,
  { names, unserved, intervalSeconds }: PublisherOptions,
): MetricDatum[] {
  const { queues, total } = reading;
  const rows = tellsQueues(names) && queues.length > 1 ? [...queues, total] : [total];
  // Only what is needed: two programs that publish the same metric should not be told apart by it.
  const more = intervalSeconds < 60 ? { StorageResolution: 1 } : {};
  const data = rows.flatMap((row) => datumsOf(row, names).map((datum) => ({ ...datum, ...more })));
  if (!unserved) return data;
  const Dimensions = dimensionsOf(names, total.queue);
  return [...data, { MetricName: names.unservedMetric, Dimensions, Unit: 'Count', Value: reading.unserved, ...more }];
}

function datumsOf({ queue, perTask, seconds }: QueueBacklog, names: MetricNames): MetricDatum[] {
  const Dimensions = dimensionsOf(names, queue);
  const backlog: MetricDatum = { MetricName: names.metric, Dimensions, Unit: 'Count', Value: perTask };
  if (seconds === undefined) return [backlog];
  return [backlog, { MetricName: names.secondsMetric, Dimensions, Unit: 'Seconds', Value: seconds }];
}
