import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { StoreError } from '../../../src/errors.ts';
import { Line } from '../../../src/stores/sqs/line.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** How often a line would be asked in ten minutes in which nothing comes. */
function polls(lines: number, idleMs: number, waitMs = 20_000): number {
  const line = new Line('q');
  let count = 0;
  for (const end = performance.now() + 600_000; performance.now() < end; ) {
    if (line.wants(10, performance.now(), false) > 0) {
      count += 1;
      vi.advanceTimersByTime(waitMs);
      line.answered(0, 10, waitMs, { lines, waitMs, idleMs });
    } else vi.advanceTimersByTime(100);
  }
  return count;
}

describe('an idle queue', () => {
  test('that is alone is asked three times a minute', () => {
    expect(polls(1, 10_000)).toBe(30);
  });

  test('beside others pauses, but never longer than it may', () => {
    expect(polls(2, 10_000)).toBe(20);
    expect(polls(8, 10_000)).toBe(20);
    expect(polls(8, 40_000)).toBe(10);
    expect(polls(8, 0)).toBe(30);
  });
});

test('the end of a burst makes no pause: a queue is waited at again at once', () => {
  const line = new Line('q');
  line.answered(10, 10, 20_000, { lines: 2, waitMs: 20_000, idleMs: 10_000 });
  line.answered(0, 10, 1000, { lines: 2, waitMs: 20_000, idleMs: 10_000 });
  expect(line.wants(10, performance.now(), false)).toBe(10);
});

test('a queue that is full is asked several times at once, for whole batches', () => {
  const line = new Line('q');
  expect(line.wants(3, 0, false)).toBe(3);
  line.answered(10, 10, 20_000, { lines: 1, waitMs: 20_000, idleMs: 0 });
  line.polls.set(Promise.resolve(), 10);
  expect(line.wants(40, 0, false)).toBe(10);
  expect(line.wants(9, 0, false)).toBe(0);
  line.answered(4, 10, 20_000, { lines: 1, waitMs: 20_000, idleMs: 0 });
  expect(line.wants(40, 0, false)).toBe(0);
});

test('a queue that fails is asked less and less, and told of once a minute', () => {
  const line = new Line('q');
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    line.failed(new StoreError('down'));
    waits.push(line.nextAt - performance.now());
  }
  expect(waits.at(0)).toBeLessThanOrEqual(500);
  expect(waits.at(-1)).toBeGreaterThanOrEqual(5000);
  expect([line.tells(), line.tells()]).toEqual([true, false]);
  vi.advanceTimersByTime(60_000);
  expect(line.tells()).toBe(true);
});
