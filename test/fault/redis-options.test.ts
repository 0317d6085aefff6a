import { Redis } from 'ioredis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ConfigError } from '../../src/index.ts';
import { startRedis } from '../support/redis-server.ts';
import { RedisShop, wholeText } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

describe('a password', () => {
  const RIGHT = 'r1ght-p@ss';
  const WRONG = 'wr0ng-p@ss';
  const locked = () => RedisShop.open({ args: ['--requirepass', RIGHT] });
  const withPassword = (url: string, password: string) => url.replace('//', `//:${encodeURIComponent(password)}@`);

  test('that is wrong: senders and workers are told at once how to write it, and it is told nobody', async () => {
    await using shop = await locked();
    const url = withPassword(shop.server.url, WRONG);
    const errors = [
      await shop
        .app(url)
        .sendTask('tasks.work', ['one'])
        .catch((e: unknown) => e),
      await shop.worker(shop.app(url)).catch((e: unknown) => e),
    ];
    for (const error of errors) {
      expect(error).toBeInstanceOf(ConfigError);
      expect(error).toMatchObject({
        message: expect.stringMatching(
          /redis:\/\/:\*\*@127\.0\.0\.1:\d+\/0 refused user or password \(WRONGPASS.*write redis:\/\/user:password@host/,
        ),
      });
    }
    const all = [...errors.map(wholeText), ...shop.log.map(({ text }) => text)].join('\n');
    expect(all).not.toMatch(/wr0ng-p/);
  });

  test('that is missing: the error says so', async () => {
    await using shop = await locked();
    await expect(shop.worker(shop.app())).rejects.toThrow(
      /refused user or password \(NOAUTH.*redis:\/\/:password@host/,
    );
  });

  test('that is right is in no line of the log, whatever goes wrong', async () => {
    await using shop = await locked();
    const url = withPassword(shop.server.url, RIGHT);
    await shop.worker(shop.app(url));
    expect(await (await shop.app(url).sendTask('tasks.work', ['one'])).get({ timeout: 10 })).toBe('one');
    await shop.server.kill();
    await shop.says(/no connection to redis:|connection to redis:.* lost/);
    await shop.server.start();
    expect(await (await shop.app(url).sendTask('tasks.work', ['two'])).get({ timeout: 20 })).toBe('two');
    expect(shop.log.map(({ text }) => text).join('\n')).not.toMatch(/r1ght-p/);
  });

  test('that is changed under a worker: it says so, and works again when it fits', async () => {
    await using shop = await locked();
    const url = withPassword(shop.server.url, RIGHT);
    const app = shop.app(url);
    await shop.worker(shop.app(url));
    const admin = new Redis(shop.server.port, { password: RIGHT });
    onTestFinished(() => admin.disconnect());
    const setPassword = (password: string) => admin.config('SET', 'requirepass', password);
    await setPassword('another');
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal');
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await shop.says(/WRONGPASS/);
    await setPassword(RIGHT);
    expect(await (await app.sendTask('tasks.work', ['one'])).get({ timeout: 20 })).toBe('one');
    expect(shop.log.map(({ text }) => text).join('\n')).not.toMatch(/r1ght-p|another/);
  });
});

describe('a Redis Cluster', () => {
  test('is refused at the start, and why', async () => {
    await using shop = await RedisShop.open({ args: ['--cluster-enabled', 'yes'] });
    await expect(shop.worker(shop.app())).rejects.toThrow(
      /is a Redis Cluster, which is not supported.*Use a single Redis/,
    );
  });

  test('that redirects is refused, too, where it does not tell what it is', async () => {
    await using shop = await RedisShop.open({ args: ['--cluster-enabled', 'yes'] });
    await using other = await startRedis({ args: ['--cluster-enabled', 'yes'] });
    const ask = async (...command: string[]) => String(await shop.raw.call('CLUSTER', ...command));
    await ask('MEET', '127.0.0.1', String(other.port));
    const owner = new Redis(other.port);
    await owner.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    owner.disconnect();
    await until(async () => (await ask('INFO')).includes('cluster_state:ok'));
    await shop.raw.call('ACL', 'SETUSER', 'shy', 'on', '>shy', '~*', '&*', '+@all', '-info');
    const error = await shop.worker(shop.app(shop.server.url.replace('//', '//shy:shy@'))).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toMatch(/is a Redis Cluster, which is not supported/);
  });
});

describe('a user of Redis', () => {
  const rights = ['+@read', '+@write', '+@pubsub', '+@scripting', '+@connection', '+info', '+time'];
  const asUser = (shop: RedisShop) => shop.server.url.replace('//', '//worker:secret@');

  test('with just the rights that the documentation names can send, work and read results', async () => {
    await using shop = await RedisShop.open();
    await shop.raw.call('ACL', 'SETUSER', 'worker', 'on', '>secret', '~*', '&*', ...rights);
    await shop.worker(shop.app(asUser(shop)));
    const result = await shop.app(asUser(shop)).sendTask('tasks.work', ['one'], { countdown: 0.1 });
    expect(await result.get({ timeout: 10 })).toBe('one');
    expect(shop.complaints).toEqual([]);
  });

  test('with too few is told which it needs', async () => {
    await using shop = await RedisShop.open();
    const few = rights.filter((right) => right !== '+time');
    await shop.raw.call('ACL', 'SETUSER', 'worker', 'on', '>secret', '~*', '&*', ...few);
    const app = shop.app(asUser(shop));
    const error = await (await app.broker()).countMany(['celery']).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toMatch(/this user may not do that.*\+info \+time/);
  });
});

describe('an option that does not exist', () => {
  test.each([
    ['?visibilty_timeout=5', {}, /no option 'visibiltyTimeout'; did you mean 'visibilityTimeout'\?/],
    ['?leaseTimout=5', {}, /no option 'leaseTimout'; did you mean 'leaseTimeout'\?/],
    ['', { socket_timout: 5 }, /no option 'socketTimout'; did you mean 'socketTimeout'\?/],
    ['', { qqq: 5 }, /no option 'qqq'; known options: leaseTimeout/],
    ['?lease_timeout=soon', {}, /option 'leaseTimeout' of the Redis URL.*expected a number of seconds.*got "soon"/],
  ])('%s %o is refused before anything is sent', async (query, transport, message) => {
    await using shop = await RedisShop.open();
    const app = shop.app(`${shop.server.url}${query}`, transport);
    const starts = [app.sendTask('tasks.work', ['one']), shop.worker(app)];
    for (const end of await Promise.allSettled(starts)) {
      expect(end).toMatchObject({ status: 'rejected', reason: { code: 'CONFIG' } });
      expect(String(Object(end).reason)).toMatch(message);
    }
  });
});
