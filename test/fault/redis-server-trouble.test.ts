import { describe, expect, test } from 'vitest';
import { type AsyncResult, StoreError } from '../../src/index.ts';
import { RedisShop } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

// A Redis that dies, hangs, forgets, or throws its clients out, under workers at work.

const names = (count: number, prefix = 'task') => Array.from({ length: count }, (_, i) => `${prefix} ${i}`);
const values = (results: readonly AsyncResult<unknown>[]) =>
  Promise.all(results.map((result) => result.get({ timeout: 40 })));

describe('a server that dies', () => {
  test('again and again, under senders and workers: what was confirmed runs, and every call ends', async () => {
    await using shop = await RedisShop.open({ aof: true });
    await shop.worker(shop.app());
    const sender = shop.app();
    const confirmed = new Map<string, AsyncResult<unknown>>();
    const refused: unknown[] = [];
    let sending = true;
    const lane = async (prefix: string) => {
      for (let i = 0; sending; i += 1) {
        const name = `${prefix}${i}`;
        await sender.sendTask('tasks.work', [name, 20]).then(
          (result) => confirmed.set(name, result),
          (error) => refused.push(error),
        );
      }
    };
    const lanes = ['a', 'b', 'c', 'd'].map(lane);
    for (let deaths = 0; deaths < 3; deaths += 1) {
      const before = confirmed.size;
      await until(() => confirmed.size > before + 50, 30_000);
      await shop.server.kill();
      await shop.server.start();
    }
    await until(() => shop.runs.size > 150, 30_000);
    sending = false;
    await Promise.all(lanes);
    expect(await values([...confirmed.values()])).toEqual([...confirmed.keys()]);
    for (const error of refused) expect(error).toBeInstanceOf(StoreError);
  });

  test('for longer than senders are patient: they are told so', async () => {
    await using shop = await RedisShop.open({ aof: true });
    const sender = shop.app();
    const first = await sender.sendTask('tasks.work', ['before']);
    await shop.server.kill();
    const error = await sender.sendTask('tasks.work', ['never']).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(StoreError);
    expect(String(error)).toMatch(/no connection to redis:.* within 1 s/);
    await shop.server.start();
    await shop.worker(shop.app());
    expect(await first.get({ timeout: 20 })).toBe('before');
    expect([...shop.runs.keys()]).toEqual(['before']);
  });
});

test('a server that hangs for longer than commands may take: nothing is lost, and work goes on', async () => {
  await using shop = await RedisShop.open();
  const app = shop.app();
  const results = await app.sendMany(
    'tasks.work',
    names(60).map((name) => [name, 100]),
  );
  await shop.worker(shop.app(undefined, { socketTimeout: 0.3 }), { concurrency: 5 });
  await shop.began(10);
  shop.server.pause();
  await shop.says('did not answer in time');
  await shop.says(/no connection to redis:.* within 1 s/);
  shop.server.resume();
  expect(await values(results)).toEqual(names(60));
});

test('connections that are killed while 500 tasks run: none of them is lost', async () => {
  await using shop = await RedisShop.open();
  const results = await shop.app().sendMany(
    'tasks.work',
    names(500).map((name) => [name, 10]),
  );
  await shop.worker(shop.app(), { concurrency: 5 });
  let kills = 0;
  for (let seen = 0; seen < 500; ) {
    await shop.began(Math.min(500, seen + 20));
    seen = shop.runs.size;
    kills += Number(await shop.raw.call('CLIENT', 'KILL', 'TYPE', 'normal'));
    kills += Number(await shop.raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub'));
  }
  expect(await values(results)).toEqual(names(500));
  expect(kills).toBeGreaterThan(20);
});

describe('a server that forgets', () => {
  test('everything: what runs is told that it lost its message, and the worker goes on', async () => {
    await using shop = await RedisShop.open();
    const app = shop.app();
    await shop.worker(shop.app());
    await app.sendTask('tasks.hold', ['forgotten']);
    await shop.began(1);
    await shop.raw.flushall();
    await shop.says('the lease of a held message was lost');
    shop.letGo();
    expect(await (await app.sendTask('tasks.work', ['after'])).get({ timeout: 10 })).toBe('after');
    expect(await (await app.sendTask('tasks.work', ['later'], { countdown: 0.2 })).get({ timeout: 10 })).toBe('later');
  });

  test('its scripts: nobody notices', async () => {
    await using shop = await RedisShop.open();
    const results = await shop.app().sendMany(
      'tasks.work',
      names(200).map((name) => [name, 10]),
    );
    await shop.worker(shop.app(), { concurrency: 5 });
    for (let seen = 0; seen < 200; ) {
      await shop.began(Math.min(200, seen + 20));
      seen = shop.runs.size;
      await shop.raw.script('FLUSH');
    }
    expect(await values(results)).toEqual(names(200));
    expect(shop.complaints).toEqual([]);
    expect([...shop.runs.values()].every((count) => count === 1)).toBe(true);
  });
});
