import type { Config } from '../app/config.ts';

/** `-Q` and `-X`: the queues named, else those of the application, without the excluded ones. */
export function chooseQueues(
  config: Config,
  queues: readonly string[] | undefined,
  exclude: readonly string[] = [],
): string[] {
  const chosen = queues ?? config.taskQueues ?? [config.taskDefaultQueue];
  return chosen.filter((queue) => !exclude.includes(queue));
}
