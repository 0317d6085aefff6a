/**
 * Measures the pools by themselves: jobs a second of no-ops, a time for what one costs alone, and how well two children
 * share 200 jobs of 20 ms by the clock. `node bench/pools.ts [repeats]`, default 3; prints medians.
 */
import { loadavg } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { ChildPoolOptions, Pool } from '../src/contracts/pool.ts';
import { AsyncPool } from '../src/pools/async.ts';
import { processPool } from '../src/pools/processes.ts';
import { SoloPool } from '../src/pools/solo.ts';
import { threadPool } from '../src/pools/threads.ts';
import { type BenchRequest, benchTasks } from './pool-tasks.ts';

interface Target {
  readonly name: string;
  make(options: ChildPoolOptions<BenchRequest, unknown>): Pool<BenchRequest>;
}

const { run } = benchTasks();
const targets: readonly Target[] = [
  { name: 'solo', make: (options) => new SoloPool({ ...options, run }) },
  { name: 'async', make: (options) => new AsyncPool({ ...options, run }) },
  { name: 'threads', make: threadPool },
  { name: 'threads, look-ahead 8', make: (options) => threadPool({ ...options, lookAhead: 8 }) },
  { name: 'processes', make: processPool },
  { name: 'processes, look-ahead 8', make: (options) => processPool({ ...options, lookAhead: 8 }) },
];
const slots = 2;
const recipe = { module: new URL('./pool-tasks.ts', import.meta.url).href, factory: 'benchTasks', args: [] };
const repeats = Number(process.argv[2] ?? 3);

/** Milliseconds from the first submission to the last outcome, with at most so many jobs in the pool. */
async function time(pool: Pool<BenchRequest>, ended: () => number, count: number, inPool: number, ms: number) {
  const before = ended();
  const started = performance.now();
  for (let sent = 0; sent < count; ) {
    const size = Math.min(inPool, count - sent);
    pool.submit(Array.from({ length: size }, (_, i) => ({ id: String(sent + i), request: { ms } })));
    sent += size;
    await pool.drained();
  }
  const took = performance.now() - started;
  if (ended() - before !== count) throw new Error(`expected ${count} outcomes, got ${ended() - before}`);
  return took;
}

async function measure(target: Target): Promise<Record<string, number>> {
  let count = 0;
  const pool = target.make({
    slots,
    recipe,
    onOutcomes: (outcomes) => {
      count += outcomes.length;
    },
    failed: (_job, { error }) => {
      throw error;
    },
  });
  const starting = performance.now();
  await pool.start();
  const startMs = performance.now() - starting;
  const ended = () => count;
  await time(pool, ended, 2_000, 500, 0);
  const noops = 10_000;
  const batchMs = await time(pool, ended, noops, 500, 0);
  const alone = 500;
  const aloneMs = await time(pool, ended, alone, 1, 0);
  const cpuMs = await time(pool, ended, 200, 200, 20);
  await pool.stop();
  return {
    'start, ms': startMs,
    'no-ops a second': (noops / batchMs) * 1000,
    'one alone, µs': (aloneMs / alone) * 1000,
    'of ideal, 200 x 20 ms, %': ((200 * 20) / (pool.features.parallel ? slots : 1) / cpuMs) * 100,
  };
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

// The first thread of a process takes longer than the others.
await new Promise((resolve) => new Worker('', { eval: true }).once('exit', resolve));
console.log(`node ${process.version}, load average ${loadavg()[0]?.toFixed(2)} at the start, ${repeats} repeats`);
const rows = new Map<string, Record<string, number>[]>(targets.map(({ name }) => [name, []]));
for (let i = 0; i < repeats; i += 1) for (const target of targets) rows.get(target.name)?.push(await measure(target));
console.table(
  Object.fromEntries(
    [...rows].map(([name, runs]) => [
      name,
      Object.fromEntries(
        Object.keys(runs[0] ?? {}).map((metric) => [
          metric,
          Number(median(runs.map((run) => run[metric] ?? 0)).toFixed(1)),
        ]),
      ),
    ]),
  ),
);
