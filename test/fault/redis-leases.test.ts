import { expect, test } from 'vitest';
import { RedisShop } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

const NEVER = new AbortController().signal;

test('two workers after the messages of a dead one: each runs once, in one of them', async () => {
  await using shop = await RedisShop.open();
  const names = Array.from({ length: 200 }, (_, i) => `task ${i}`);
  const results = await shop.app().sendMany(
    'tasks.work',
    names.map((name) => [name, 5]),
  );
  // A consumer that renews nothing is what a killed worker leaves behind.
  const dead = await (await shop.app().broker()).consume(['celery'], { leaseMs: 400 });
  for (let held = 0; held < names.length; ) held += (await dead.receive(names.length - held, 1000, NEVER)).length;
  const workers = await Promise.all([
    shop.worker(shop.app(), { concurrency: 3 }),
    shop.worker(shop.app(), { concurrency: 3 }),
  ]);
  expect(await Promise.all(results.map((result) => result.get({ timeout: 20 })))).toEqual(names);
  await until(async () => (await shop.raw.hlen('unacked')) === 0);
  expect([...shop.runs.values()].every((count) => count === 1)).toBe(true);
  expect(workers.map(({ counts }) => counts.succeeded > 0)).toEqual([true, true]);
  expect(workers.reduce((sum, { counts }) => sum + counts.succeeded, 0)).toBe(names.length);
});
