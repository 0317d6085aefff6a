import { expect, test } from 'vitest';
import { MessageTooLargeError } from '../../src/index.ts';
import { RedisShop } from '../support/redis-shop.ts';
import { until, Workplace } from '../support/workplace.ts';

const HUNDRED_MB = 100 * 1024 * 1024;

test('a call of 100 MB is refused at its sender, who is told the limit and what to do; Redis gets nothing', async () => {
  await using shop = await RedisShop.open();
  const error = await shop
    .app()
    .sendTask('tasks.measure', ['x'.repeat(HUNDRED_MB)])
    .catch((e: unknown) => e);
  expect(error).toBeInstanceOf(MessageTooLargeError);
  expect(String(error)).toMatch(
    /tasks\.measure was not sent: its body has 1048\d{5} bytes, the limit is 67108864\. Pass a ref/,
  );
  expect(await shop.raw.llen('celery')).toBe(0);
});

test('an envelope of 100 MB from elsewhere: the worker runs it in little memory, with others before and after it', async () => {
  await using shop = await RedisShop.open();
  await using place = new Workplace();
  // The worker has room for a few copies of it, not for many.
  const worker = await place.worker({ TEST_BROKER: shop.server.url, NODE_OPTIONS: '--max-old-space-size=900' });
  const app = shop.app(undefined, { leaseTimeout: 30, socketTimeout: 10 });
  const { id } = await app.sendTask('tasks.throwAnything', ['LARGE'], { queue: 'aside' });
  const small = JSON.parse((await shop.raw.rpop('aside')) ?? '');
  const body = Buffer.from(small.body, 'base64')
    .toString()
    .replace('LARGE', 'x'.repeat((HUNDRED_MB * 3) / 4));
  const large = JSON.stringify({ ...small, body: Buffer.from(body).toString('base64') });
  expect(large.length).toBeGreaterThan(HUNDRED_MB);
  const before = await app.sendTask('tasks.add', [1, 1]);
  await shop.raw.lpush('celery', large);
  const after = await app.sendTask('tasks.add', [2, 2]);
  expect(await before.get({ timeout: 30 })).toBe(2);
  expect(await after.get({ timeout: 60 })).toBe(4);
  // That it was run shows in what it threw.
  await expect(app.result(id).get({ timeout: 60 })).rejects.toThrow('thrown value: None');
  await until(async () => (await shop.raw.hlen('unacked')) === 0);
  expect(await (await app.sendTask('tasks.add', [3, 3])).get({ timeout: 30 })).toBe(6);
  expect([worker.exitCode, worker.signalCode]).toEqual([null, null]);
});
