/**
 * Lovage on Redis, as a peer of the side-by-side harness, which starts the Redis and empties it between runs. Copied into
 * the harness's `peers/`, it finds Lovage by the environment variable LOVAGE_HOME: the folder of the repository.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

type Task = import('../app.ts').BenchTask;
type Mode = 'bulk' | 'await';

/** What the harness supplies. */
interface Harness {
  definePeer(peer: {
    describe: object;
    worker(variant: string): Promise<void>;
    client(variant: string): Promise<object>;
  }): Promise<void>;
}

const variants: Record<string, { concurrency: number; described: object }> = {
  c100: {
    concurrency: 100,
    described: { workloads: ['w1', 'w2', 'w4', 'w5', 'w6', 'w7'], sleepConcurrency: 100, cores: 1 },
  },
  c10: {
    concurrency: 10,
    described: { workloads: ['w1', 'w2', 'w5'], sleepConcurrency: 10, cores: 1, note: 'all defaults' },
  },
};

const url = `redis://127.0.0.1:${process.env.BENCH_REDIS_PORT ?? '6391'}/0`;

/** A module of the Lovage repository. Asked for late, so that `describe` works without it. */
function home<T>(...path: string[]): Promise<T> {
  const folder = process.env.LOVAGE_HOME;
  if (!folder) throw new Error('LOVAGE_HOME is not set: let it name the folder of the Lovage repository');
  return import(pathToFileURL(join(folder, ...path)).href);
}

const { definePeer } = (await import(new URL('../lib/peer.mjs', import.meta.url).href)) as Harness;

await definePeer({
  describe: {
    peer: 'lovage-redis',
    broker: 'redis',
    variants: Object.fromEntries(Object.entries(variants).map(([name, { described }]) => [name, described])),
  },
  async worker(variant) {
    const { Worker } = await home<typeof import('../../src/index.ts')>('src', 'index.ts');
    const { benchApp } = await home<typeof import('../app.ts')>('bench', 'app.ts');
    const { app } = benchApp(url);
    await new Worker(app, { concurrency: variants[variant]?.concurrency ?? 10 }).run();
    await app.close();
    process.exit(0);
  },
  async client() {
    const { BenchClient } = await home<typeof import('../client.ts')>('bench', 'client.ts');
    const client = new BenchClient(url);
    return {
      enqueue: (_variant: string, task: Task, arg: (i: number) => number, n: number, mode: Mode) =>
        client.enqueue(task, arg, n, mode),
      countDone: () => client.countDone(),
      span: () => client.span(),
      roundTrip: (_variant: string, i: number) => client.roundTrip(i),
      chords: (_variant: string, count: number, size: number) => client.chords(count, size),
      close: () => client.close(),
    };
  },
});
