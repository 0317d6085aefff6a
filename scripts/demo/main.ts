/**
 * `npm run demo`: imports real CSV files into SQLite with two worker processes, kills one of them on the way, and checks
 * every row. See `--help`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { ImportTable } from '../../examples/csv-import/table.ts';
import { type AsyncResult, Lovage } from '../../src/index.ts';
import { ImportLog, type Progress } from './import-log.ts';
import { type DemoOptions, readOptions, usage } from './options.ts';
import { BarScreen, PlainScreen, type Screen } from './screen.ts';
import { datasetPaths, readSource, type Source } from './source.ts';
import { summaryTable } from './summary.ts';
import { count, paint, plural } from './text.ts';
import { isRight, type Verdict, verify } from './verify.ts';
import { type End, WorkerProcess } from './worker-process.ts';

// Seconds after which the messages of a dead worker go to another. The default is 30, too long to watch.
const LEASE_SECONDS = 2;
const PAUSE_MS = 200;
const STALLED_MS = 30_000;

/** What is running, so that it can be ended whatever happens. */
interface Stage {
  readonly options: DemoOptions;
  readonly folder: string;
  readonly app: Lovage;
  readonly sources: readonly Source[];
  readonly log: ImportLog;
  readonly screen: Screen;
  readonly workers: Map<string, WorkerProcess>;
  readonly killed: Set<WorkerProcess>;
  readonly failed: AbortController;
}

async function main(): Promise<number> {
  let options: DemoOptions;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return 2;
  }
  if (options.help) {
    console.log(usage);
    return 0;
  }
  return withStage(options, demo);
}

/** Sets the stage, and clears it whatever happens: no process and no file stays. */
async function withStage(options: DemoOptions, body: (stage: Stage) => Promise<number>): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-demo-'));
  const sources = datasetPaths().map(readSource).toSorted((a, b) => b.rows.size - a.rows.size);
  introduce(sources, options);
  const table = join(folder, 'import.db');
  new ImportTable(table).close();
  const live = process.stdout.isTTY && !options.json;
  const stage: Stage = {
    options,
    folder,
    app: new Lovage('demo', { broker: brokerUrl(folder) }),
    sources,
    log: new ImportLog(table),
    screen: live ? new BarScreen(sources, 2) : new PlainScreen(sources),
    workers: new Map(),
    killed: new Set(),
    failed: new AbortController(),
  };
  let interrupted: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    interrupted = signal;
    stage.failed.abort(new Error(`stopped by ${signal}`));
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  let keep = options.keep;
  try {
    return await body(stage);
  } catch (error) {
    stage.screen.close();
    if (interrupted) return 130;
    keep = true;
    console.error(paint('red', `\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`));
    for (const { name, logTail } of stage.workers.values()) console.error(`\nThe end of ${name}'s log:\n${logTail}`);
    return 1;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
    await Promise.allSettled([...stage.workers.values()].map((worker) => worker.kill()));
    stage.log.close();
    await stage.app.close();
    if (keep) console.error(`The databases and logs are in ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
  }
}

function introduce(sources: readonly Source[], { fast }: DemoOptions): void {
  const rows = sources.reduce((sum, source) => sum + source.rows.size, 0);
  const title = `Lovage imports ${plural(sources.length, 'file')} with ${plural(rows, 'row')}: two worker processes, no server, all in SQLite`;
  console.log(`\n  ${paint('bold', title)}`);
  if (!fast) console.log(paint('dim', `  Each chunk rests ${PAUSE_MS} ms, so that there is something to watch; --fast leaves that out.`));
  console.log('');
}

async function demo(stage: Stage): Promise<number> {
  const { app, sources, screen, options, folder } = stage;
  const names = ['worker-1', 'worker-2'];
  await Promise.all(names.map((name) => startWorker(stage, name)));
  const pids = [...stage.workers.values()].map(({ name, pid }) => `${name} (pid ${pid})`);
  screen.event(`${pids.join(' and ')} are ready`);
  const sent = await app.sendMany<{ chunks: number }>('csv.importFile', sources.map(({ path }) => [path]));
  screen.event(`sent ${plural(sent.length, 'task')}, one a file; each sends a task for every 250 rows`);
  await Promise.race([imported(sent), watch(stage)]);
  const seconds = performance.now() / 1000;
  await stopWorkers(stage);
  screen.close();
  return report(stage, seconds);
}

/** Waits for the file tasks, and for the chunk tasks that they have sent. */
async function imported(sent: readonly AsyncResult[]): Promise<void> {
  await Promise.all(sent.map((file) => file.get()));
  const chunks = await Promise.all(sent.map((file) => file.children));
  await Promise.all(chunks.flat().map((chunk) => chunk.get()));
}
