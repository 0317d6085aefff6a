/** `npm run bench`: measures Lovage on this machine. See README.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { roundsFor } from './app.ts';
import type { Idle } from './idle.ts';
import { jobRunner } from './jobs.ts';
import { readOptions } from './options.ts';
import { progress } from './progress.ts';
import { NO_REDIS } from './redis.ts';
import {
  asText,
  type FailedRun,
  type IdleResults,
  idleAsText,
  machineLine,
  type Results,
  rowsOf,
  thisMachine,
} from './report.ts';
import { onRedis, type Target } from './targets.ts';
import { type Findings, sizesFor, type Workload, type WorkloadName, workloads } from './workloads.ts';

const options = readOptions(process.argv.slice(2));
const started = new Date();
const machine = thisMachine();
const skipped = machine.redis === 'none' ? only(onRedis).map((target) => ({ target, reason: NO_REDIS })) : [];
const measured = options.only.filter((target) => !skipped.some((one) => one.target === target));
const sizes = sizesFor(options.n, options.concurrency, options.idle ? 0 : roundsFor(20));
const runJob = jobRunner();
const failed: FailedRun[] = [];

if (measured.length === 0) console.error(NO_REDIS);
else if (options.idle === undefined) write(await measure(), asText);
else write(await watch(options.idle), idleAsText);
if (failed.length > 0 || measured.length === 0) process.exitCode = 1;

function only(targets: readonly Target[]): Target[] {
  return options.only.filter((target) => targets.includes(target));
}

/** Prints the results and writes them to their file. */
function write<R>(results: R, text: (results: R) => string): void {
  const json = JSON.stringify(results, null, 1);
  const minute = started.toISOString().slice(0, 16).replace(/[T:]/g, '-');
  const file = join(options.results, `${minute}-${options.name}.json`);
  mkdirSync(options.results, { recursive: true });
  writeFileSync(file, `${json}\n`);
  console.log(options.json ? json : `${text(results)}\nwritten to ${relative('', file)}`);
}

/** Runs every workload on every target, a repeat of all after a repeat of all. */
async function measure(): Promise<Results> {
  const plan = Array.from({ length: options.repeats }, (_, repeat) =>
    options.workloads
      .filter((workload) => repeat === 0 || !traits(workload).once)
      .flatMap((workload) => targetsOf(workload).map((target) => ({ repeat, workload, target }))),
  ).flat();
  const found = new Map<string, Findings[]>();
  const bar = progress(options.json, plan.length, machineLine(machine));
  for (const { repeat, workload, target } of plan) {
    bar.step(`${target} ${workload}${options.repeats > 1 ? `, repeat ${repeat + 1} of ${options.repeats}` : ''}`);
    const report = await runJob<Findings>({ target, workload, sizes });
    if ('error' in report) failed.push({ target, workload, error: report.error });
    else found.set(`${target} ${workload}`, [...(found.get(`${target} ${workload}`) ?? []), report.findings]);
  }
  bar.end();
  const rows = options.workloads.flatMap((workload) =>
    targetsOf(workload).flatMap((target) => rowsOf(target, workload, found.get(`${target} ${workload}`) ?? [])),
  );
  return { ...about(), repeats: options.repeats, sizes, rows, failed, skipped };
}

/** Watches a worker without work on each target. */
async function watch(idleSeconds: number): Promise<IdleResults> {
  const idle: (Idle & { target: Target })[] = [];
  const bar = progress(options.json, measured.length, machineLine(machine));
  for (const target of measured) {
    bar.step(`${target} idle, ${idleSeconds} s`);
    const report = await runJob<Idle>({ target, idleSeconds, sizes });
    if ('error' in report) failed.push({ target, workload: 'idle', error: report.error });
    else idle.push({ target, ...report.findings });
  }
  bar.end();
  return { ...about(), idleSeconds, idle, failed, skipped };
}

function about() {
  return { date: started.toISOString(), seconds: (Date.now() - started.getTime()) / 1000, machine };
}

function traits(name: WorkloadName): Workload {
  return workloads[name];
}

function targetsOf(workload: WorkloadName): Target[] {
  const { on } = traits(workload);
  return measured.filter((target) => on?.includes(target) ?? true);
}
