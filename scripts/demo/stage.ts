import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ImportTable } from '../../examples/csv-import/table.ts';
import { Lovage } from '../../src/index.ts';
import { ImportLog } from './import-log.ts';
import type { DemoOptions } from './options.ts';
import { BarScreen, PlainScreen, type Screen } from './screen.ts';
import { datasetPaths, readSource, type Source } from './source.ts';
import { count, paint } from './text.ts';
import { WorkerProcess } from './worker-process.ts';

// After so many seconds the messages of a dead worker go to another. The default, 30, is long to watch.
export const LEASE_SECONDS = 2;
const REST_MS = 200;
const WORKERS = ['worker-1', 'worker-2'];

/** What is running: the parts of the demo, ended by {@link withStage} whatever happens. */
export class Stage {
  readonly options: DemoOptions;
  /** Holds the broker's file, the table and the logs. */
  readonly folder: string;
  /** The files to import, the largest first. */
  readonly sources: readonly Source[];
  readonly app: Lovage;
  readonly log: ImportLog;
  readonly screen: Screen;
  /** Of each name, the process that runs or ran last. */
  readonly workers = new Map<string, WorkerProcess>();
  readonly #killed = new Set<WorkerProcess>();
  readonly #failure = new AbortController();
  readonly #broker: string;
  readonly #table: string;

  constructor(options: DemoOptions) {
    this.options = options;
    forgetSettings();
    this.folder = mkdtempSync(join(tmpdir(), 'lovage-demo-'));
    this.sources = datasetPaths()
      .map(readSource)
      .toSorted((a, b) => b.rows.size - a.rows.size);
    this.#broker = `sqlite://${pathToFileURL(join(this.folder, 'broker.db')).pathname}?visibilityTimeout=${LEASE_SECONDS}`;
    this.#table = join(this.folder, 'import.db');
    new ImportTable(this.#table).close();
    this.app = new Lovage('demo', { broker: this.#broker });
    this.log = new ImportLog(this.#table);
    this.#introduce();
    const live = process.stdout.isTTY && !options.json;
    this.screen = live ? new BarScreen(this.sources, WORKERS) : new PlainScreen(this.sources);
  }

  /** Rows that there are to import. */
  get total(): number {
    return this.sources.reduce((sum, { rows }) => sum + rows.size, 0);
  }

  /** Aborted when the demo cannot go on: a worker died that nobody killed, or Ctrl-C. */
  get failure(): AbortSignal {
    return this.#failure.signal;
  }

  fail(reason: Error): void {
    this.#failure.abort(reason);
  }

  async startAll(): Promise<void> {
    await Promise.all(WORKERS.map((name) => this.start(name).ready));
  }

  start(name: string): WorkerProcess {
    const worker = new WorkerProcess(name, this.folder, {
      LOVAGE_BROKER: this.#broker,
      CSV_IMPORT_DB: this.#table,
      CSV_IMPORT_REST_MS: this.options.fast ? '0' : String(REST_MS),
    });
    this.workers.set(name, worker);
    worker.ended.then(
      (end) => {
        if (!this.#killed.has(worker)) this.fail(new Error(`${name} ended with ${end} though nobody stopped it`));
      },
      (error: Error) => this.fail(new Error(`${name} did not start: ${error.message}`)),
    );
    return worker;
  }

  async kill(worker: WorkerProcess): Promise<void> {
    this.#killed.add(worker);
    await worker.kill();
  }

  /** @throws Error for a worker that did not end with status 0 */
  async stopAll(): Promise<void> {
    const workers = [...this.workers.values()];
    for (const worker of workers) this.#killed.add(worker);
    const ends = await Promise.all(workers.map((worker) => worker.stop()));
    const bad = workers.flatMap(({ name }, i) =>
      ends[i] === 0 ? [] : [`${name} ended with ${ends[i]} after SIGTERM, not with 0`],
    );
    if (bad.length > 0) throw new Error(bad.join('; '));
  }

  /** Ends what runs and removes what was written. */
  async clear(keep: boolean): Promise<void> {
    await Promise.allSettled([...this.workers.values()].map((worker) => this.kill(worker)));
    this.log.close();
    await this.app.close();
    if (keep) console.error(`  The databases and the workers' logs are in ${this.folder}`);
    else rmSync(this.folder, { recursive: true, force: true });
  }

  #introduce(): void {
    const what = `${this.sources.length} CSV files, ${count(this.total)} rows`;
    console.log(`\n  ${paint('bold', `Lovage: ${what}, 2 worker processes, no server`)}`);
    const rest = this.options.fast
      ? ''
      : `\n  Each chunk rests about ${REST_MS} ms to be seen; npm run demo -- --fast does without.`;
    console.log(paint('dim', `  Queue, results and rows are in SQLite. One worker will be killed on the way.${rest}`));
    console.log('');
  }
}

/** The demo is a world of its own: a broker that the user has set elsewhere is not touched. */
function forgetSettings(): void {
  const foreign = /^(LOVAGE_|CELERY_|BROKER_URL$|RESULT_BACKEND$)/;
  for (const name of Object.keys(process.env)) if (foreign.test(name)) delete process.env[name];
}

/** Runs `body` on a stage of its own and returns the exit status. No process stays, and no file unless it is asked for or of use. */
export async function withStage(options: DemoOptions, body: (stage: Stage) => Promise<number>): Promise<number> {
  const stage = new Stage(options);
  let interrupted = false;
  const onSignal = (signal: NodeJS.Signals) => {
    interrupted = true;
    stage.fail(new Error(`stopped by ${signal}`));
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  let keep = options.keep;
  try {
    return await body(stage);
  } catch (error) {
    stage.screen.close();
    if (interrupted) {
      console.error('  Stopped; the workers are gone, too.');
      return 130;
    }
    keep = true;
    console.error(paint('red', `\n  The demo failed: ${error instanceof Error ? error.message : String(error)}`));
    for (const { name, logTail } of stage.workers.values()) console.error(`\n  The end of ${name}'s log:\n${logTail}`);
    return 1;
  } finally {
    await stage.clear(keep);
    for (const signal of signals) process.off(signal, onSignal);
  }
}
