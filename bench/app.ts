import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lovage, type LovageOptions } from '../src/index.ts';

/** The application that is measured: Lovage with its defaults and the four tasks of the benchmarks. */
export function benchApp(broker: string, options: LovageOptions = {}) {
  const app = new Lovage('bench', { broker, ...options });
  return {
    app,
    noop: app.task('bench.noop', (i: number) => i),
    cpu: app.task('bench.cpu', burn),
    sleep: app.task('bench.sleep', async (ms: number) => {
      await sleep(ms);
      return ms;
    }),
    sum: app.task('bench.sum', (terms: number[]) => terms.reduce((a, b) => a + b, 0)),
  };
}

export type BenchApp = ReturnType<typeof benchApp>;

/** Tasks of one number, for the bulk workloads. */
export type BenchTask = 'noop' | 'cpu' | 'sleep';

/** Keeps a core busy: so many rounds of sha256, each on the digest of the one before. */
export function burn(rounds: number): number {
  let digest = Buffer.alloc(32);
  for (let round = 0; round < rounds; round++) digest = createHash('sha256').update(digest).digest();
  return rounds;
}

/** How many rounds of {@link burn} take `ms` of processor time here, undisturbed: by the quickest of nine tries. */
export function roundsFor(ms: number): number {
  const trial = 40_000;
  burn(trial / 2);
  const tries = Array.from({ length: 9 }, () => {
    const before = process.cpuUsage();
    burn(trial);
    const { user, system } = process.cpuUsage(before);
    return user + system;
  });
  return Math.round((trial * ms * 1000) / Math.min(...tries));
}
