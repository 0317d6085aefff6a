import type { LovageApp } from '../app/app.ts';
import type { StoreNeeds } from '../contracts/setup.ts';

/** What was said by hand. */
export interface GivenNeeds {
  readonly queues?: readonly string[] | undefined;
  readonly account?: string | undefined;
}

/** What an application wants of its stores, from its configuration and its tasks. */
export function storeNeeds(app: LovageApp, { queues, account }: GivenNeeds = {}): StoreNeeds {
  const { config } = app;
  return {
    queues: queues ?? knownQueues(app),
    maxDeliveries: config.taskMaxDeliveries,
    resultTtlMs: config.resultExpires > 0 ? config.resultExpires * 1000 : undefined,
    timeLimitMs: longestLimit(app),
    concurrency: config.workerConcurrency,
    countEveryMs: config.workerWatchdog > 0 ? config.workerWatchdog * 1000 : undefined,
    ...(account !== undefined && { account }),
  };
}

/** Those to which tasks can go, and those that workers consume. */
function knownQueues({ config, tasks }: LovageApp): string[] {
  const routed = Object.values(config.taskRoutes).flatMap(({ queue }) => queue ?? []);
  const own = [...tasks.values()].flatMap(
    ({ options }) => options.queue ?? (options.runOn === 'ecs' ? config.taskEcsQueue : []),
  );
  return [...new Set([config.taskDefaultQueue, ...(config.taskQueues ?? []), ...routed, ...own])];
}

function longestLimit({ config, tasks }: LovageApp): number | undefined {
  const limits = [...tasks.values()].map(({ options }) => options.timeLimit ?? config.taskTimeLimit);
  if (limits.length === 0) limits.push(config.taskTimeLimit);
  if (limits.some((limit) => !limit)) return undefined;
  return Math.max(...limits.map((limit) => limit ?? 0)) * 1000;
}
