import type { Config } from '../app/config.ts';
import type { Broker } from '../contracts/broker.ts';

/** `-Q` and `-X`: the queues named, else those of the application, without the excluded ones. */
export function chooseQueues(
  config: Config,
  queues: readonly string[] | undefined,
  exclude: readonly string[] = [],
): string[] {
  const chosen = queues ?? config.taskQueues ?? [config.taskDefaultQueue];
  return chosen.filter((queue) => !exclude.includes(queue));
}

/** Drops the messages that wait in some queues. Returns how many. */
export async function purgeQueues(broker: Broker, queues: readonly string[]): Promise<number> {
  let purged = 0;
  for (const queue of queues) purged += await broker.purge(queue);
  return purged;
}
