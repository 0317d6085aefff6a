import { describe, expect, test } from 'vitest';
import { Batcher } from '../../../src/util/batcher.ts';

/** A batch function that the test ends by hand. */
function byHand() {
  const batches: number[][] = [];
  const ends: { resolve: (failures: { index: number; error: Error }[]) => void; reject: (error: Error) => void }[] = [];
  const flush = (items: readonly number[]) => {
    batches.push([...items]);
    return new Promise<{ index: number; error: Error }[]>((resolve, reject) => ends.push({ resolve, reject }));
  };
  const next = () => ends.shift() ?? { resolve: () => {}, reject: () => {} };
  return { batches, flush, next };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('the batcher', () => {
  test('joins the calls of one turn', async () => {
    const { batches, flush, next } = byHand();
    const batcher = new Batcher(flush, 100);
    const all = Promise.all([batcher.add(1), batcher.add(2), batcher.addMany([3, 4])]);
    await turn();
    expect(batches).toEqual([[1, 2, 3, 4]]);
    next().resolve([]);
    await all;
  });

  test('joins what comes while a batch is under way, and sends it when that returns', async () => {
    const { batches, flush, next } = byHand();
    const batcher = new Batcher(flush, 100);
    const first = batcher.add(1);
    await turn();
    const later = [batcher.add(2), batcher.add(3)];
    await turn();
    expect(batches).toEqual([[1]]);
    expect(batcher.pending).toBe(2);
    next().resolve([]);
    await first;
    await turn();
    expect(batches).toEqual([[1], [2, 3]]);
    next().resolve([]);
    await Promise.all(later);
  });

  test('sends a full batch while another is under way, and no third', async () => {
    const { batches, flush, next } = byHand();
    const batcher = new Batcher(flush, 2);
    const all = Promise.all([
      batcher.addMany([1, 2]),
      batcher.addMany([3, 4]),
      batcher.addMany([5, 6]),
      batcher.add(7),
    ]);
    await turn();
    expect(batches).toEqual([
      [1, 2],
      [3, 4],
    ]);
    next().resolve([]);
    await turn();
    expect(batches).toHaveLength(3);
    next().resolve([]);
    await turn();
    expect(batches).toHaveLength(3);
    next().resolve([]);
    await turn();
    expect(batches).toEqual([[1, 2], [3, 4], [5, 6], [7]]);
    next().resolve([]);
    await all;
  });

  test('keeps batches under the limit, but a call whole', async () => {
    const { batches, flush, next } = byHand();
    const batcher = new Batcher(flush, 3);
    const all = Promise.all([batcher.addMany([1, 2]), batcher.addMany([3, 4]), batcher.addMany([5, 6, 7, 8])]);
    for (let i = 0; i < 3; i += 1) {
      await turn();
      next().resolve([]);
    }
    await all;
    expect(batches).toEqual([
      [1, 2],
      [3, 4],
      [5, 6, 7, 8],
    ]);
  });

  test('tells each call its own failures, by its own positions', async () => {
    const { flush, next } = byHand();
    const batcher = new Batcher(flush, 100);
    const one = batcher.add(1);
    const two = batcher.addMany([2, 3, 4]);
    const three = batcher.add(5);
    await turn();
    const bad = new Error('bad');
    next().resolve([
      { index: 0, error: bad },
      { index: 2, error: bad },
    ]);
    await expect(one).rejects.toBe(bad);
    expect(await two).toEqual([{ index: 1, error: bad }]);
    await three;
  });

  test('a batch that fails as a whole fails its calls, and the next one goes on', async () => {
    const { flush, next } = byHand();
    const batcher = new Batcher(flush, 100);
    const one = batcher.add(1);
    await turn();
    const two = batcher.add(2);
    next().reject(new Error('down'));
    await expect(one).rejects.toThrow('down');
    await turn();
    next().resolve([]);
    await two;
  });
});
