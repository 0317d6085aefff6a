import { expect, test } from 'vitest';
import { RedisShop } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

/** A port where nobody listens: who is its replica keeps its own data. */
const NOBODY = ['127.0.0.1', '1'] as const;

test('a worker of a read-only replica does not start, and says where to connect to', async () => {
  await using shop = await RedisShop.open();
  await shop.raw.replicaof(...NOBODY);
  await expect(shop.worker(shop.app())).rejects.toMatchObject({
    code: 'STORE_READ_ONLY',
    message: expect.stringMatching(/redis:.*is a read-only replica: connect to its master, or through sentinel:/),
  });
  await shop.raw.replicaof('NO', 'ONE');
  await shop.worker(shop.app());
});

test('a primary that is demoted under a worker: the worker says so, and goes on when it is one again', async () => {
  await using shop = await RedisShop.open();
  const app = shop.app();
  await shop.worker(shop.app());
  const held = await app.sendTask('tasks.hold', ['held']);
  await shop.began(1);
  await shop.raw.replicaof(...NOBODY);
  // Its result cannot be stored now, nor its message be acked.
  shop.letGo();
  await shop.says(/has become a read-only replica: make it the master again/);
  await expect(app.sendTask('tasks.work', ['refused'], { retry: false })).rejects.toThrow(/read-only replica/);
  await shop.raw.replicaof('NO', 'ONE');
  const after = await app.sendTask('tasks.work', ['after']);
  expect(await after.get({ timeout: 20 })).toBe('after');
  // Should it have come back, it holds again.
  const again = setInterval(() => shop.letGo(), 50);
  expect(await held.get({ timeout: 20 })).toBe('held');
  clearInterval(again);
  await until(async () => (await shop.raw.hlen('unacked')) === 0);
  expect(await (await app.broker()).deadLetters.list()).toEqual([]);
});

test('a primary of results that is demoted: tasks are not given up for it, and their results come when it is one again', async () => {
  await using shop = await RedisShop.open();
  await using results = await RedisShop.open();
  const options = { backend: results.server.url };
  await shop.worker(shop.app(undefined, {}, options));
  const app = shop.app(undefined, {}, options);
  const result = await app.sendTask('tasks.hold', ['held']);
  await shop.began(1);
  await results.raw.replicaof(...NOBODY);
  shop.letGo();
  // It was put back: what could not be stored is not the failure of its task.
  const again = setInterval(() => shop.letGo(), 50);
  await until(() => (shop.runs.get('held') ?? 0) > 1);
  expect(await (await app.broker()).deadLetters.list()).toEqual([]);
  await results.raw.replicaof('NO', 'ONE');
  expect(await result.get({ timeout: 20 })).toBe('held');
  clearInterval(again);
});
