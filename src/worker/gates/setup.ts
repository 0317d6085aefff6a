import type { LovageApp } from '../../app/app.ts';
import type { Results } from '../../app/results/results.ts';
import { limitsOf, needsStore } from '../../app/tasks/limits.ts';
import { ConfigError } from '../../errors.ts';
import { Claims, type ClaimsOptions } from './claims.ts';

/** How long it is remembered that a task ran once: as long as results are kept, but for a day at least. */
const finishedAtLeastMs = 24 * 3600 * 1000;
const foreverMs = 1e12;

/**
 * The claims of a worker; `undefined` where its result backend keeps none.
 * @throws ConfigError where a task needs them all the same
 */
export function claimsFor(
  app: LovageApp,
  results: Results,
  leaseMs: number,
  onLost: ClaimsOptions['onLost'],
): Claims | undefined {
  const { backend, ttlMs = foreverMs } = results;
  const { logger } = app;
  if (backend?.limits) {
    const finishedMs = Math.max(ttlMs, finishedAtLeastMs);
    return new Claims({ backend, limits: backend.limits, leaseMs, finishedMs, onLost, logger });
  }
  if (needsClaims(app)) throw new ConfigError(noStore(results));
  return undefined;
}

/** Whether a task of the application has limits that all workers share. */
export function needsClaims(app: LovageApp): boolean {
  return [...app.tasks.values()].some(({ options }) => {
    const limits = limitsOf(options);
    return limits !== undefined && needsStore(limits);
  });
}

/** What is said where limits cannot be kept. */
export function noStore({ backend }: Results): string {
  const got = backend ? `${backend.name} keeps none` : 'this application has none (backend: false)';
  return `once, serial and rates over all workers need a result backend that keeps claims and rates; ${got}`;
}
