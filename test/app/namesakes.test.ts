import { expect, onTestFinished, test } from 'vitest';
import { type Logger, Worker } from '../../src/index.ts';
import { quiet } from '../support/in-memory.ts';
import { LimitShop, stores } from '../support/limit-shop.ts';
import { until } from '../support/workplace.ts';

test.each(stores)(
  'a worker warns where another one has its node name, on %s; one of another name is none of that',
  async (store) => {
    await using shop = await LimitShop.open(store);
    const told: string[] = [];
    const quiets: string[] = [];
    const logger = (lines: string[]): Logger => ({ ...quiet, warn: (_, text) => void lines.push(text) });
    await shop.worker(shop.app({ logger: logger(quiets) }), { name: 'twin@here' });
    await shop.worker(shop.app({ logger: logger(quiets) }), { name: 'other@here' });
    const worker = new Worker(shop.app({ logger: logger(told) }), { name: 'twin@here' });
    onTestFinished(async () => {
      await worker.stop({ now: true });
    });
    await worker.start();
    await until(() => told.length > 0);
    expect(told).toEqual([
      expect.stringMatching(
        /^another worker has the name twin@here as well: .* Give each a name of its own, such as -n/,
      ),
    ]);
    await shop.worker(shop.app({ logger: logger(told) }), { name: 'twin@here' });
    await until(() => told.length > 1);
    expect(told[1]).toMatch(/^2 other workers have the name twin@here/);
    expect(quiets).toEqual([]);
  },
);
