/** What a target-tracking policy is told. Times are in milliseconds. */
export interface TrackingPolicy {
  /** The value that the metric should have. Above 0. */
  readonly target: number;
  readonly min: number;
  readonly max: number;
  /** After tasks were added, more are added only for more work than those were meant for. */
  readonly scaleOutCooldownMs: number;
  /** After tasks were taken away, no more are taken for so long. */
  readonly scaleInCooldownMs: number;
  /** Values in a row above the target before tasks are added. AWS: 3, of a minute each. */
  readonly outPoints: number;
  /** Values in a row below `inBelow` of the target before tasks are taken away. AWS: 15. */
  readonly inPoints: number;
  /** Which part of the target counts as "well below". AWS: 0.9. */
  readonly inBelow: number;
  /** The largest part of the tasks that is taken away at once; one task always may be. 1: as many as the metric says. */
  readonly inStep: number;
}

/**
 * What is known of Application Auto Scaling: 3 minutes up, 15 minutes down, at 90 % of the target. Its documentation says
 * that it takes tasks away more gradually than it adds them, and not how; 0.3 is what a published walk-through shows (10 to 7).
 */
export const awsTracking = { outPoints: 3, inPoints: 15, inBelow: 0.9, inStep: 0.3 };

/** What a policy remembers from one value to the next: plain data. */
export interface TrackingState {
  /** The latest values, the newest last; `undefined` where none came. */
  readonly points: readonly (number | undefined)[];
  /** The last growth: from how many tasks, and until when its cooldown lasts. */
  readonly grown: { readonly from: number; readonly until: number } | undefined;
  readonly noScaleInUntil: number;
}

/** A policy that has seen nothing yet. */
export const newTracking: TrackingState = {
  points: [],
  grown: undefined,
  noScaleInUntil: Number.NEGATIVE_INFINITY,
};

/** One look at the metric. */
export interface TrackingLook {
  /** Any clock in milliseconds. */
  readonly at: number;
  /** The metric; `undefined` where there is none: then nothing is done. */
  readonly value: number | undefined;
  /** How many tasks are wanted now. */
  readonly current: number;
}

/**
 * Decides how many tasks there should be: the present number times metric over target, rounded up, once the metric was
 * above (or well below) the target for long enough. From 0 it never adds any: 0 times something is 0, as on AWS.
 */
export function track(
  state: TrackingState,
  { at, value, current }: TrackingLook,
  policy: TrackingPolicy,
): { readonly state: TrackingState; readonly desired: number } {
  const keep = Math.max(policy.outPoints, policy.inPoints);
  const points = [...state.points, value].slice(-keep);
  const next = { ...state, points };
  const bounded = Math.min(policy.max, Math.max(policy.min, current));
  if (value === undefined) return { state: next, desired: bounded };
  if (lasts(points, policy.outPoints, (point) => point > policy.target)) {
    const cools = state.grown !== undefined && at < state.grown.until;
    const from = cools ? state.grown.from : current;
    const desired = Math.min(policy.max, Math.max(bounded, Math.ceil((from * value) / policy.target)));
    if (desired <= current) return { state: next, desired };
    const grown = { from, until: at + policy.scaleOutCooldownMs };
    return { state: { ...next, grown, noScaleInUntil: Number.NEGATIVE_INFINITY }, desired };
  }
  const isLow = lasts(points, policy.inPoints, (point) => point < policy.inBelow * policy.target);
  if (!isLow || at < state.noScaleInUntil) return { state: next, desired: bounded };
  const atOnce = Math.min(current - 1, Math.ceil(current * (1 - policy.inStep)));
  const wanted = Math.max(atOnce, Math.ceil((current * value) / policy.target));
  const desired = Math.min(bounded, Math.max(policy.min, wanted));
  if (desired >= current) return { state: next, desired };
  return { state: { ...next, grown: undefined, noScaleInUntil: at + policy.scaleInCooldownMs }, desired };
}

/** Whether the last `count` values are all there and all so. */
function lasts(points: readonly (number | undefined)[], count: number, is: (point: number) => boolean): boolean {
  if (points.length < count) return false;
  return points.slice(-count).every((point) => point !== undefined && is(point));
}
