import { writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import { count, paint } from '../demo/text.ts';
import { passagesOf } from './aof.ts';
import { ACK_MS, type Duplicate, explain, type Reason, reasons } from './judge.ts';
import { type Loss, losses, lossOf } from './losses.ts';
import type { Ordeal } from './ordeal.ts';
import { type KillKind, killKinds } from './plan.ts';
import { readSends } from './records.ts';
import { idOf } from './side.ts';

/** What came out. */
export interface Report {
  readonly tasks: number;
  readonly seconds: number;
  readonly seed: number;
  /** Processes killed, and Redis. */
  readonly kills: number;
  readonly killsByKind: Readonly<Partial<Record<KillKind, number>>>;
  readonly redisKills: number;
  /** Processes that ended though nobody killed them; they were started again. */
  readonly endedByThemselves: number;
  /** Tasks that ended at least once, and those with a stored SUCCESS. */
  readonly done: number;
  readonly succeeded: number;
  /**
   * Tasks that ended in a Celery worker while Redis was away: Celery 5.2 then stores the FAILURE to store their SUCCESS, and
   * acknowledges them.
   */
  readonly failedByCelery: number;
  /** Tasks that never ended, but for those that Celery lost. */
  readonly lost: number;
  readonly lostByCelery: number;
  readonly lossesByReason: Readonly<Partial<Record<Loss, number>>>;
  /** Messages that Lovage workers gave up. */
  readonly deadLetters: number;
  /** Runs beyond the first of their task; of those, the ones behind a run that had ended. */
  readonly duplicates: number;
  readonly duplicatesAfterEnd: number;
  readonly duplicatesByReason: Readonly<Partial<Record<Reason, number>>>;
  readonly unexplained: number;
  /** Runs by the kind of their worker. */
  readonly runs: { readonly typescript: number; readonly python: number };
  readonly machine: { readonly cores: number; readonly load: number };
}

const PAGE = 1000;

/** Reads the records and judges. Writes what is known of lost and unexplained tasks to `evidence.json` in the folder of the ordeal. */
export async function judge(ordeal: Ordeal, seconds: number): Promise<Report> {
  const { options, records, folder, deaths, outages } = ordeal;
  const sends = readSends(folder);
  const duplicates = explain(records.runs, {
    sends,
    deaths,
    outages,
    visibilityMs: options.visibilityTimeout * 1000,
  });
  const missing = range(options.tasks).filter((index) => !records.hasEnded(index));
  const failures = await failuresOf(ordeal);
  const failedByCelery = [...failures].filter((failure) => isOfCelery(ordeal, ...failure)).length;
  const lostBy = await lossesOf(ordeal, missing, duplicates, failures);
  const lostByCelery = lostBy.filter((loss) => loss !== 'lost').length;
  const typescript = records.runs.filter(({ worker }) => worker.startsWith('ts-')).length;
  return {
    tasks: options.tasks,
    seconds: Math.round(seconds),
    seed: options.seed,
    kills: ordeal.kills,
    killsByKind: tally(deaths.flatMap(({ kind }) => (kind === 'by itself' ? [] : [kind]))),
    redisKills: outages.length,
    endedByThemselves: ordeal.failures,
    done: records.done,
    succeeded: options.tasks - failures.size,
    failedByCelery,
    lost: missing.length - lostByCelery,
    lostByCelery,
    lossesByReason: tally(lostBy),
    deadLetters: await ordeal.deadLetters(),
    duplicates: duplicates.length,
    duplicatesAfterEnd: duplicates.filter(({ ended }) => ended).length,
    duplicatesByReason: tally(duplicates.map(({ reason }) => reason)),
    unexplained: duplicates.filter(({ reason }) => reason === 'unexplained').length,
    runs: { typescript, python: records.runs.length - typescript },
    machine: { cores: availableParallelism(), load: Math.round((loadavg()[0] ?? 0) * 10) / 10 },
  };
}

/** Whether nothing was lost, but for what Celery loses, and everything that was asked for was done and is explained. */
export function isGood(report: Report, ordeal: Ordeal): boolean {
  const { options } = ordeal;
  const asked = report.kills >= options.kills && report.redisKills === options.redisKills;
  const whole = report.lost === 0 && report.deadLetters === 0 && othersWithoutSuccess(report) === 0;
  return asked && whole && report.unexplained === 0;
}

const othersWithoutSuccess = ({ tasks, succeeded, failedByCelery, lostByCelery, lost }: Report) =>
  tasks - succeeded - failedByCelery - lostByCelery - lost;

/** For people. */
export function reportTable(report: Report): string {
  const table = new Table({
    head: [],
    colAligns: ['right', 'left'],
    chars: frame,
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 0 },
  });
  const row = (number: number, text: string, format?: Parameters<typeof paint>[0]) => {
    const cells = [count(number), text];
    table.push(format ? cells.map((cell) => paint(format, cell)) : cells);
  };
  const must = (number: number, text: string) => row(number, text, number === 0 ? 'green' : ['red', 'bold']);
  row(report.tasks, `tasks in ${count(report.seconds)} s, with seed ${report.seed}`, 'bold');
  row(report.runs.typescript, 'runs in TypeScript');
  row(report.runs.python, 'runs in Python');
  row(report.kills, 'processes killed', 'bold');
  for (const [kind, text] of entries(killKinds)) row(report.killsByKind[kind] ?? 0, `  ${text}`);
  row(report.endedByThemselves, 'processes ended by themselves, and were started again');
  row(report.redisKills, `${report.redisKills === 1 ? 'time' : 'times'} that Redis was killed`);
  row(report.duplicates, 'runs beyond the first of a task', 'bold');
  for (const [reason, text] of entries(reasons)) {
    if (reason === 'unexplained') continue;
    row(report.duplicatesByReason[reason] ?? 0, `  ${text}`);
  }
  must(report.unexplained, '  unexplained');
  for (const [loss, text] of entries(losses)) {
    const lost = report.lossesByReason[loss] ?? 0;
    if (loss !== 'lost') row(lost, `tasks ${text}`, lost > 0 ? 'yellow' : 'green');
  }
  const failed = report.failedByCelery;
  row(
    failed,
    'tasks ended in Celery, which could not store SUCCESS and stored FAILURE',
    failed > 0 ? 'yellow' : 'green',
  );
  must(report.deadLetters, 'dead letters');
  must(othersWithoutSuccess(report), 'other tasks without a stored SUCCESS');
  must(report.lost, 'tasks lost');
  return table.toString();
}

/** Where each missing task was lost, by Redis' own record. Keeps that record for what nobody can explain. */
async function lossesOf(
  ordeal: Ordeal,
  missing: readonly number[],
  duplicates: readonly Duplicate[],
  failures: ReadonlyMap<number, string | null>,
): Promise<Loss[]> {
  const unexplained = duplicates.flatMap(({ run, reason }) => (reason === 'unexplained' ? [run.index] : []));
  const wanted = new Set([...missing, ...unexplained, ...failures.keys()]);
  if (wanted.size === 0) return [];
  const passages = await passagesOf(ordeal.redis.folder, wanted);
  const found = missing.map((index) => lossOf(passages.get(index) ?? []));
  const evidence = [...wanted].map((index) => ({
    index,
    loss: found[missing.indexOf(index)],
    result: failures.get(index),
    runs: ordeal.records.runs.filter((run) => run.index === index),
    passages: passages.get(index),
  }));
  const { deaths, outages } = ordeal;
  writeFileSync(join(ordeal.folder, 'evidence.json'), JSON.stringify({ deaths, outages, evidence }, undefined, 1));
  return found;
}

/** What is stored for each task that has no SUCCESS. */
async function failuresOf(ordeal: Ordeal): Promise<Map<number, string | null>> {
  const failures = new Map<number, string | null>();
  for (let from = 0; from < ordeal.options.tasks; from += PAGE) {
    const page = range(Math.min(PAGE, ordeal.options.tasks - from)).map((i) => from + i);
    const documents = await ordeal.results(page.map((index) => `celery-task-meta-${idOf(index)}`));
    page.forEach((index, i) => {
      const document = documents[i] ?? null;
      if (document === null || JSON.parse(document).status !== 'SUCCESS') failures.set(index, document);
    });
  }
  return failures;
}

/** Whether a task failed only because Celery could not reach Redis to store that it had succeeded. */
function isOfCelery({ records, outages }: Ordeal, index: number, document: string | null): boolean {
  if (document === null) return false;
  const { status, result } = JSON.parse(document);
  if (status !== 'FAILURE' || result?.exc_module !== 'redis.exceptions') return false;
  return records.runs.some(
    ({ index: of, worker, begin, end }) =>
      of === index &&
      worker.startsWith('python-') &&
      end !== undefined &&
      outages.some(({ from, to }) => begin <= to && end >= from - ACK_MS),
  );
}

const range = (length: number) => Array.from({ length }, (_, i) => i);

function tally<Name extends string>(names: readonly Name[]): Partial<Record<Name, number>> {
  const counts: Partial<Record<Name, number>> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** The entries of a table whose keys are all known. */
function entries<Name extends string>(table: Readonly<Record<Name, string>>): [Name, string][] {
  return Object.entries(table) as [Name, string][];
}

/** Lines above and below, no other. */
const frame = {
  top: '─',
  'top-mid': '──',
  'top-left': '  ',
  'top-right': '',
  bottom: '─',
  'bottom-mid': '──',
  'bottom-left': '  ',
  'bottom-right': '',
  mid: '',
  'mid-mid': '',
  'left-mid': '',
  'right-mid': '',
  left: '  ',
  right: '',
  middle: '  ',
};
