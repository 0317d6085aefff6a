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

/**
 * Keeps a core busy: so many rounds of a hundred steps of a random number generator. It allocates nothing: garbage is
 * collected by helper threads on the other cores, so that a body that makes some takes more than its own core.
 */
export function burn(rounds: number): number {
  let x = 1;
  for (let step = rounds * 100; step > 0; step--) x = (Math.imul(x, 1_664_525) + 1_013_904_223) | 0;
  return x === 0 ? 0 : rounds;
}

/**
 * How many rounds of {@link burn} keep a core busy for `ms` when nothing else disturbs it: by the quickest of many short
 * tries. By the clock, for the processor time of a process counts its compiler's threads too.
 */
export function roundsFor(ms: number): number {
  const trial = 5000;
  const tries = Array.from({ length: 50 }, () => {
    const start = performance.now();
    burn(trial);
    return performance.now() - start;
  });
  return Math.round((trial * ms) / Math.min(...tries));
}
