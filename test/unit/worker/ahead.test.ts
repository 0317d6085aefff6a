import { describe, expect, test } from 'vitest';
import { Ahead } from '../../../src/worker/running/ahead.ts';

function aheadOf(tookMs: number): Ahead {
  const ahead = new Ahead(true, () => {});
  ahead.ended(tookMs);
  return ahead;
}

describe('what is held ahead', () => {
  test.each([
    [1, 20],
    [20, 10],
    [60, 4],
    [99, 4],
    [100, 0],
    [5_000, 0],
  ])('of tasks that take %i ms is what two slots do in a tenth of a second: %i', (tookMs, held) => {
    expect(aheadOf(tookMs).size(2)).toBe(held);
  });

  test('is nothing before a task has ended, and where bursts are off', () => {
    expect(new Ahead(true, () => {}).size(2)).toBe(0);
    const off = new Ahead(false, () => {});
    off.ended(1);
    expect(off.size(2)).toBe(0);
  });

  test('is fetched again when half of it is gone', () => {
    const ahead = aheadOf(20);
    expect(ahead.isEnough(6, 2)).toBe(true);
    expect(ahead.isEnough(5, 2)).toBe(false);
  });
});
