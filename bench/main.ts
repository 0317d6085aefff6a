/** `npm run bench`: measures Lovage on this machine. See README.md. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { roundsFor } from './app.ts';
import { readOptions } from './options.ts';
import { progress } from './progress.ts';
import { asText, type FailedRun, machineLine, type Results, type Row, rowsOf, thisMachine } from './report.ts';
import type { Job, Report } from './session.ts';
import { type Findings, sizesFor, type Workload, workloads } from './workloads.ts';

const LIMIT_MS = 120_000;

const options = readOptions(process.argv.slice(2));
const started = new Date();
const machine = thisMachine();
const sizes = sizesFor(options.n, options.concurrency, roundsFor(20));
const scratch = mkdtempSync(join(tmpdir(), 'lovage-bench-'));
let running: ChildProcess | undefined;
process.once('exit', () => rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));
for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => {
    running?.kill('SIGKILL');
    process.exit(status);
  });
}

const results = await measure();
const text = JSON.stringify(results, null, 1);
const file = join(options.results, `${started.toISOString().slice(0, 16).replace(/[T:]/g, '-')}-${options.name}.json`);
mkdirSync(options.results, { recursive: true });
writeFileSync(file, `${text}\n`);
console.log(options.json ? text : `${asText(results)}\nwritten to ${relative('', file)}`);
if (results.failed.length > 0) process.exitCode = 1;

/** Runs every workload on every target, a repeat of all after a repeat of all. */
async function measure(): Promise<Results> {
  const plan = Array.from({ length: options.repeats }, (_, repeat) =>
    options.workloads.flatMap((workload) => options.only.map((target) => ({ repeat, workload, target }))),
  )
    .flat()
    .filter(({ repeat, workload }) => repeat === 0 || !isOnce(workload));
  const found = new Map<string, Findings[]>();
  const failed: FailedRun[] = [];
  const bar = progress(options.json, plan.length, machineLine(machine));
  for (const { repeat, workload, target } of plan) {
    bar.step(`${target} ${workload}${options.repeats > 1 ? `, repeat ${repeat + 1} of ${options.repeats}` : ''}`);
    const report = await runJob({ target, workload, sizes, folder: scratch });
    if ('error' in report) failed.push({ target, workload, error: report.error });
    else found.set(`${target} ${workload}`, [...(found.get(`${target} ${workload}`) ?? []), report.findings]);
  }
  bar.end();
  const rows = options.workloads.flatMap((workload) =>
    options.only.flatMap((target): Row[] => rowsOf(target, workload, found.get(`${target} ${workload}`) ?? [])),
  );
  const seconds = (Date.now() - started.getTime()) / 1000;
  return { date: started.toISOString(), seconds, machine, repeats: options.repeats, sizes, rows, failed };
}

function isOnce(name: keyof typeof workloads): boolean {
  const { once }: Workload = workloads[name];
  return once ?? false;
}

/** Runs one workload once, in fresh processes and on fresh files. */
async function runJob(job: Omit<Job, 'folder'> & { folder: string }): Promise<Report> {
  const folder = mkdtempSync(join(job.folder, `${job.workload}-`));
  const child = fork(join(import.meta.dirname, 'session.ts'), [JSON.stringify({ ...job, folder })], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  running = child;
  const { promise, resolve } = Promise.withResolvers<Report>();
  const timer = setTimeout(() => {
    resolve({ error: `not done after ${LIMIT_MS / 1000} s` });
    child.kill('SIGKILL');
  }, LIMIT_MS);
  child.once('message', (report: Report) => resolve(report));
  const gone = new Promise<void>((over) =>
    child.once('exit', (code, signal) => {
      resolve({ error: `its process ended with ${code ?? signal}` });
      over();
    }),
  );
  const report = await promise;
  await gone;
  clearTimeout(timer);
  rmSync(folder, { recursive: true, force: true });
  return report;
}
