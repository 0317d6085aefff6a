import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/index.ts';
import { RedisShop } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

// Connections that break while Redis answers: it has done what was asked, and nobody was told.

/** Runs a task, so that the server knows the scripts: else the answer that is cut says that it does not. */
async function warmUp(shop: RedisShop): Promise<void> {
  await (await shop.app().sendTask('tasks.work', ['warm'])).get({ timeout: 10 });
  await until(async () => (await shop.raw.hlen('unacked')) === 0);
  shop.runs.clear();
}

/** What is left of messages: waiting, held, delayed, dead. */
async function left(shop: RedisShop) {
  const [depth] = await (await shop.app().broker()).countMany(['celery']);
  return depth;
}

const nothing = { ready: 0, inFlight: 0, delayed: 0, dead: 0 };

describe('the answer to a receive is cut', () => {
  test.each([0, 1, 9, 300, 700])('after %i bytes: its message runs when its lease is over', async (bytes) => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    const result = await shop.app().sendTask('tasks.work', ['one']);
    const cut = proxy.cut({ reply: 'tasks.work', bytes });
    await shop.worker(shop.app(proxy.url));
    await cut;
    // Handed out, though nobody has it.
    expect([await shop.raw.llen('celery'), await shop.raw.hlen('unacked')]).toEqual([0, 1]);
    expect(await result.get({ timeout: 20 })).toBe('one');
    expect(shop.runs.get('one')).toBe(1);
    await until(async () => (await shop.raw.hlen('unacked')) === 0);
    expect(await left(shop)).toEqual(nothing);
  });

  test.each([1000, 15_000])('after %i bytes, among many messages: all of them run once', async (bytes) => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    const names = Array.from({ length: 30 }, (_, i) => `task ${i}`);
    const results = await shop.app().sendMany(
      'tasks.work',
      names.map((name) => [name]),
    );
    const cut = proxy.cut({ reply: 'tasks.work', bytes });
    await shop.worker(shop.app(proxy.url), { concurrency: 30 });
    await cut;
    expect(await Promise.all(results.map((result) => result.get({ timeout: 20 })))).toEqual(names);
    expect([...shop.runs.values()].every((count) => count === 1)).toBe(true);
  });
});

test.each([0, 1, 3])(
  'the answer to an ack is cut after %i bytes: the task has run once, and nothing is left',
  async (bytes) => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    await shop.worker(shop.app(proxy.url, { leaseTimeout: 30 }));
    await warmUp(shop);
    const result = await shop.app().sendTask('tasks.hold', ['one']);
    await shop.began(1);
    const [tag = ''] = await shop.raw.hkeys('unacked');
    const cut = proxy.cut({ request: tag, bytes });
    shop.letGo();
    await cut;
    expect(await result.get({ timeout: 10 })).toBe('one');
    expect(await left(shop)).toEqual(nothing);
    // It goes on, and the one before does not come back.
    expect(await (await shop.app().sendTask('tasks.work', ['two'])).get({ timeout: 10 })).toBe('two');
    expect(shop.runs).toEqual(
      new Map([
        ['one', 1],
        ['two', 1],
      ]),
    );
  },
);

test.each([0, 3])(
  'the answer to an early ack is cut after %i bytes: the task runs all the same, once',
  async (bytes) => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    await shop.worker(shop.app(proxy.url, { leaseTimeout: 30 }, { taskAcksLate: false }));
    await warmUp(shop);
    // Only what settles a message names its place in its batch.
    const cut = proxy.cut({ request: '-0001', bytes });
    const result = await shop.app().sendTask('tasks.work', ['one']);
    await cut;
    expect(await result.get({ timeout: 10 })).toBe('one');
    expect(await left(shop)).toEqual(nothing);
    expect(shop.runs.get('one')).toBe(1);
  },
);

test.each([0, 1, 4])(
  'the answer to storing a result is cut after %i bytes: it is stored again, then acked',
  async (bytes) => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    await shop.worker(shop.app(proxy.url, { leaseTimeout: 30 }));
    await warmUp(shop);
    const cut = proxy.cut({ request: 'SUCCESS', bytes });
    const result = await shop.app().sendTask('tasks.work', ['one']);
    await cut;
    expect(await result.get({ timeout: 10 })).toBe('one');
    await until(async () => (await shop.raw.hlen('unacked')) === 0);
    expect(await left(shop)).toEqual(nothing);
    expect(shop.runs.get('one')).toBe(1);
  },
);

describe('the answer to a send is cut', () => {
  test.each([0, 1, 5, 9])('after %i bytes: it is sent again with the same id', async (bytes) => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    const cut = proxy.cut({ request: 'tasks.work', bytes });
    const result = await shop.app(proxy.url).sendTask('tasks.work', ['one']);
    await cut;
    const waiting = await shop.raw.lrange('celery', 0, -1);
    expect(waiting.map((envelope) => JSON.parse(envelope).headers.id)).toEqual([result.id, result.id]);
    await shop.worker(shop.app());
    expect(await result.get({ timeout: 10 })).toBe('one');
  });

  test('and it may not be sent again: its sender is told, and it is in its queue all the same', async () => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    const cut = proxy.cut({ request: 'tasks.work', bytes: 0 });
    const app = shop.app(proxy.url);
    const error = await app.sendTask('tasks.work', ['one'], { retry: false }).catch((e: unknown) => e);
    await cut;
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({ retryable: true, message: expect.stringMatching(/connection to redis:.* is lost/) });
    expect(await shop.raw.llen('celery')).toBe(1);
  });
});

test.each([0, 10, 150])('the note of a result is cut after %i bytes: who waits for it gets it', async (bytes) => {
  await using shop = await RedisShop.open();
  const proxy = await shop.proxy();
  const waiting = shop.app(proxy.url);
  const result = waiting.result((await shop.app().sendTask('tasks.hold', ['one'])).id);
  const value = result.get({ timeout: 20 });
  const cut = proxy.cut({ reply: 'SUCCESS', bytes });
  await shop.worker(shop.app());
  await shop.began(1);
  await until(async () => String(await shop.raw.call('PUBSUB', 'CHANNELS', '*celery-task-meta-*')).includes(result.id));
  shop.letGo();
  await cut;
  expect(await value).toBe('one');
});

describe('a worker that Redis cannot be reached from', () => {
  test('for longer than its lease: another has its message, and it settles nothing', async () => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    await shop.worker(shop.app(proxy.url));
    const result = await shop.app().sendTask('tasks.hold', ['one']);
    await shop.began(1);
    proxy.refuse();
    await shop.worker(shop.app());
    await until(() => shop.runs.get('one') === 2);
    proxy.restore();
    await shop.says('the lease of a held message was lost');
    expect(await result.state).toBe('PENDING');
    shop.letGo();
    expect(await result.get({ timeout: 10 })).toBe('one');
    await until(async () => (await shop.raw.hlen('unacked')) === 0);
    expect(await left(shop)).toEqual(nothing);
    expect(shop.runs.get('one')).toBe(2);
  });

  test('works again as soon as it can', async () => {
    await using shop = await RedisShop.open();
    const proxy = await shop.proxy();
    await shop.worker(shop.app(proxy.url));
    proxy.refuse();
    await shop.says(/no connection to redis:|connection to redis:.* lost/);
    const result = await shop.app().sendTask('tasks.work', ['one']);
    proxy.restore();
    expect(await result.get({ timeout: 20 })).toBe('one');
  });
});
