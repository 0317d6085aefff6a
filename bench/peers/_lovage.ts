/**
 * What Lovage's peers of the side-by-side harness have in common; no peer itself. Copied with them into the harness's
 * `peers/`, it finds Lovage by the environment variable LOVAGE_HOME: the folder of the repository.
 */
import { existsSync } from 'node:fs';
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

/** One way to run the peer. */
export interface Variant {
  readonly concurrency: number;
  /** Default: the event loop. */
  readonly pool?: 'threads' | 'processes';
  /** What the harness is told of it. */
  readonly described: object;
  /** At the end of the broker's URL. */
  readonly query?: string;
}

/** A peer of the harness. */
export interface LovagePeer {
  readonly peer: string;
  /** The server that the harness starts, and empties between runs. */
  readonly broker: 'none' | 'redis';
  readonly variants: Readonly<Record<string, Variant>>;
  url(variant: Variant): string;
  /** Empties the broker, where the harness cannot. */
  purge?(): void;
}

/** Becomes the peer: does what the harness asks of this process. */
export async function lovagePeer({ peer, broker, variants, url, purge }: LovagePeer): Promise<void> {
  const { definePeer } = (await import(new URL('../lib/peer.mjs', import.meta.url).href)) as Harness;
  const described = Object.entries(variants).map(([name, variant]) => [name, variant.described]);
  const chosen = (name: string): Variant => {
    const variant = variants[name];
    if (!variant) throw new Error(`there is no variant '${name}'; there are ${Object.keys(variants).join(', ')}`);
    return variant;
  };
  await definePeer({
    describe: { peer, broker, variants: Object.fromEntries(described) },
    async worker(name) {
      const variant = chosen(name);
      const { Worker } = await home<typeof import('../../src/index.ts')>('src', 'index.ts');
      process.env.LOVAGE_BENCH_BROKER = url(variant);
      const { app } = await home<typeof import('../child-app.ts')>('bench', 'child-app.ts');
      const { concurrency, pool = 'async' } = variant;
      await new Worker(app, { concurrency, pool, appFile: homeFile('bench', 'child-app.ts') }).run();
      await app.close();
      process.exit(0);
    },
    async client(name) {
      const { BenchClient } = await home<typeof import('../client.ts')>('bench', 'client.ts');
      const client = new BenchClient(url(chosen(name)));
      // As the other peers do: what is measured are tasks, not the opening of connections.
      await client.connect();
      return {
        enqueue: (_variant: string, task: Task, arg: (i: number) => number, n: number, mode: Mode) =>
          client.enqueue(task, arg, n, mode),
        countDone: () => client.countDone(),
        span: () => client.span(),
        roundTrip: (_variant: string, i: number) => client.roundTrip(i),
        chords: (_variant: string, count: number, size: number) => client.chords(count, size),
        purge: async () => purge?.(),
        close: () => client.close(),
      };
    },
  });
}

/** A module of the Lovage repository. Asked for late, so that `describe` works without it. */
function home<Module>(...path: string[]): Promise<Module> {
  return import(pathToFileURL(homeFile(...path)).href);
}

function homeFile(...path: string[]): string {
  const folder = process.env.LOVAGE_HOME;
  if (!folder) throw new Error('LOVAGE_HOME is not set: let it name the folder of the Lovage repository');
  const file = join(folder, ...path);
  if (!existsSync(file)) throw new Error(`LOVAGE_HOME=${folder} is no Lovage repository: there is no ${join(...path)}`);
  return file;
}
