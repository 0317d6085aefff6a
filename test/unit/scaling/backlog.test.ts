import { describe, expect, test } from 'vitest';
import { type BacklogInput, backlogOf } from '../../../src/scaling/backlog.ts';

const depth = (ready: number, inFlight = 0, delayed = 0) => ({ ready, inFlight, delayed, dead: 0 });

function reading(changes: Partial<BacklogInput>) {
  return backlogOf({
    at: new Date(0),
    queues: ['q'],
    depths: [depth(10, 2, 5)],
    tasks: { running: 2, pending: 1 },
    formula: 'work',
    runtimes: new Map(),
    concurrency: 1,
    ...changes,
  });
}

describe('the backlog of a task', () => {
  test("by 'work': what waits or runs, over tasks that run or start", () => {
    expect(reading({}).total).toMatchObject({ messages: 12, perTask: 4 });
  });

  test("by 'ready': what waits, over tasks that run, as hand-made monitors have it", () => {
    expect(reading({ formula: 'ready' }).total).toMatchObject({ messages: 10, perTask: 5 });
    expect(reading({ formula: 'ready', depths: [depth(7)], tasks: { running: 2, pending: 0 } }).total.perTask).toBe(
      3.5,
    );
  });

  test('without any task it is the whole backlog, and without any message 0: never NaN, never infinite', () => {
    const none = { running: 0, pending: 0 };
    for (const formula of ['work', 'ready'] as const) {
      expect(reading({ formula, tasks: none, depths: [depth(7)] }).total.perTask).toBe(7);
      expect(reading({ formula, tasks: none, depths: [depth(0)] }).total.perTask).toBe(0);
    }
  });

  test('messages without any task are told apart: not while one starts', () => {
    expect(reading({ tasks: { running: 0, pending: 0 } }).unserved).toBe(10);
    expect(reading({ tasks: { running: 0, pending: 1 } }).unserved).toBe(0);
    expect(reading({}).unserved).toBe(0);
  });

  test('in seconds: each queue by its own runtime, over the runs that go on at once', () => {
    const two = {
      queues: ['a', 'b'],
      depths: [depth(100), depth(10)],
      tasks: { running: 2, pending: 0 },
      concurrency: 5,
    };
    const runtimes = new Map([
      ['a', 0.5],
      ['b', 30],
    ]);
    const { queues, total } = reading({ ...two, runtimes });
    expect(queues.map(({ seconds }) => seconds)).toEqual([5, 30]);
    expect(total).toMatchObject({ queue: '*', seconds: 35, perTask: 55, ready: 110 });
    expect(reading({ ...two, runtimes: new Map([['a', 0.5]]) }).total.seconds).toBeUndefined();
    expect(reading({ ...two, depths: [depth(100), depth(0)], runtimes: new Map([['a', 0.5]]) }).total.seconds).toBe(5);
  });

  test('a queue that does not exist yet has nothing in it', () => {
    expect(reading({ depths: [undefined] }).total).toMatchObject({ ready: 0, perTask: 0 });
  });
});
