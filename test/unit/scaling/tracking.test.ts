import { describe, expect, test } from 'vitest';
import {
  awsTracking,
  newTracking,
  type TrackingPolicy,
  type TrackingState,
  track,
} from '../../../src/scaling/tracking.ts';

const policy: TrackingPolicy = {
  ...awsTracking,
  target: 100,
  min: 1,
  max: 10,
  scaleOutCooldownMs: 60_000,
  scaleInCooldownMs: 60_000,
};

/** Plays values, one a minute, and gives how many tasks are wanted after each. */
function play(
  values: readonly (number | undefined)[],
  current: number,
  changes: Partial<TrackingPolicy> = {},
): number[] {
  let state: TrackingState = newTracking;
  return values.map((value, i) => {
    const next = track(state, { at: i * 60_000, value, current }, { ...policy, ...changes });
    state = next.state;
    current = next.desired;
    return current;
  });
}

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe('target tracking', () => {
  test('adds tasks in proportion after three values above the target, not before', () => {
    expect(play([250, 250, 250], 2)).toEqual([2, 2, 5]);
    expect(play([250, 250, 90, 250, 250, 250], 2)).toEqual([2, 2, 2, 2, 2, 5]);
    expect(play(times(3, 101), 2)).toEqual([2, 2, 3]);
  });

  test('goes up to the maximum, and pulls back what is beyond the bounds', () => {
    expect(play(times(3, 1e6), 1).at(-1)).toBe(10);
    expect(play([100], 20)).toEqual([10]);
    expect(play([100], 0)).toEqual([1]);
  });

  test('takes tasks away only after fifteen values below 90 % of the target, gradually', () => {
    expect(play(times(20, 0), 10)).toEqual([...times(14, 10), 7, 5, 4, 3, 2, 1]);
    expect(play(times(40, 95), 10).at(-1)).toBe(10);
    expect(play([...times(14, 0), 95, ...times(14, 0)], 10).at(-1)).toBe(10);
  });

  test('takes all away at once where it is told to', () => {
    expect(play(times(16, 0), 10, { inStep: 1, min: 0 })).toEqual([...times(14, 10), 0, 0]);
  });

  test('does nothing without values, not even scale in', () => {
    expect(play(times(30, undefined), 10).at(-1)).toBe(10);
    expect(play([...times(14, 0), undefined, ...times(14, 0)], 10).at(-1)).toBe(10);
  });

  test('never leaves zero: zero times something is zero', () => {
    expect(play(times(30, 1e6), 0, { min: 0 }).at(-1)).toBe(0);
  });

  test('in the cooldown of a growth it grows only for more work than that was meant for', () => {
    const calm = { scaleOutCooldownMs: 300_000 };
    expect(play([200, 200, 200, 200, 200], 2, calm)).toEqual([2, 2, 4, 4, 4]);
    expect(play([200, 200, 200, 400, 400], 2, calm)).toEqual([2, 2, 4, 8, 8]);
    expect(play(times(9, 200), 1, calm)).toEqual([1, 1, 2, 2, 2, 2, 2, 4, 4]);
  });

  test('rests after taking away, and grows all the same', () => {
    const calm = { scaleInCooldownMs: 180_000 };
    expect(play(times(21, 0), 10, calm).slice(14)).toEqual([7, 7, 7, 5, 5, 5, 4]);
    expect(play([...times(15, 0), 500, 500, 500], 10, calm).slice(14)).toEqual([7, 7, 7, 10]);
  });
});
