import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Broker } from '../../../src/contracts/broker.ts';
import type { Lease } from '../../../src/contracts/message.ts';
import { LeaseLostError, StoreError } from '../../../src/errors.ts';
import { bundle, LeaseBook } from '../../../src/worker/leases/lease-book.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Just what the book uses of a broker: it writes down what is extended. */
function recorder(answer: (leases: readonly Lease[]) => Awaited<ReturnType<Broker['extendMany']>> = () => []) {
  const extended: unknown[][] = [];
  const broker = {
    async extendMany(leases: readonly Lease[]) {
      extended.push(leases.map(({ tag }) => tag));
      return answer(leases);
    },
  } as unknown as Broker;
  const told = { lost: [] as number[], failed: [] as string[] };
  const book = new LeaseBook(broker, 600, {
    lost: (keys) => told.lost.push(...keys),
    failed: (text) => told.failed.push(text),
  });
  book.start();
  return { book, extended, told };
}

const leases = (...tags: string[]) => tags.map((tag) => ({ queue: 'q', tag }));

describe('the lease book', () => {
  test('renews what is held once a third of the lease has gone, and again after another', async () => {
    const { book, extended } = recorder();
    book.add(bundle(1, leases('a', 'b')));
    await vi.advanceTimersByTimeAsync(100);
    expect(extended).toEqual([]);
    await vi.advanceTimersByTimeAsync(100);
    expect(extended).toEqual([['a', 'b']]);
    await book.remove([1]);
    await vi.advanceTimersByTimeAsync(200);
    expect(extended).toEqual([['a', 'b'], ['b']]);
    await book.stop();
  });

  test('leaves alone what ended before its first renewal', async () => {
    const { book, extended } = recorder();
    book.add(bundle(1, leases('a', 'b', 'c')));
    await book.remove([1, 3]);
    await vi.advanceTimersByTimeAsync(200);
    expect(extended).toEqual([['b']]);
    await book.remove([2]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(extended).toEqual([['b']]);
    await book.stop();
  });

  test('tells of a lost lease once, and forgets it', async () => {
    const { book, extended, told } = recorder(() => [{ index: 0, error: new LeaseLostError('gone') }]);
    book.add(bundle(7, leases('a')));
    await vi.advanceTimersByTimeAsync(1000);
    expect(told.lost).toEqual([7]);
    expect(extended).toEqual([['a']]);
    await book.stop();
  });

  test('tries again when the store is in trouble', async () => {
    let down = true;
    const { book, extended, told } = recorder(() => {
      if (down) throw new StoreError('down');
      return [];
    });
    book.add(bundle(1, leases('a')));
    await vi.advanceTimersByTimeAsync(200);
    down = false;
    await vi.advanceTimersByTimeAsync(100);
    expect(extended).toEqual([['a'], ['a']]);
    expect(told).toEqual({ lost: [], failed: [expect.stringContaining('down')] });
    await book.stop();
  });
});
