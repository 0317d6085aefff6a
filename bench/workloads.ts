import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { treeMemory } from './memory.ts';
import { type OpenCounted, redisWork } from './redis-work.ts';
import type { Stage } from './stage.ts';
import { onRedis, type Target } from './targets.ts';
import type { StageWorker } from './worker-process.ts';

/** How much is done in each workload. */
export interface Sizes {
  /** No-op tasks of W1, W6 and W8. */
  readonly n: number;
  /** One by one, in W1. */
  readonly awaited: number;
  /** Round trips of W2. */
  readonly trips: number;
  /** Tasks of W3, each of `rounds` rounds: 20 ms of processor time. */
  readonly cpu: number;
  readonly rounds: number;
  /** Sleepers of W4. */
  readonly sleepers: number;
  readonly chords: number;
  /** Queued in W7. */
  readonly backlog: number;
  readonly concurrency: number;
}

/** The sizes of ../shared/bench at `n` = 10 000, in proportion at others. */
export function sizesFor(n: number, concurrency: number, rounds: number): Sizes {
  const share = (ofFull: number, least: number) => Math.max(least, Math.round((ofFull * n) / 10_000));
  return {
    n,
    awaited: share(3000, 10),
    trips: share(500, 20),
    cpu: share(200, 4),
    rounds,
    sleepers: share(2000, 20),
    chords: share(50, 2),
    backlog: share(200_000, 1000),
    concurrency,
  };
}

/** One number of a workload. */
export interface Metric {
  readonly label: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  readonly digits: number;
}

/** What a run of a workload found, by the names of its metrics; those that a target cannot tell are missing. */
export type Findings = Readonly<Record<string, number>>;

export interface Workload {
  readonly title: string;
  readonly metrics: Readonly<Record<string, Metric>>;
  /** Said below the table. */
  readonly note?: string;
  /** Run once, not once a repeat. */
  readonly once?: boolean;
  /** The targets that can do it, where not all can. */
  readonly on?: readonly Target[];
  run(open: OpenCounted, sizes: Sizes): Promise<Findings>;
}

const rate = (label: string): Metric => ({ label, unit: '/s', better: 'higher', digits: 0 });
const ms = (label: string, digits: number): Metric => ({ label, unit: 'ms', better: 'lower', digits });
const seconds = (label: string): Metric => ({ label, unit: 's', better: 'lower', digits: 2 });
const megabytes = (label: string): Metric => ({ label, unit: 'MB', better: 'lower', digits: 0 });

const perTask = (label: string): Metric => ({ label, unit: '/task', better: 'lower', digits: 3 });

const lovage: readonly Target[] = ['sqlite', 'memory', 'redis'];
const itself = (i: number) => i;
const HEADER = 20;
const NAP_MS = 50;
const CPU_MS = 20;
const LOOK_MS = 20;
const DEEP_MS = 8000;
const DEEP_LOOK_MS = 50;

/** W1 to W7 of ../shared/bench, and what only Redis has. */
export const workloads = {
  w1: {
    title: 'no-op tasks',
    metrics: {
      enqueue: rate('enqueue in bulk'),
      awaited: rate('enqueue one by one'),
      drain: rate('drain the backlog'),
      live: rate('live, end to end'),
    },
    async run(open, { n, awaited }) {
      const backlog = await drainBacklog(open, n);
      return { ...backlog, awaited: await enqueueAwaited(open, awaited), live: await runLive(open, n) };
    },
  },
  w2: {
    title: 'round trip, one at a time',
    metrics: { p50: ms('p50', 2), p95: ms('p95', 2), p99: ms('p99', 2) },
    async run(open, { trips }) {
      await using stage = await open();
      await warm(stage);
      for (let i = 0; i < 20; i++) await stage.client.roundTrip(i);
      const took: number[] = [];
      for (let i = 0; i < trips; i++) {
        const start = performance.now();
        const value = await stage.client.roundTrip(i);
        took.push(performance.now() - start);
        if (value !== i) throw new Error(`task ${i} returned ${value}`);
      }
      const sorted = took.sort((a, b) => a - b);
      const at = (share: number) =>
        sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
      return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
    },
  },
  w3: {
    title: `${CPU_MS} ms of processor time each`,
    metrics: {
      seconds: seconds('all of them'),
      efficiency: { label: 'efficiency of all cores', unit: '', better: 'higher', digits: 2 },
    },
    on: lovage,
    note: `w3: the async pool of this version runs tasks on one core, so ${(1 / availableParallelism()).toFixed(2)} is the best efficiency it can reach on this machine`,
    async run(open, { cpu, rounds }) {
      await using stage = await open();
      await warm(stage);
      const took = await finish(stage, 'cpu', () => rounds, cpu);
      return { seconds: took, efficiency: (cpu * CPU_MS) / 1000 / availableParallelism() / took };
    },
  },
  w4: {
    title: `sleeps of ${NAP_MS} ms`,
    metrics: {
      rate: rate('sleepers'),
      overIdeal: { label: 'time ÷ ideal', unit: '', better: 'lower', digits: 2 },
    },
    on: lovage,
    async run(open, { sleepers, concurrency }) {
      await using stage = await open();
      await warm(stage);
      const took = await finish(stage, 'sleep', () => NAP_MS, sleepers);
      return { rate: sleepers / took, overIdeal: took / ((Math.ceil(sleepers / concurrency) * NAP_MS) / 1000) };
    },
  },
  w5: {
    title: `chords of ${HEADER} and a callback`,
    metrics: { seconds: seconds('all of them'), rate: rate('tasks') },
    on: lovage,
    async run(open, { chords }) {
      await using stage = await open();
      await warm(stage);
      const start = performance.now();
      await stage.client.chords(chords, HEADER);
      const took = (performance.now() - start) / 1000;
      return { seconds: took, rate: (chords * (HEADER + 1)) / took };
    },
  },
  w6: {
    title: 'worker process',
    metrics: {
      cold: ms('cold start', 0),
      idleRss: megabytes('RSS idle'),
      idlePss: megabytes('PSS idle'),
      rss: megabytes('RSS after the no-op tasks'),
      pss: megabytes('PSS after the no-op tasks'),
    },
    note: 'w6: cold start is from spawning the process to its first completed task; on memory the process is also the producer',
    async run(open, { n }) {
      await using stage = await open();
      const worker = await warm(stage);
      const cold = (await stage.client.span()).last - worker.bornAt;
      await sleep(700);
      const idle = treeMemory(worker.pid);
      await finish(stage, 'noop', itself, n);
      await sleep(300);
      const after = treeMemory(worker.pid);
      return defined({ cold, idleRss: idle?.rss, idlePss: idle?.pss, rss: after?.rss, pss: after?.pss });
    },
  },
  w7: {
    title: 'deep queue',
    metrics: {
      enqueue: rate('enqueue'),
      drain: rate('drain at depth'),
      bytes: { label: 'store', unit: 'bytes/task', better: 'lower', digits: 0 },
    },
    once: true,
    note: 'w7: runs once, not once a repeat; the store is the file and its log, or the memory that Redis uses',
    async run(open, { backlog }) {
      await using stage = await open();
      const empty = await stage.bytes?.();
      const took = await timed(() => stage.client.enqueue('noop', itself, backlog));
      const full = await stage.bytes?.();
      const bytes = empty === undefined || full === undefined ? undefined : (full - empty) / backlog;
      await stage.work();
      return defined({ enqueue: backlog / took, bytes, drain: await drainAtDepth(stage, backlog) });
    },
  },
  w8: {
    title: 'what Redis does',
    metrics: {
      senderSent: perTask('commands of the sender'),
      senderExecuted: perTask('executed for it'),
      senderTrips: perTask('its round trips'),
      workerSent: perTask('commands of the worker'),
      workerExecuted: perTask('executed for it'),
      workerTrips: perTask('its round trips'),
      bytes: { label: 'memory of a queued task', unit: 'bytes', better: 'lower', digits: 0 },
    },
    once: true,
    on: onRedis,
    note: 'w8: runs once, not once a repeat; sent in bulk, then drained. Executed are also the commands inside scripts. The start of the worker is counted with its tasks',
    run: (open, { n }) => redisWork(open, n),
  },
} as const satisfies Record<string, Workload>;

export type WorkloadName = keyof typeof workloads;

/** Starts a worker with one task waiting, and waits until that is done. */
async function warm(stage: Stage): Promise<StageWorker> {
  await stage.client.enqueue('noop', itself, 1);
  const worker = await stage.work();
  await allDone(stage, 1, 5);
  return worker;
}

async function drainBacklog(open: OpenCounted, n: number): Promise<{ enqueue: number; drain: number }> {
  await using stage = await open();
  const took = await timed(() => stage.client.enqueue('noop', itself, n));
  await stage.work();
  await allDone(stage, n, 100);
  const { first, last } = await stage.client.span();
  return { enqueue: n / took, drain: drainRate(n, first, last) };
}

async function enqueueAwaited(open: OpenCounted, n: number): Promise<number> {
  await using stage = await open();
  return n / (await timed(() => stage.client.enqueue('noop', itself, n, 'await')));
}

async function runLive(open: OpenCounted, n: number): Promise<number> {
  await using stage = await open();
  await warm(stage);
  return n / (await finish(stage, 'noop', itself, n));
}

/** Seconds from the first call to the last completion, with a warm worker. */
async function finish(
  stage: Stage,
  task: 'noop' | 'cpu' | 'sleep',
  arg: (i: number) => number,
  n: number,
): Promise<number> {
  const start = Date.now();
  await stage.client.enqueue(task, arg, n);
  await allDone(stage, n, LOOK_MS);
  return Math.max(1, (await stage.client.span()).last - start) / 1000;
}

/** Completed tasks per second: for {@link DEEP_MS} from the first one seen, or of the whole queue where that is done sooner. */
async function drainAtDepth(stage: Stage, n: number): Promise<number> {
  let done = 0;
  while (done === 0) {
    await sleep(DEEP_LOOK_MS);
    done = await stage.client.countDone();
  }
  const [start, before] = [performance.now(), done];
  while (done < n && performance.now() - start < DEEP_MS) {
    await sleep(DEEP_LOOK_MS);
    done = await stage.client.countDone();
  }
  if (done < n) return (done - before) / ((performance.now() - start) / 1000);
  const { first, last } = await stage.client.span();
  return drainRate(n, first, last);
}

/** By the completion times that workers store; they count milliseconds. */
function drainRate(n: number, first: number, last: number): number {
  return ((n - 1) * 1000) / Math.max(1, last - first);
}

async function allDone({ client }: Stage, n: number, everyMs: number): Promise<void> {
  while ((await client.countDone()) < n) await sleep(everyMs);
}

/** Seconds. */
async function timed(body: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
}

function defined(findings: Readonly<Record<string, number | undefined>>): Findings {
  return Object.fromEntries(
    Object.entries(findings).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}
