/**
 * Lovage on SQLite, as a peer of the side-by-side harness. Copied into the harness's `peers/`, it finds Lovage by the
 * environment variable LOVAGE_HOME: the folder of the repository.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
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

const scratch = join(import.meta.dirname, '..', '.run', 'lovage');

const all = ['w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7'];
const variants: Record<string, { query: string; concurrency: number; described: object }> = {
  'sqlite-c100': {
    query: '',
    concurrency: 100,
    described: {
      workloads: all,
      sleepConcurrency: 100,
      cores: 1,
      note: 'broker and results in one SQLite file; async pool, concurrency 100',
    },
  },
  'sqlite-c10': {
    query: '',
    concurrency: 10,
    described: {
      workloads: all,
      sleepConcurrency: 10,
      w4n: 400,
      cores: 1,
      note: 'the same, all defaults (concurrency 10)',
    },
  },
  'sqlite-full': {
    query: '?synchronous=full',
    concurrency: 100,
    described: {
      workloads: ['w1', 'w2'],
      cores: 1,
      note: 'concurrency 100, synchronous=full: a disk flush for each transaction',
    },
  },
};

function chosen(variant: string): { url: string; concurrency: number } {
  const found = variants[variant];
  if (!found) throw new Error(`there is no variant '${variant}'; there are ${Object.keys(variants).join(', ')}`);
  mkdirSync(scratch, { recursive: true });
  return { url: `sqlite://${join(scratch, 'bench.db')}${found.query}`, concurrency: found.concurrency };
}

/** A file of the Lovage repository. Asked for late, so that `describe` works without it. */
function home(...path: string[]): string {
  const folder = process.env.LOVAGE_HOME;
  if (!folder) throw new Error('LOVAGE_HOME is not set: let it name the folder of the Lovage repository');
  const file = join(folder, ...path);
  if (!existsSync(file)) throw new Error(`LOVAGE_HOME=${folder} is no Lovage repository: there is no ${join(...path)}`);
  return pathToFileURL(file).href;
}

const { definePeer } = (await import(new URL('../lib/peer.mjs', import.meta.url).href)) as Harness;

await definePeer({
  describe: {
    peer: 'lovage',
    broker: 'none',
    variants: Object.fromEntries(Object.entries(variants).map(([name, { described }]) => [name, described])),
  },
  async worker(variant) {
    const { url, concurrency } = chosen(variant);
    const { Worker } = (await import(home('src', 'index.ts'))) as typeof import('../../src/index.ts');
    const { benchApp } = (await import(home('bench', 'app.ts'))) as typeof import('../app.ts');
    const { app } = benchApp(url);
    await new Worker(app, { concurrency }).run();
    await app.close();
    process.exit(0);
  },
  async client(variant) {
    const { BenchClient } = (await import(home('bench', 'client.ts'))) as typeof import('../client.ts');
    const client = new BenchClient(chosen(variant).url);
    return {
      enqueue: (_variant: string, task: Task, arg: (i: number) => number, n: number, mode: Mode) =>
        client.enqueue(task, arg, n, mode),
      countDone: () => client.countDone(),
      span: () => client.span(),
      roundTrip: (_variant: string, i: number) => client.roundTrip(i),
      chords: (_variant: string, count: number, size: number) => client.chords(count, size),
      purge: async () => rmSync(scratch, { recursive: true, force: true }),
      close: () => client.close(),
    };
  },
});
