import type { PoolRunner } from '../src/contracts/pool.ts';

export interface BenchRequest {
  /** For so long it computes, by the clock. */
  readonly ms: number;
}

/** What children run for `pools.ts`. */
export function benchTasks(): PoolRunner<BenchRequest, unknown> {
  return {
    run({ ms }) {
      const end = performance.now() + ms;
      while (ms > 0 && performance.now() < end);
      return ms;
    },
  };
}
