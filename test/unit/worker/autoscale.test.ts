import { describe, expect, test } from 'vitest';
import { autoscaleKind } from '../../../src/app/autoscale.ts';
import {
  type Machine,
  noHistory,
  rescale,
  type ScaleHistory,
  type ScaleLook,
  strainOf,
} from '../../../src/worker/running/autoscale-policy.ts';

const keepAliveMs = 30_000;

/** A worker with a clock of its own that is looked at once a second. */
class Clock {
  slots: number;
  readonly #range: readonly [number, number];
  #history: ScaleHistory = noHistory;
  #at = 0;

  constructor(range: readonly [max: number, min: number], slots = range[1]) {
    this.#range = range;
    this.slots = slots;
  }

  /** Looks for so many seconds; returns the sizes that it had, each once. */
  pass(seconds: number, look: Partial<ScaleLook>): number[] {
    const sizes = [this.slots];
    for (let i = 0; i < seconds; i += 1) {
      this.#at += 1000;
      const seen = { at: this.#at, slots: this.slots, busy: 0, waiting: 0, ...look };
      const busy = Math.min(seen.busy, this.slots);
      const step = rescale(this.#history, { needed: busy, ...seen, busy }, this.#range, keepAliveMs);
      this.#history = step.history;
      if (step.slots !== this.slots) expect(step.reason).toMatch(/\w/);
      this.slots = step.slots;
      if (sizes.at(-1) !== this.slots) sizes.push(this.slots);
    }
    return sizes;
  }
}

const much = { busy: 1000, waiting: 1000 };

describe('how many slots a worker has', () => {
  test('more while all are busy and messages wait, at most twice as many at once, and never more than the most', () => {
    expect(new Clock([10, 3]).pass(20, much)).toEqual([3, 6, 10]);
  });

  test('no more than messages wait', () => {
    expect(new Clock([10, 3]).pass(1, { busy: 3, waiting: 1 })).toEqual([3, 4]);
    expect(new Clock([10, 3]).pass(20, { busy: 3, waiting: 0 })).toEqual([3]);
    expect(new Clock([10, 3]).pass(20, { busy: 2, waiting: 5 })).toEqual([3]);
  });

  test('those that nobody needed for the keep-alive time go, not earlier, and never below the least', () => {
    const clock = new Clock([10, 3]);
    clock.pass(5, much);
    expect(clock.pass(29, { busy: 0 })).toEqual([10]);
    expect(clock.pass(5, { busy: 0 })).toEqual([10, 3]);
    expect(clock.pass(300, { busy: 0 })).toEqual([3]);
  });

  test('as many stay as were busy at any moment of that time', () => {
    const clock = new Clock([10, 1], 10);
    for (let i = 0; i < 10; i += 1) {
      clock.pass(1, { busy: 7 });
      clock.pass(9, { busy: 0 });
    }
    expect(clock.slots).toBe(7);
    expect(clock.pass(40, { busy: 2 })).toEqual([7, 2]);
  });

  test('a slot whose thread or process is still starting is kept for the task that waits for it, and none is added', () => {
    const clock = new Clock([10, 1]);
    clock.pass(1, much);
    expect(clock.pass(90, { busy: 1, needed: 2, waiting: 1000 })).toEqual([2]);
  });

  test('it grows again as soon as messages wait', () => {
    const clock = new Clock([10, 3]);
    clock.pass(5, much);
    clock.pass(60, { busy: 0 });
    expect(clock.pass(5, much)).toEqual([3, 6, 10]);
  });

  test('under a strain it does not grow; one that lasts takes a quarter each time, down to the least, and then it waits', () => {
    const late = { ...much, strain: 'the event loop is late' };
    expect(new Clock([10, 3]).pass(20, late)).toEqual([3]);
    const clock = new Clock([10, 3], 10);
    expect(clock.pass(1, late)).toEqual([10]);
    expect(clock.pass(1, much)).toEqual([10]);
    expect(clock.pass(10, late)).toEqual([10, 7, 5, 3]);
    expect(clock.pass(29, much)).toEqual([3]);
    expect(clock.pass(5, much)).toEqual([3, 6, 10]);
  });

  test('a worker outside of its range is brought back into it', () => {
    expect(new Clock([10, 3], 1).pass(1, {})).toEqual([1, 3]);
    expect(new Clock([10, 3], 50).pass(1, much)).toEqual([50, 10]);
  });
});

describe('what is a strain', () => {
  const mib = 1024 ** 2;
  const healthy: Machine = {
    loopUse: 0.5,
    lateMs: 3,
    freeBytes: 900 * mib,
    totalBytes: 1000 * mib,
    residentBytes: 100 * mib,
    maxBytes: Number.POSITIVE_INFINITY,
  };

  test.each<[string, Partial<Machine>, boolean, string | undefined]>([
    ['nothing', {}, true, undefined],
    ['a busy event loop, where tasks run there', { loopUse: 0.97 }, true, 'the event loop is busy 97 % of the time'],
    ['a late event loop, where tasks run there', { lateMs: 400 }, true, 'the event loop is 400 ms late'],
    ['a busy event loop, where tasks run in children', { loopUse: 1, lateMs: 900 }, false, undefined],
    ['a machine without memory', { freeBytes: 20 * mib }, false, 'memory is short: 20 MiB of 1000 MiB are left'],
    [
      'a worker that has more than it may',
      { maxBytes: 90 * mib },
      false,
      'the worker has 100 MiB of memory, and is to have 90 MiB at most',
    ],
  ])('%s', (_name, machine, onLoop, told) => {
    expect(strainOf({ ...healthy, ...machine }, onLoop)).toBe(told);
  });
});

describe('the range', () => {
  test.each<[string, readonly number[]]>([
    ['10,3', [10, 3]],
    [' 4 , 4 ', [4, 4]],
    ['10', [10, 1]],
  ])('%j is read as Celery reads it', (text, range) => {
    expect(autoscaleKind.parse(text)).toEqual(range);
  });

  test.each(['3,10', '0', '3,0', '-3,1', '3,-1', 'NaN,1', 'many', '3,', ',3', '', '10,3,1', '2.5,1', '1e9,1'])(
    '%j is none',
    (text) => {
      expect(autoscaleKind.parse(text)).toBeUndefined();
    },
  );

  test.each<[unknown]>([[[3, 10]], [[0, 0]], [[3, 0]], [[3]], [[Number.NaN, 1]], [[3, Number.NaN]], ['10,3'], [10]])(
    '%j is none',
    (value) => {
      expect(autoscaleKind.is(value)).toBe(false);
    },
  );
});
