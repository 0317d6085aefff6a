import { describe, expect, test } from 'vitest';
import { RedisShop } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

// Somebody else's key stands where Celery's layout has one of ours.

const NEVER = new AbortController().signal;

describe.each(['string', 'hash'])('a %s where the list of a queue is expected', (type) => {
  const occupy = (shop: RedisShop) =>
    type === 'string' ? shop.raw.set('broken', 'text') : shop.raw.hset('broken', 'field', 'text');

  test('the worker says which key it is, serves its other queues, and that one when the key is gone', async () => {
    await using shop = await RedisShop.open();
    await occupy(shop);
    const app = shop.app();
    await shop.worker(shop.app(), { queues: ['broken', 'celery'] });
    const said = await shop.says(/the key broken is no list/);
    expect(said.level).toBe('error');
    expect(said.text).toMatch(/another type than Celery's layout says.*the key broken is no list.*Rename that key/);
    for (const name of ['one', 'two'])
      expect(await (await app.sendTask('tasks.work', [name])).get({ timeout: 20 })).toBe(name);
    await shop.raw.del('broken');
    const freed = await app.sendTask('tasks.work', ['freed'], { queue: 'broken' });
    expect(await freed.get({ timeout: 40 })).toBe('freed');
  });

  test('a worker that may try but twice to receive does not give up for it', async () => {
    await using shop = await RedisShop.open();
    await occupy(shop);
    const patience = { brokerConnectionMaxRetries: 2 };
    const worker = await shop.worker(shop.app(undefined, {}, patience), { queues: ['broken', 'celery'] });
    await shop.says(/the key broken is no list/);
    // Rounds of looking at empty queues, each of which would be one more failure.
    for (const round of [1, 2, 3, 4, 5]) {
      const late = await shop.app().sendTask('tasks.work', [`round ${round}`], { countdown: 0.3 });
      expect(await late.get({ timeout: 20 })).toBe(`round ${round}`);
    }
    expect(worker.state).toBe('running');
  });

  test('sending to it fails and says which queue it is; sending to others does not', async () => {
    await using shop = await RedisShop.open();
    await occupy(shop);
    const app = shop.app();
    const send = () => app.sendTask('tasks.work', ['one'], { queue: 'broken' });
    // Twice: the second time the queue is known, and sending is another command.
    for (const _ of [1, 2]) {
      await expect(send()).rejects.toMatchObject({
        code: 'STORE_CORRUPT',
        message: expect.stringMatching(/queue 'broken'.*another type than Celery's layout says.*Rename that key/),
      });
    }
    await app.sendTask('tasks.work', ['two']);
    expect(await shop.raw.llen('celery')).toBe(1);
    await shop.raw.del('broken');
    await send();
    expect(await shop.raw.llen('broken')).toBe(1);
  });

  test('a message that falls due for it waits, and holds up no other queue', async () => {
    await using shop = await RedisShop.open();
    const app = shop.app();
    const late = await app.sendTask('tasks.work', ['late'], { queue: 'broken', countdown: 0.1 });
    await occupy(shop);
    await shop.worker(shop.app(), { queues: ['broken', 'celery'] });
    await shop.says(/the key broken is no list/);
    expect(await (await app.sendTask('tasks.work', ['one'])).get({ timeout: 20 })).toBe('one');
    await shop.raw.del('broken');
    expect(await late.get({ timeout: 40 })).toBe('late');
  });

  test('a message that a dead worker held for it waits, and holds up no other queue', async () => {
    await using shop = await RedisShop.open();
    const app = shop.app();
    const kept = await app.sendTask('tasks.work', ['kept'], { queue: 'broken' });
    const dead = await (await shop.app().broker()).consume(['broken'], { leaseMs: 100 });
    await dead.receive(1, 1000, NEVER);
    await occupy(shop);
    await shop.worker(shop.app(), { queues: ['broken', 'celery'] });
    await shop.says(/the key broken is no list/);
    expect(await (await app.sendTask('tasks.work', ['one'])).get({ timeout: 20 })).toBe('one');
    await shop.raw.del('broken');
    expect(await kept.get({ timeout: 40 })).toBe('kept');
  });

  test('a dead letter of it that is to be sent again stays one', async () => {
    await using shop = await RedisShop.open();
    const app = shop.app();
    await app.sendTask('tasks.work', ['again'], { queue: 'broken' });
    const broker = await app.broker();
    const { deadLetters } = broker;
    const consumer = await broker.consume(['broken']);
    await consumer.rejectMany(await consumer.receive(1, 1000, NEVER), ['for a test']);
    await consumer.close();
    await occupy(shop);
    const [letter] = await deadLetters.list();
    await expect(deadLetters.retryMany([letter?.id ?? ''])).rejects.toThrow(/another type/);
    expect(await deadLetters.list()).toHaveLength(1);
    await shop.raw.del('broken');
    expect(await deadLetters.retryMany([letter?.id ?? ''])).toBe(1);
    expect(await shop.raw.llen('broken')).toBe(1);
  });
});

test.each(['unacked', 'unacked_index'])(
  'a string under %s: nothing is taken, and work goes on when it is gone',
  async (key) => {
    await using shop = await RedisShop.open();
    const result = await shop.app().sendTask('tasks.work', ['one']);
    await shop.raw.set(key, 'text');
    await shop.worker(shop.app());
    await shop.says(/another type than Celery's layout says/);
    expect(await shop.raw.llen('celery')).toBe(1);
    await shop.raw.del(key);
    expect(await result.get({ timeout: 40 })).toBe('one');
    await until(async () => (await shop.raw.hlen('unacked')) === 0);
  },
);
