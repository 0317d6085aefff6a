import type { Logger } from '../app/logger.ts';
import { ConfigError } from '../errors.ts';
import type { BacklogReading } from './backlog.ts';
import type { BacklogSink, ScalingTarget } from './target.ts';
import { newTracking, type TrackingPolicy, track } from './tracking.ts';

export interface ScalerOptions {
  readonly target: ScalingTarget;
  readonly policy: TrackingPolicy;
  /** Which number is held to the policy's target. */
  readonly metric: 'perTask' | 'seconds';
  readonly logger: Logger;
}

/**
 * Scales a service itself, where nobody else does: with a policy of the same kind as Application Auto Scaling's. Unlike
 * that it leaves zero by itself, and goes to zero only when nothing waits and nothing runs.
 */
export function scaler({ target, policy, metric, logger }: ScalerOptions): BacklogSink<BacklogReading> {
  let state = newTracking;
  let isKnown = true;
  return {
    name: `scaler of ${target.name}`,
    async take(reading, signal) {
      const { running, pending, desired: current = running + pending } = reading.tasks;
      const { total } = reading;
      const value = total[metric];
      if (value === undefined && isKnown)
        logger.warn(
          {},
          'how long tasks take is not known, so a latency says nothing: give the service time, or have workers report it (--report-runtimes)',
        );
      isKnown = value !== undefined;
      const next = track(state, { at: reading.at.getTime(), value, current }, policy);
      state = next.state;
      const least = total.ready + total.inFlight > 0 ? Math.max(1, policy.min) : policy.min;
      const desired = Math.min(policy.max, Math.max(least, next.desired));
      if (desired === current) return;
      await target.setDesired(desired, signal);
      const fields = { from: current, to: desired, waiting: total.ready, running: total.inFlight };
      logger.info(fields, `${target.name} is scaled ${desired > current ? 'out' : 'in'}`);
    },
    async close() {},
  };
}

/** Starts the first task of a service at zero, and leaves the rest to whoever scales it. */
export function starter(target: ScalingTarget, logger: Logger): BacklogSink<BacklogReading> {
  return {
    name: `starter of ${target.name}`,
    async take({ unserved, tasks }, signal) {
      if (unserved === 0 || (tasks.desired ?? 0) > 0) return;
      await target.setDesired(1, signal);
      logger.info({ waiting: unserved }, `the first task of ${target.name} is started`);
    },
    async close() {},
  };
}

/**
 * Checks the numbers of a policy.
 * @throws ConfigError
 */
export function checkPolicy({ target, min, max }: Pick<TrackingPolicy, 'target' | 'min' | 'max'>): void {
  if (!(target > 0) || !Number.isFinite(target))
    throw new ConfigError(`scaling policy: expected a target above 0, got ${target}`);
  for (const [name, value] of [
    ['min', min],
    ['max', max],
  ] as const)
    if (!Number.isInteger(value) || value < 0)
      throw new ConfigError(`scaling policy: expected ${name} to be a whole number from 0 up, got ${value}`);
  if (max < 1 || max < min)
    throw new ConfigError(`scaling policy: expected max to be at least 1 and not below min (${min}), got ${max}`);
}
