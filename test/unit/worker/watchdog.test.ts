import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { QueueDepth } from '../../../src/contracts/broker.ts';
import { StoreError, type WorkerStuckError } from '../../../src/errors.ts';
import { Watchdog } from '../../../src/worker/taking/watchdog.ts';
import { quiet } from '../../support/in-memory.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const minute = 60_000;
const holding = (ready: number): QueueDepth => ({ ready, inFlight: 0, delayed: 0, dead: 0 });

/** A watchdog beside a fetcher that has waited for ever and a queue with work; what it does is written down. */
function watch({ ready = 3, waitingMs = 90_000, overdue = false } = {}) {
  const fetcher = { steps: 0, waitingMs, overdue };
  const queue = { ready, count: async (): Promise<QueueDepth[]> => [holding(queue.ready)] };
  const done: string[] = [];
  const stuck: WorkerStuckError[] = [];
  const watchdog = new Watchdog({
    broker: {
      countMany: async () => {
        done.push('count');
        return queue.count();
      },
    },
    queues: ['celery', 'mail'],
    fetcher,
    intervalMs: minute,
    rebuild: async () => {
      done.push('rebuild');
    },
    onStuck: (error) => {
      done.push('stuck');
      stuck.push(error);
    },
    logger: { ...quiet, warn: (_, message) => done.push(message) },
  });
  watchdog.start();
  const pass = async (intervals: number) => {
    for (let i = 0; i < intervals; i += 1) await vi.advanceTimersByTimeAsync(minute);
  };
  return { fetcher, queue, done, stuck, watchdog, pass };
}

describe('the watchdog', () => {
  test('has the consumer made anew where messages wait and none comes, two looks in a row; then the worker is stuck', async () => {
    const { done, stuck, pass } = watch();
    const finding = '3 messages wait (celery, mail), slots are free, and nothing was received for 90 s';
    await pass(2);
    expect(done).toEqual(['count', 'count', `${finding}: the consumer is made anew`, 'rebuild']);
    await pass(10);
    expect(done.slice(4)).toEqual(['count', 'count', 'stuck']);
    expect(stuck).toMatchObject([{ code: 'WORKER_STUCK', message: expect.stringContaining(finding) }]);
  });

  test('does nothing about a worker that has nothing to fetch, and counts once in an interval', async () => {
    const { done, pass } = watch({ ready: 0 });
    await pass(5);
    expect(done).toEqual(Array(5).fill('count'));
  });

  test('does not even count while the worker is busy, fetches, or has lost its broker', async () => {
    const { done, pass } = watch({ waitingMs: 59_000 });
    await pass(5);
    expect(done).toEqual([]);
  });

  test('lets messages be that wait for a moment only: others may have taken them', async () => {
    const { queue, done, pass } = watch();
    for (let i = 0; i < 10; i += 1) {
      queue.ready = 1 - (i % 2);
      await pass(1);
    }
    expect(done).toEqual(Array(10).fill('count'));
  });

  test('a message that comes acquits the consumer, the old one as the new one', async () => {
    const { fetcher, done, pass } = watch();
    for (let i = 0; i < 5; i += 1) {
      await pass(1);
      fetcher.steps += 1;
    }
    expect(done).toEqual(Array(5).fill('count'));
    await pass(2);
    fetcher.steps += 1;
    await pass(2);
    expect(done.filter((one) => one === 'rebuild')).toHaveLength(2);
    expect(done).not.toContain('stuck');
  });

  test('a message that comes while the queues are counted acquits the consumer, too', async () => {
    const { fetcher, queue, done, pass } = watch();
    let counts = 0;
    queue.count = async () => {
      counts += 1;
      if (counts % 2 === 0) fetcher.steps += 1;
      return [holding(3)];
    };
    await pass(6);
    expect(done).toEqual(Array(6).fill('count'));
  });

  test('draws no conclusion from queues that cannot be counted', async () => {
    const { queue, done, pass } = watch();
    const count = queue.count;
    for (const fails of [false, true, false, true]) {
      queue.count = fails ? () => Promise.reject(new StoreError('gone')) : count;
      await pass(1);
    }
    expect(done).toEqual(Array(4).fill('count'));
  });

  test('notices a receive that never ends, also where the broker answers nothing at all', async () => {
    const { queue, done, pass } = watch({ overdue: true });
    queue.count = () => new Promise(() => {});
    await pass(10);
    expect(done.filter((one) => one !== 'count')).toEqual([
      'the broker does not answer (celery, mail), slots are free, and nothing was received for 90 s: the consumer is made anew',
      'rebuild',
      'stuck',
    ]);
  });

  test('is quiet once it is stopped', async () => {
    const { watchdog, done, pass } = watch();
    await pass(1);
    watchdog.stop();
    await pass(5);
    expect(done).toEqual(['count']);
  });
});
