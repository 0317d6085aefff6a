import { setTimeout as sleep } from 'node:timers/promises';
import type { AsyncResult } from '../../src/index.ts';
import type { Progress } from './import-log.ts';
import type { WorkerView } from './screen.ts';
import { readSource } from './source.ts';
import { LEASE_SECONDS, type Stage } from './stage.ts';
import { summaryTable } from './summary.ts';
import { count, paint, plural } from './text.ts';
import { isRight, verify } from './verify.ts';

const STALLED_MS = 30_000;

/** The demo itself: import, kill on the way, check. Returns the exit status. */
export async function demo(stage: Stage): Promise<number> {
  const { app, screen, sources, workers } = stage;
  await stage.startAll();
  screen.event(`${[...workers.values()].map(({ name, pid }) => `${name} (pid ${pid})`).join(' and ')} are ready`);

  const startedAt = performance.now();
  const files = await app.sendMany(
    'csv.importFile',
    sources.map(({ path }) => [path]),
  );
  screen.event(`sent ${plural(files.length, 'task')}, one a file; each sends a task for every 250 rows`);
  const kills = await watch(stage, imported(files));
  const importSeconds = (performance.now() - startedAt) / 1000;

  await stage.stopAll();
  screen.event('all done; both workers have ended with status 0 after SIGTERM');
  screen.close();
  return report(stage, kills, importSeconds);
}

/** Waits for the file tasks, and for the chunk tasks that they have sent. */
async function imported(files: readonly AsyncResult[]): Promise<void> {
  await Promise.all(files.map((file) => file.get()));
  const chunks = await Promise.all(files.map((file) => file.children));
  await Promise.all(chunks.flat().map((chunk) => chunk.get()));
}

/** Shows the progress until the import is over. Kills a worker when a third is in, and starts it anew. Returns the kills. */
async function watch(stage: Stage, importing: Promise<void>): Promise<number> {
  const { log, screen, options, failure } = stage;
  let over = false;
  const ending = importing.finally(() => {
    over = true;
  });
  // Awaited below.
  ending.catch(() => {});
  let kills = 0;
  let returned = false;
  let restarting: Promise<void> = Promise.resolve();
  let last = { rows: -1, at: performance.now() };
  while (!over) {
    failure.throwIfAborted();
    const progress = log.progress();
    screen.show(progress, views(stage));
    if (progress.rows > last.rows) last = { rows: progress.rows, at: performance.now() };
    if (performance.now() - last.at > STALLED_MS) throw new Error(`nothing was stored for ${STALLED_MS / 1000} s`);
    const victim = kills === 0 && progress.rows >= stage.total / 3 ? busyWorker(stage, progress) : undefined;
    if (victim) {
      kills += 1;
      restarting = killAndRestart(stage, victim);
      // Awaited below, unless the demo fails before.
      restarting.catch(() => {});
    }
    if (!returned && progress.redelivered > 0) {
      returned = true;
      screen.event(paint('green', `what it held is delivered again: the lease of ${LEASE_SECONDS} s is over`));
    }
    await Promise.race([sleep(options.fast ? 30 : 80), ending]);
  }
  await ending;
  await restarting;
  screen.show(log.progress(), views(stage));
  return kills;
}

/** A worker that has stored something, and so has something in its hands. */
function busyWorker({ workers }: Stage, { chunksByWorker }: Progress): string | undefined {
  return [...workers.keys()].find((name) => (chunksByWorker.get(name) ?? 0) > 0);
}

async function killAndRestart(stage: Stage, name: string): Promise<void> {
  const { screen, options, workers } = stage;
  const worker = workers.get(name);
  if (!worker) return;
  await stage.kill(worker);
  screen.event(paint(['red', 'bold'], `kill -9 ${worker.pid}: ${name} is dead, in the middle of its work`));
  await sleep(options.fast ? 100 : 1200);
  const successor = stage.start(name);
  await successor.ready;
  screen.event(`${name} is back (pid ${successor.pid})`);
}

function views({ workers }: Stage): WorkerView[] {
  return [...workers.values()].map(({ name, pid, state }) => ({ name, pid, state }));
}

/** Reads the sources again, compares every row with the table, and tells. */
function report(stage: Stage, kills: number, importSeconds: number): number {
  const { log, options } = stage;
  const sources = stage.sources.map(({ path }) => readSource(path));
  const verdicts = verify(sources, log.db);
  console.log();
  console.log(
    summaryTable(
      verdicts.map((verdict) => [log.file(verdict.file), verdict]),
      importSeconds,
    ),
  );

  const sum = (of: 'rowsIn' | 'rowsStored' | 'lost' | 'doubled' | 'changed') =>
    verdicts.reduce((all, verdict) => all + verdict[of], 0);
  const same = verdicts.filter(({ sha256: [source, stored] }) => source === stored).length;
  const { chunks, redelivered, storedAgain } = log.progress();
  console.log(`
  ${plural(verdicts.length, 'file task')} and ${plural(chunks, 'chunk task')}. ${killText(kills, redelivered, storedAgain)}
  Each row was compared with its file: SHA-256 is the same for ${same} of ${verdicts.length} files.`);
  const right = verdicts.every(isRight);
  const changed = sum('changed') > 0 ? `, ${count(sum('changed'))} changed` : '';
  const line = `${count(sum('rowsIn'))} rows in, ${count(sum('rowsStored'))} rows stored, ${sum('lost')} lost, ${sum('doubled')} doubled${changed}`;
  console.log(`\n  ${paint(right ? ['green', 'bold'] : ['red', 'bold'], line)}\n`);
  if (options.json) {
    const seconds = Math.round(performance.now()) / 1000;
    const numbers = {
      rowsIn: sum('rowsIn'),
      rowsStored: sum('rowsStored'),
      lost: sum('lost'),
      doubled: sum('doubled'),
    };
    console.log(JSON.stringify({ files: verdicts.length, ...numbers, kills, seconds }));
  }
  return right ? 0 : 1;
}

function killText(kills: number, redelivered: number, storedAgain: number): string {
  if (kills === 0) return 'No worker was killed: the import was over too soon.';
  const killed = `${plural(kills, 'worker')} killed with ${plural(redelivered, 'chunk')} in hand`;
  if (redelivered === 0) return `${killed}.`;
  const share = storedAgain === 0 ? 'none' : storedAgain < redelivered ? `${storedAgain} of them` : 'all';
  return `${killed},\n  which ran again: ${share} had been stored already${storedAgain === 0 ? '' : '; the same rows were written over'}.`;
}
