import { expect, test } from 'vitest';
import { type Lovage, StoreError } from '../../src/index.ts';
import { RedisShop } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

/**
 * Sends large messages until there is no memory for another, and then takes the last reserve; gives their names, and what
 * the last sender was told.
 */
async function fill(shop: RedisShop, app: Lovage) {
  const names: string[] = [];
  for (;;) {
    const name = `${names.length} `.padEnd(100_000, 'x');
    try {
      await app.sendTask('tasks.measure', [name], { retry: false });
    } catch (error) {
      await shop.raw.config('SET', 'maxmemory', '8mb');
      return { names, error };
    }
    names.push(name);
  }
}

const open = () => RedisShop.open({ args: ['--maxmemory', '12mb', '--maxmemory-policy', 'noeviction'] });

test('a Redis without memory: senders are told, workers run and settle what is in it, then senders are welcome', async () => {
  await using shop = await open();
  const sender = shop.app();
  const { names, error } = await fill(shop, sender);
  expect(error).toBeInstanceOf(StoreError);
  expect(error).toMatchObject({
    retryable: true,
    message: expect.stringMatching(/no memory left \(maxmemory is reached.*raise maxmemory, or let workers drain/),
  });
  await shop.worker(shop.app());
  await until(async () => shop.runs.size === names.length && (await shop.raw.hlen('unacked')) === 0, 20_000);
  // Each of them only once: its result was stored though there was no memory for it.
  expect([...shop.runs.values()].every((count) => count === 1)).toBe(true);
  const after = await until(() => sender.sendTask('tasks.measure', ['after']).catch(() => undefined));
  expect(await after.get({ timeout: 10 })).toBe(5);
});

test('a Redis without memory: a task that is longer than its lease keeps it', async () => {
  await using shop = await open();
  const sender = shop.app();
  const result = await sender.sendTask('tasks.hold', ['long']);
  const worker = shop.app();
  await shop.worker(worker, { concurrency: 1 });
  await shop.began(1);
  await sender.sendTask('tasks.hold', ['next']);
  await fill(shop, shop.app(undefined, {}, { taskDefaultQueue: 'other' }));
  const ends = () => shop.raw.zrange('lovage:leases', '-inf', '+inf', 'BYSCORE', 'WITHSCORES').then(String);
  const before = await ends();
  await until(async () => (await ends()) !== before);
  shop.letGo();
  expect(await result.get({ timeout: 10 })).toBe('long');
  expect(shop.runs.get('long')).toBe(1);
});
