import type { Config } from '../../app/config.ts';
import { namesOf } from '../../stores/sqs/provision.ts';
import { sqsLocation } from '../../stores/sqs/url.ts';

/**
 * Under which names SQS publishes the depths of an application's queues: with prefix, and one for each step of priority.
 * For another broker as they are: then somebody else's queues are meant.
 */
export function metricQueues(
  { broker, brokerTransportOptions }: Pick<Config, 'broker' | 'brokerTransportOptions'>,
  queues: readonly string[],
): string[] {
  if (typeof broker !== 'string' || !/^sqs:/i.test(broker)) return [...queues];
  const location = sqsLocation(broker, brokerTransportOptions);
  if (!location.predefined) return namesOf(location, { queues }).flatMap(({ steps }) => steps);
  return queues.map((queue) => {
    const url = location.predefined?.get(queue)?.url ?? queue;
    return url.slice(url.lastIndexOf('/') + 1);
  });
}
