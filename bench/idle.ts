import { setTimeout as sleep } from 'node:timers/promises';
import { startRedis } from '../test/support/redis-server.ts';
import { treeMemory } from './memory.ts';
import { type Commands, commandsBetween, RedisProbe, total } from './redis-probe.ts';
import type { OpenCounted } from './redis-work.ts';
import type { Target } from './targets.ts';

/** Targets whose worker is a process that one can watch doing nothing. */
export const idleTargets: readonly Target[] = ['sqlite', 'redis'];

/** What a worker without work costs. */
export interface Idle {
  /** Milliseconds of processor time per minute, of all threads. */
  readonly workerCpu: number;
  /** Megabytes; missing where the system does not tell. */
  readonly workerRss?: number;
  /** Of the `redis-server`, where there is one. */
  readonly server?: IdleServer;
}

/** What a server does for a worker without work. */
export interface IdleServer {
  /** Milliseconds of processor time per minute. */
  readonly cpu: number;
  /** The same of a second server, which nobody uses. */
  readonly cpuAlone: number;
  /** Megabytes. */
  readonly rss: number;
  /** Commands per minute, by name: sent by the worker. */
  readonly sent: Commands;
  /** The same, also those inside scripts. */
  readonly executed: Commands;
}

/** Watches one worker for so many seconds, after it has done one task and its start is over. */
export async function idleWork(open: OpenCounted, seconds: number): Promise<Idle> {
  await using stage = await open();
  await stage.client.enqueue('noop', (i) => i, 1);
  const worker = await stage.work();
  while ((await stage.client.countDone()) < 1) await sleep(5);
  await stage.client.close();
  await using servers = stage.probe && (await serverWatch(stage.probe));
  // Node tidies up its memory some seconds after the last work.
  await sleep(Math.min(10, seconds / 2) * 1000);
  const serverSpent = await servers?.begin();
  const [start, before] = [performance.now(), await worker.usage()];
  await sleep(seconds * 1000);
  const after = await worker.usage();
  const ms = performance.now() - start;
  const perMinute = (count: number) => (count * 60_000) / ms;
  const workerCpu = perMinute(after.cpuMs - before.cpuMs);
  const server = await serverSpent?.(perMinute);
  const workerRss = treeMemory(worker.pid)?.rss;
  return { workerCpu, ...(workerRss === undefined ? {} : { workerRss }), ...(server ? { server } : {}) };
}

/** Watches the server of a probe, and beside it one that nobody uses. */
async function serverWatch(probe: RedisProbe) {
  await using opening = new AsyncDisposableStack();
  const { url } = opening.use(await startRedis());
  const alone = opening.adopt(await RedisProbe.open(url), (opened) => opened.close());
  const stack = opening.move();
  return {
    async begin() {
      const listening = await probe.listen();
      const [before, aloneBefore] = [await probe.mark(), await alone.mark()];
      return async (perMinute: (count: number) => number): Promise<IdleServer> => {
        const [after, aloneAfter] = [await probe.mark(), await alone.mark()];
        const { sent } = await listening();
        const each = (commands: Commands): Commands =>
          Object.fromEntries(Object.entries(commands).map(([name, count]) => [name, perMinute(count)]));
        return {
          cpu: perMinute(after.cpuMs - before.cpuMs),
          cpuAlone: perMinute(aloneAfter.cpuMs - aloneBefore.cpuMs),
          rss: after.rss,
          sent: each(sent),
          executed: each(commandsBetween(before.executed, after.executed)),
        };
      };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The rows of a table: what it is, its unit, and the number as people read it. */
export function idleRows({ workerCpu, workerRss, server }: Idle): [label: string, unit: string, value: string][] {
  const mb = (value: number | undefined): string => (value === undefined ? '–' : value.toFixed(0));
  const rows: [string, string, string][] = [
    ['processor time of the worker', 'ms/min', workerCpu.toFixed(0)],
    ['RSS of the worker', 'MB', mb(workerRss)],
  ];
  if (!server) return rows;
  return [
    ...rows,
    ['processor time of redis-server', 'ms/min', server.cpu.toFixed(0)],
    ['  of one without a worker', 'ms/min', server.cpuAlone.toFixed(0)],
    ['RSS of redis-server', 'MB', mb(server.rss)],
    ['commands sent', '/min', total(server.sent).toFixed(0)],
    ...byName('sent', server.sent),
    ['commands executed, also inside scripts', '/min', total(server.executed).toFixed(0)],
    ...byName('executed', server.executed),
  ];
}

function byName(what: string, commands: Commands): [string, string, string][] {
  return Object.entries(commands)
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => [`  ${what} ${name}`, '/min', count.toFixed(1)]);
}
