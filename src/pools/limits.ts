import type { PoolJob } from '../contracts/pool.ts';
import { ConfigError, SoftTimeLimitExceeded, TimeLimitExceeded } from '../errors.ts';
import { maxTimerMs } from '../util/sleep.ts';

/** The time limits of one job that runs. */
export interface JobLimits {
  /** The job has ended. */
  clear(): void;
}

/**
 * Measures the limits of a job from now on; `undefined` where it has none. Node's own timers do it: they are lists by
 * duration, so that beginning and ending one costs the same however many jobs run.
 */
export function startLimits(
  { timeLimitMs, softTimeLimitMs }: PoolJob<unknown>,
  onSoft: (error: SoftTimeLimitExceeded) => void,
  onHard: (error: TimeLimitExceeded) => void,
): JobLimits | undefined {
  if (timeLimitMs === undefined && softTimeLimitMs === undefined) return undefined;
  const soft = after(softTimeLimitMs, () => onSoft(new SoftTimeLimitExceeded((softTimeLimitMs ?? 0) / 1000)));
  const hard = after(timeLimitMs, () => onHard(new TimeLimitExceeded((timeLimitMs ?? 0) / 1000)));
  return {
    clear() {
      clearTimeout(soft);
      clearTimeout(hard);
    },
  };
}

/** What is wrong with the limits of a job: no positive times, or a soft one that would come too late. */
export function checkLimits({ timeLimitMs, softTimeLimitMs }: PoolJob<unknown>): ConfigError | undefined {
  for (const limit of [timeLimitMs, softTimeLimitMs]) {
    if (limit !== undefined && !(limit > 0)) {
      return new ConfigError(`Expected time limits above 0 ms, got ${limit}.`);
    }
  }
  if (timeLimitMs === undefined || softTimeLimitMs === undefined || softTimeLimitMs < timeLimitMs) return undefined;
  return new ConfigError(
    `Expected the soft time limit to be below the hard one, got ${softTimeLimitMs} and ${timeLimitMs} ms. Give the soft one less time, or the hard one more.`,
  );
}

function after(ms: number | undefined, then: () => void): NodeJS.Timeout | undefined {
  // Nobody waits for 25 days in a slot, and a longer timer would fire at once.
  if (ms === undefined || ms > maxTimerMs) return undefined;
  return setTimeout(then, ms).unref();
}
