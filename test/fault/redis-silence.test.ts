import { expect, test } from 'vitest';
import { RedisShop } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

// Connections on which nothing comes any more, and nobody says so: a network that drops packets, a host that is gone.

test('who waits for a result gets it', async () => {
  await using shop = await RedisShop.open();
  const proxy = await shop.proxy();
  const waiting = shop.app(proxy.url);
  const result = waiting.result((await shop.app().sendTask('tasks.hold', ['one'])).id);
  const value = result.get({ timeout: 40 });
  await shop.worker(shop.app());
  await shop.began(1);
  await until(async () => String(await shop.raw.call('PUBSUB', 'CHANNELS', '*celery-task-meta-*')).includes(result.id));
  proxy.silence();
  shop.letGo();
  expect(await value).toBe('one');
});

test('a worker takes the next message', async () => {
  await using shop = await RedisShop.open();
  const proxy = await shop.proxy();
  await shop.worker(shop.app(proxy.url));
  const run = async (name: string) => (await shop.app().sendTask('tasks.work', [name])).get({ timeout: 40 });
  expect(await run('before')).toBe('before');
  proxy.silence();
  expect(await run('after')).toBe('after');
});

test('a worker stops', async () => {
  await using shop = await RedisShop.open();
  const proxy = await shop.proxy();
  const worker = await shop.worker(shop.app(proxy.url));
  proxy.silence();
  expect(await worker.stop().catch((error: Error) => error.message)).toEqual(expect.anything());
});
