import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from '../src/index.ts';
import { benchApp } from './app.ts';
import { BenchClient } from './client.ts';

/** Where Lovage is measured. */
export const targets = {
  sqlite: 'broker and results in one file, producer and worker in two processes',
  memory: 'producer and worker in one process',
} as const;
export type Target = keyof typeof targets;

/** A worker that was started. */
export interface StageWorker {
  readonly pid: number;
  /** Epoch milliseconds when its process began. */
  readonly bornAt: number;
  stop(): Promise<void>;
}

/** A fresh broker, a client of it, and room for one worker. */
export interface Stage extends AsyncDisposable {
  readonly client: BenchClient;
  /** The SQLite file, where there is one. */
  readonly file?: string;
  work(): Promise<StageWorker>;
}

/** Opens stages of one target. `folder` is for files, and is not cleaned here. */
export function stageOpener(target: Target, folder: string, concurrency: number): () => Promise<Stage> {
  return async () => {
    const stage = target === 'sqlite' ? sqliteStage(folder, concurrency) : memoryStage(concurrency);
    await stage.client.connect();
    return stage;
  };
}

function sqliteStage(folder: string, concurrency: number): Stage {
  const file = join(folder, `${randomUUID()}.db`);
  const url = `sqlite://${file}`;
  const client = new BenchClient(url);
  let worker: StageWorker | undefined;
  return {
    client,
    file,
    async work() {
      const bornAt = Date.now();
      const child = fork(join(import.meta.dirname, 'worker.ts'), [url, String(concurrency)]);
      worker = { pid: child.pid ?? 0, bornAt, stop: () => ended(child) };
      return worker;
    },
    async [Symbol.asyncDispose]() {
      await worker?.stop();
      await client.close();
    },
  };
}

function memoryStage(concurrency: number): Stage {
  const bench = benchApp(`memory://${randomUUID()}`);
  const client = new BenchClient(bench);
  let worker: Worker | undefined;
  const stop = async () => {
    await worker?.stop();
  };
  return {
    client,
    async work() {
      worker = new Worker(bench.app, { concurrency });
      await worker.start();
      return { pid: process.pid, bornAt: performance.timeOrigin, stop };
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await client.close();
    },
  };
}

/** Asks a worker process to stop, and kills it when it does not. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const late = new AbortController();
  await Promise.race([gone, sleep(5000, undefined, { signal: late.signal }).catch(() => {})]);
  late.abort();
  child.kill('SIGKILL');
  await gone;
}
