import type { LovageApp } from '../app/app.ts';
import type { ResultRecord } from '../contracts/backend.ts';
import type { Runtimes } from '../worker/running/task-log.ts';
import type { Worker } from '../worker/worker.ts';

/** What was measured counts half as much after this time. */
const halfLifeMs = 600_000;
/** How long it is kept where nothing runs. */
const keptMs = 7 * 24 * 3600 * 1000;

/** The name under which the result backend keeps the runtimes of a queue. */
export function runtimesKey(queue: string): string {
  return `runtimes:${queue}`;
}

interface Kept extends Runtimes {
  /** Epoch milliseconds. */
  readonly at: number;
}

/**
 * Has a worker say every `everyMs` how long its tasks take, for monitors that turn a backlog into seconds. It costs a read
 * and a write of the result backend for each queue in which something ran. Workers that write at once may lose a write:
 * it is an average, and the next one brings it back. Returns what ends it, which says it once more.
 */
export function reportRuntimes(worker: Worker, { everyMs = 30_000 } = {}): () => Promise<void> {
  const { app } = worker;
  let said: Record<string, Runtimes> = {};
  let saying: Promise<void> | undefined;
  const say = () => {
    saying ??= sayOnce().finally(() => {
      saying = undefined;
    });
    return saying;
  };
  const sayOnce = async () => {
    const now = structuredClone(worker.counts.runtimes ?? {});
    try {
      await addRuntimes(app, difference(now, said));
      said = now;
    } catch (error) {
      app.logger.debug({ error }, 'how long tasks take could not be stored; it is tried again');
    }
  };
  const timer = setInterval(say, everyMs).unref();
  return async () => {
    clearInterval(timer);
    await saying;
    await say();
  };
}

/** Adds what was measured to what is kept. */
export async function addRuntimes(app: LovageApp, measured: Readonly<Record<string, Runtimes>>): Promise<void> {
  const queues = Object.keys(measured);
  const results = await app.results();
  if (queues.length === 0 || !results.backend) return;
  const kept = await fetchKept(app, queues);
  const at = Date.now();
  const records = queues.map((queue, i): ResultRecord => {
    const { runs = 0, seconds = 0 } = aged(kept[i], at) ?? {};
    const more = measured[queue] ?? { runs: 0, seconds: 0 };
    const result: Kept = { runs: runs + more.runs, seconds: seconds + more.seconds, at };
    return results.encode({ taskId: runtimesKey(queue), state: 'RUNTIMES', result, children: [] });
  });
  const [failure] = await results.backend.storeMany(records, keptMs);
  if (failure) throw failure.error;
}

/** Seconds that a run takes on average, of those queues in which something has run. */
export async function meanRuntimes(app: LovageApp, queues: readonly string[]): Promise<Map<string, number>> {
  const kept = await fetchKept(app, queues);
  return new Map(
    queues.flatMap((queue, i): [string, number][] => {
      const { runs = 0, seconds = 0 } = kept[i] ?? {};
      return runs > 0 ? [[queue, seconds / runs]] : [];
    }),
  );
}

async function fetchKept(app: LovageApp, queues: readonly string[]): Promise<(Kept | undefined)[]> {
  const results = await app.results();
  if (!results.backend) return [];
  const records = await results.backend.fetchMany(queues.map(runtimesKey));
  return records.map((record) => {
    const value = record && results.decode(record).result;
    return isKept(value) ? value : undefined;
  });
}

function isKept(value: unknown): value is Kept {
  if (typeof value !== 'object' || value === null) return false;
  const { runs, seconds, at } = value as Record<string, unknown>;
  return [runs, seconds, at].every((one) => typeof one === 'number' && Number.isFinite(one) && one >= 0);
}

function aged(kept: Kept | undefined, at: number): Runtimes | undefined {
  if (!kept) return undefined;
  const weight = 0.5 ** (Math.max(0, at - kept.at) / halfLifeMs);
  return { runs: kept.runs * weight, seconds: kept.seconds * weight };
}

function difference(now: Readonly<Record<string, Runtimes>>, before: Readonly<Record<string, Runtimes>>) {
  return Object.fromEntries(
    Object.entries(now).flatMap(([queue, { runs, seconds }]) => {
      const { runs: oldRuns = 0, seconds: oldSeconds = 0 } = before[queue] ?? {};
      return runs > oldRuns ? [[queue, { runs: runs - oldRuns, seconds: seconds - oldSeconds }]] : [];
    }),
  );
}
