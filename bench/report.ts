import { cpus, loadavg, totalmem } from 'node:os';
import { paint, table } from '../src/cli/output.ts';
import { version } from '../src/cli/version.ts';
import { type Idle, idleRows } from './idle.ts';
import { redisVersion } from './redis.ts';
import type { Target } from './targets.ts';
import { type Metric, type Sizes, type Workload, type WorkloadName, workloads } from './workloads.ts';

/** One number of the results, over all repeats. */
export interface Row {
  readonly target: Target;
  readonly workload: WorkloadName;
  readonly metric: string;
  readonly label: string;
  readonly unit: string;
  readonly better: Metric['better'];
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** In the order of the runs. */
  readonly values: readonly number[];
}

/** A run that gave no numbers. */
export interface FailedRun {
  readonly target: Target;
  readonly workload: WorkloadName | 'idle';
  readonly error: string;
}

/** A target that could not be measured here. */
export interface SkippedTarget {
  readonly target: Target;
  readonly reason: string;
}

/** What a machine and its software are. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGB: number;
  readonly platform: string;
  readonly node: string;
  readonly sqlite: string;
  /** `none` where there is no `redis-server`. */
  readonly redis: string;
  readonly lovage: string;
  /** Of the minute before the first run. */
  readonly loadAverage: number;
}

/** What every run says. */
interface Run {
  readonly date: string;
  /** How long it took. */
  readonly seconds: number;
  readonly machine: Machine;
  readonly failed: readonly FailedRun[];
  readonly skipped: readonly SkippedTarget[];
}

/** The workloads. */
export interface Results extends Run {
  readonly repeats: number;
  readonly sizes: Sizes;
  readonly rows: readonly Row[];
}

/** Workers without work. */
export interface IdleResults extends Run {
  /** How long each was watched. */
  readonly idleSeconds: number;
  readonly idle: readonly (Idle & { readonly target: Target })[];
}

/** Looks at this machine, now. */
export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGB: round(totalmem() / 2 ** 30, 1),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    sqlite: process.versions.sqlite ?? 'unknown',
    redis: redisVersion() ?? 'none',
    lovage: version,
    loadAverage: round(loadavg()[0] ?? 0, 2),
  };
}

/** The rows of one workload on one target, from the findings of its runs. */
export function rowsOf(
  target: Target,
  workload: WorkloadName,
  findings: readonly Readonly<Record<string, number>>[],
): Row[] {
  const { metrics }: Workload = workloads[workload];
  return Object.entries(metrics).flatMap(([metric, { label, unit, better }]) => {
    const values = findings.flatMap((found) => found[metric] ?? []);
    if (values.length === 0) return [];
    const sorted = values.toSorted((a, b) => a - b);
    const middle = sorted.slice((sorted.length - 1) >> 1, (sorted.length >> 1) + 1);
    const median = middle.reduce((a, b) => a + b, 0) / middle.length;
    return [
      {
        target,
        workload,
        metric,
        label,
        unit,
        better,
        median,
        min: Math.min(...values),
        max: Math.max(...values),
        values,
      },
    ];
  });
}

/** The workloads, for people. */
export function asText({ machine, repeats, sizes, rows, failed, skipped, seconds }: Results): string {
  const targets = [...new Set([...rows, ...failed].map(({ target }) => target))];
  const names = (Object.keys(workloads) as WorkloadName[]).filter((name) =>
    rows.some(({ workload }) => workload === name),
  );
  const lines = names.flatMap((name) => {
    const { title, metrics }: Workload = workloads[name];
    const heading = `${paint('cyan', name.toUpperCase())} ${title}`;
    return Object.entries(metrics)
      .filter(([metric]) => rows.some((row) => row.workload === name && row.metric === metric))
      .map(([metric, shown], i) => {
        const numbers = targets.flatMap((target) => {
          const row = rows.find((r) => r.target === target && r.workload === name && r.metric === metric);
          return row ? [paint('bold', show(row.median, shown)), paint('dim', range(row, shown))] : ['–', ''];
        });
        return [i === 0 ? heading : '', [shown.label, shown.unit].filter(Boolean).join(', '), ...numbers];
      });
  });
  const head = ['', '', ...targets.flatMap((target) => [target, repeats > 1 ? 'min – max' : ''])];
  const notes = names.flatMap((name) => (workloads[name] as Workload).note ?? []);
  return [
    machineLine(machine),
    `${repeats > 1 ? `medians of ${repeats} runs` : 'one run each'}, ${sizes.n} no-op tasks, concurrency ${sizes.concurrency}, ${seconds.toFixed(0)} s in all`,
    '',
    ...(lines.length > 0 ? [table(head, lines, 2), ''] : []),
    ...troubles(failed, skipped),
    ...notes.map((note) => paint('dim', note)),
  ].join('\n');
}

/** Workers without work, for people. */
export function idleAsText({ machine, idleSeconds, idle, failed, skipped }: IdleResults): string {
  const columns = idle.map((one) => idleRows(one));
  const cells = new Map(columns.flat().map(([label, unit]) => [`${label}, ${unit}`, columns.map(() => '–')]));
  columns.forEach((rows, column) => {
    for (const [label, unit, value] of rows) cells.get(`${label}, ${unit}`)?.splice(column, 1, value);
  });
  const lines = [...cells].map(([label, values]) => [label, ...values]);
  return [
    machineLine(machine),
    `one worker without work, watched for ${idleSeconds} s`,
    '',
    ...(lines.length > 0 ? [table(['', ...idle.map(({ target }) => target)], lines, 1), ''] : []),
    ...troubles(failed, skipped),
  ].join('\n');
}

function troubles(failed: readonly FailedRun[], skipped: readonly SkippedTarget[]): string[] {
  return [
    ...failed.map(({ target, workload, error }) => paint('red', `${workload} on ${target} failed: ${error}`)),
    ...skipped.map(({ target, reason }) => paint('yellow', `${target} not measured: ${reason}`)),
  ];
}

/** The machine in one line. */
export function machineLine({
  cpu,
  cores,
  memoryGB,
  platform,
  node,
  sqlite,
  redis,
  lovage,
  loadAverage,
}: Machine): string {
  return `lovage ${lovage}, node ${node}, SQLite ${sqlite}, Redis ${redis} on ${cpu}, ${cores} cores, ${memoryGB} GB, ${platform}; load average ${loadAverage} at start`;
}

function range({ min, max, values }: Row, metric: Metric): string {
  return values.length > 1 ? `${show(min, metric)} – ${show(max, metric)}` : '';
}

function show(value: number, { digits }: Metric): string {
  return value.toFixed(digits).replace(/\B(?<!\.\d*)(?=(\d{3})+(?!\d))/g, ' ');
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
