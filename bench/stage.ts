import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from '../src/index.ts';
import { startRedis } from '../test/support/redis-server.ts';
import { benchApp } from './app.ts';
import { BenchClient, type StageClient } from './client.ts';
import { FloorClient } from './floor-client.ts';
import { RedisProbe } from './redis-probe.ts';
import type { Target } from './targets.ts';
import { ownUsage, type StageWorker, startWorker } from './worker-process.ts';

/** A fresh broker, a client of it, and room for one worker. */
export interface Stage extends AsyncDisposable {
  readonly client: StageClient;
  /** On Redis. */
  readonly probe?: RedisProbe;
  /** Bytes of the store, where it is outside of this process. */
  bytes?(): Promise<number>;
  work(): Promise<StageWorker>;
}

/** How stages are made. */
export interface StageOptions {
  /** For files; not cleaned here. */
  readonly folder: string;
  readonly concurrency: number;
  /** Whether worker processes count their round trips to Redis. */
  readonly counting?: boolean;
}

/** Opens a stage of one target. */
export async function openStage(target: Target, options: StageOptions): Promise<Stage> {
  if (target === 'memory') return connected(memoryStage(options));
  if (target === 'sqlite') return connected(sqliteStage(options));
  return connected(await redisStage(target, options));
}

async function connected(stage: Stage): Promise<Stage> {
  await stage.client.connect();
  return stage;
}

function sqliteStage(options: StageOptions): Stage {
  const file = join(options.folder, `${randomUUID()}.db`);
  const url = `sqlite://${file}`;
  const stack = new AsyncDisposableStack();
  return {
    client: stack.use(new BenchClient(url)),
    bytes: async () => sizeOf(file) + sizeOf(`${file}-wal`),
    work: async () => workerOf(stack, 'worker.ts', url, options),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function redisStage(target: Target, options: StageOptions): Promise<Stage> {
  await using opening = new AsyncDisposableStack();
  const { url } = opening.use(await startRedis());
  const probe = opening.adopt(await RedisProbe.open(url), (opened) => opened.close());
  const client = opening.use(target === 'floor' ? new FloorClient(url) : new BenchClient(url));
  const stack = opening.move();
  return {
    client,
    probe,
    bytes: () => probe.bytes(),
    work: async () => workerOf(stack, target === 'floor' ? 'floor-worker.ts' : 'worker.ts', url, options),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function memoryStage({ concurrency }: StageOptions): Stage {
  const bench = benchApp(`memory://${randomUUID()}`);
  const client = new BenchClient(bench);
  const stack = new AsyncDisposableStack();
  stack.use(client);
  return {
    client,
    async work() {
      const worker = new Worker(bench.app, { concurrency });
      await worker.start();
      const stop = async () => {
        await worker.stop();
      };
      stack.defer(stop);
      return { pid: process.pid, bornAt: performance.timeOrigin, usage: async () => ownUsage(0), stop };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Starts a worker process, which ends before all else of the stage. */
function workerOf(
  stack: AsyncDisposableStack,
  script: string,
  url: string,
  { concurrency, counting = false }: StageOptions,
): StageWorker {
  return stack.adopt(startWorker(script, { url, concurrency, counting }), (worker) => worker.stop());
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
