import { describe, expect, test } from 'vitest';
import {
  type Broker,
  ConfigError,
  type ItemFailure,
  LeaseLostError,
  Lovage,
  type PublishError,
  StoreError,
  Worker,
} from '../../src/index.ts';
import { Playground, quiet } from '../support/in-memory.ts';
import { LimitShop, type StoreName, stores } from '../support/limit-shop.ts';
import { override } from '../support/override.ts';
import { until, Workplace } from '../support/workplace.ts';

const depth = async (app: Lovage) => (await (await app.broker()).countMany(['celery']))[0];
const isEmpty = async (app: Lovage) => {
  const now = await depth(app);
  return now !== undefined && now.ready + now.inFlight + now.delayed === 0;
};
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Registers tasks in several applications, each with a worker. */
async function crew(shop: LimitShop, count: number, register: (app: Lovage) => void): Promise<Lovage[]> {
  const apps = Array.from({ length: count }, () => shop.app());
  for (const app of apps) register(app);
  for (const app of apps) await shop.worker(app, { concurrency: 4 });
  return apps;
}

describe.each(stores)('once on %s', (store: StoreName) => {
  test('many copies of a message, on several workers: one of them runs', async () => {
    await using shop = await LimitShop.open(store);
    let runs = 0;
    const [app] = await crew(shop, 3, (one) => {
      one.task('pay', { once: true }, async () => {
        runs += 1;
        await pause(50);
        return runs;
      });
    });
    const copies = await Promise.all(
      Array.from({ length: 20 }, () => app?.sendTask('pay', [], { taskId: 'invoice-1' })),
    );
    expect(await copies[0]?.get({ timeout: 20 })).toBe(1);
    await until(() => app && isEmpty(app), 30_000);
    expect(runs).toBe(1);
    // A copy that comes when all is over finds that, too.
    await app?.sendTask('pay', [], { taskId: 'invoice-1' });
    await until(() => app && isEmpty(app));
    expect(runs).toBe(1);
  });

  test('whoever asks sees that it runs, where, and how it ended', async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    const go = Promise.withResolvers<void>();
    const task = app.task('pay', { once: true }, async (invoice: string) => {
      await go.promise;
      if (invoice === 'bad') throw new Error('refused');
      return invoice;
    });
    const silent = app.task('silent', { once: true, trackStarted: false }, () => go.promise);
    // One on ECS says so itself.
    const job = app.task('job', { once: true, runOn: 'ecs', queue: 'celery' }, () => go.promise);
    const worker = await shop.worker(app);
    const [good, bad] = [await task.delay('good'), await task.delay('bad')];
    const unseen = [await silent.delay(), await job.delay()];
    await until(async () => (await good.state) === 'STARTED' && (await bad.state) === 'STARTED');
    expect(await good.info).toMatchObject({ pid: process.pid, hostname: worker.hostname });
    await until(async () => (await depth(app))?.inFlight === 4);
    for (const one of unseen) expect(await one.state).toBe('PENDING');
    go.resolve();
    expect(await good.get({ timeout: 20 })).toBe('good');
    await expect(bad.get({ timeout: 20 })).rejects.toThrow('refused');
    expect([await good.state, await bad.state]).toEqual(['SUCCESS', 'FAILURE']);
  });

  test.each(['ignores its result', 'fails'])('a copy of a task that %s finds that it ran', async (kind) => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    let runs = 0;
    const task = app.task('pay', { once: true, ignoreResult: kind !== 'fails' }, () => {
      runs += 1;
      if (kind === 'fails') throw new Error('refused');
    });
    await shop.worker(app);
    for (let copy = 0; copy < 2; copy += 1) {
      await task.applyAsync([], { taskId: 'invoice-2' });
      await until(() => isEmpty(app));
    }
    expect(runs).toBe(1);
  });

  test('a task that blocks the event loop for three times the lease keeps its claim', async () => {
    await using shop = await LimitShop.open(store);
    await using place = new Workplace();
    const url = `${shop.url}?${store === 'redis' ? 'leaseTimeout' : 'visibilityTimeout'}=1`;
    const app = new Lovage('client', { broker: url, logger: quiet });
    const env = { TEST_BROKER: url, TEST_CONCURRENCY: '1' };
    await Promise.all([place.worker(env), place.worker(env)]);
    const [result] = await Promise.all(
      [1, 2].map(() => app.sendTask('tasks.blockOnce', ['a', 3000], { taskId: 'blocks' })),
    );
    expect(await result?.get({ timeout: 30 })).toBe('a');
    await until(() => isEmpty(app), 30_000);
    expect(place.notes()).toEqual(['begin a', 'end a']);
    await app.close();
  });

  test('a worker that loses its message goes on with its claim: the other one waits, and finds the result', async () => {
    await using shop = await LimitShop.open(store, 0.5);
    const runs: string[] = [];
    const go = Promise.withResolvers<void>();
    const drivers = shop.drivers();
    const lossy = new Proxy(drivers.broker, {
      get(real, name) {
        if (name === 'recipe') return undefined;
        if (name === 'extendMany')
          return async (leases: readonly unknown[]): Promise<ItemFailure[]> =>
            leases.map((_, index) => ({ index, error: new LeaseLostError('gone') }));
        const value: unknown = Reflect.get(real, name);
        return typeof value === 'function' ? value.bind(real) : value;
      },
    });
    const first = shop.app({ ...drivers, broker: lossy });
    const second = shop.app();
    for (const [app, by] of [
      [first, 'first'],
      [second, 'second'],
    ] as const) {
      app.task('pay', { once: true }, async () => {
        runs.push(by);
        await go.promise;
        return by;
      });
    }
    await shop.worker(first);
    const result = await second.sendTask('pay');
    await until(() => runs.length === 1);
    await shop.worker(second);
    // The message has come to the second worker, which parked it.
    await until(async () => ((await depth(second))?.delayed ?? 0) > 0);
    go.resolve();
    expect(await result.get({ timeout: 10 })).toBe('first');
    await until(() => isEmpty(second), 20_000);
    expect(runs).toEqual(['first']);
  });

  test('a task whose claim is lost is asked to stop', async () => {
    await using shop = await LimitShop.open(store, 0.5);
    const app = shop.app();
    const limits = (await app.backend())?.limits;
    const aborted = Promise.withResolvers<unknown>();
    const begun = Promise.withResolvers<void>();
    const task = app.task('pay', { once: true, bind: true }, async (self) => {
      begun.resolve();
      await new Promise<void>((_, reject) => {
        self.signal.addEventListener('abort', () => {
          aborted.resolve(self.signal.reason);
          reject(self.signal.reason);
        });
      });
    });
    const worker = await shop.worker(app);
    const { id } = await task.delay();
    await begun.promise;
    // Somebody takes the claim away, as after a long pause of the process.
    const other = { key: `once:${id}`, holder: 'other', leaseMs: 60_000 };
    const [answer] = (await limits?.claimMany([other])) ?? [];
    if (!answer || answer.granted) throw new Error('the task has no claim');
    await limits?.releaseMany([{ key: other.key, holder: answer.holder }]);
    await limits?.claimMany([other]);
    expect(await aborted.promise).toBeInstanceOf(LeaseLostError);
    expect(await worker.stop()).toBe(0);
    // Not done: the message is there for whoever has the claim.
    const now = await depth(app);
    expect((now?.ready ?? 0) + (now?.delayed ?? 0)).toBe(1);
  });

  test('a task that does not stop with its worker keeps its claim until that ends by itself', async () => {
    await using shop = await LimitShop.open(store, 30);
    const app = shop.app({ workerShutdownTimeout: 0.05 });
    const begun = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const task = app.task('pay', { once: true }, async () => {
      begun.resolve();
      await go.promise;
    });
    const worker = await shop.worker(app);
    const { id } = await task.delay();
    await begun.promise;
    expect(await worker.stop()).toBe(1);
    expect((await depth(app))?.ready).toBe(1);
    const limits = (await app.backend())?.limits;
    const answers = await limits?.claimMany([{ key: `once:${id}`, holder: 'other', leaseMs: 1000 }]);
    expect(answers).toMatchObject([{ granted: false, done: false }]);
    go.resolve();
  });

  test('a failed one that went to the dead letters runs again when it is put back', async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    let runs = 0;
    const task = app.task('pay', { once: true, acksOnFailureOrTimeout: false }, () => {
      runs += 1;
      if (runs === 1) throw new Error('closed today');
      return runs;
    });
    await shop.worker(app);
    const result = await task.delay();
    const { deadLetters } = await app.broker();
    const [letter] = await until(async () => {
      const letters = await deadLetters.list();
      return letters.length > 0 && letters;
    });
    expect(await result.state).toBe('FAILURE');
    await deadLetters.retryMany([letter?.id ?? '']);
    await until(async () => (await app.result(result.id).state) === 'SUCCESS');
  });
});

describe('rates of one worker', () => {
  test('hold its tasks apart, parked durably where it takes long, and leave others alone', async () => {
    await using play = new Playground({}, { concurrency: 2 });
    const starts: number[] = [];
    const order: string[] = [];
    const limited = play.app.task('limited', { rateLimit: '5/s' }, () => {
      starts.push(performance.now());
      order.push('limited');
    });
    const free = play.app.task('free', () => void order.push('free'));
    const results = await limited.applyMany(Array.from({ length: 12 }, () => []));
    await free.delay();
    await play.work();
    await until(async () => ((await depth(play.app))?.delayed ?? 0) > 0);
    await Promise.all(results.map((result) => result.get({ timeout: 30 })));
    expect(order.indexOf('free')).toBeLessThan(order.length - 1);
    expect(order.indexOf('free')).toBeLessThan(4);
    // A timer may be a little early.
    for (const [i, start] of starts.entries()) if (i > 0) expect(start - (starts[i - 1] ?? 0)).toBeGreaterThan(180);
  });

  test('give back what they hold when the worker stops', async () => {
    await using play = new Playground();
    const serial = { key: () => 'k', limit: 10 };
    const limited = play.app.task('limited', { rateLimit: '2/s', serial }, () => 1);
    await limited.applyMany(Array.from({ length: 4 }, () => []));
    const worker = await play.work();
    await until(() => worker.counts.succeeded === 1);
    expect(await worker.stop()).toBe(0);
    const now = await depth(play.app);
    expect(now).toMatchObject({ inFlight: 0 });
    expect((now?.ready ?? 0) + (now?.delayed ?? 0)).toBe(3);
    const limits = (await play.app.backend())?.limits;
    expect(await limits?.claimMany([{ key: 'serial:k', holder: 'test', leaseMs: 1 }])).toEqual([{ granted: true }]);
  });

  test.each([
    [null, 0],
    [0, 0],
    ['0', 0],
    [20, 40],
    ['20', 40],
    ['20/s', 40],
    ['1200/m', 40],
    ['72000/h', 40],
  ])('%s is read as Celery reads it', async (rateLimit, gapMs) => {
    await using play = new Playground();
    const starts: number[] = [];
    const limited = play.app.task('limited', { rateLimit }, () => void starts.push(performance.now()));
    const results = await limited.applyMany([[], []]);
    await play.work();
    await Promise.all(results.map((result) => result.get({ timeout: 30 })));
    expect((starts[1] ?? 0) - (starts[0] ?? 0)).toBeGreaterThanOrEqual(gapMs);
  });
});

describe.each(stores)('rates of all workers on %s', (store: StoreName) => {
  test('hold tasks of one key apart, over workers and tasks; other keys go on', async () => {
    await using shop = await LimitShop.open(store);
    const starts = new Map<string, number[]>();
    const call = (name: string) => {
      starts.set(name, [...(starts.get(name) ?? []), performance.now()]);
    };
    const rateLimit = { limit: '10/s', key: (name: string) => name };
    const [app] = await crew(shop, 3, (one) => {
      one.task('get', { rateLimit }, call);
      one.task('put', { rateLimit }, call);
    });
    const calls = Array.from({ length: 12 }, () => ['slow']);
    const results = await Promise.all([
      app?.sendMany('get', calls),
      app?.sendMany('put', calls),
      app?.sendMany('get', [['other']]),
    ]);
    await Promise.all(results.flat().map((result) => result?.get({ timeout: 60 })));
    const slow = (starts.get('slow') ?? []).toSorted((a, b) => a - b);
    expect(slow).toHaveLength(24);
    // 2.3 s by the rate; those who come late may make up for one second.
    expect((slow.at(-1) ?? 0) - (slow[0] ?? 0)).toBeGreaterThan(1250);
    expect(starts.get('other')?.[0]).toBeLessThan(slow.at(-1) ?? 0);
  });

  test('nobody spins: each of many that wait asks once for its moment, and once more when that has come', async () => {
    await using shop = await LimitShop.open(store);
    const drivers = shop.drivers();
    let asked = 0;
    const { limits } = drivers.backend;
    if (!limits) throw new Error('it keeps no rates');
    const reserveMany: typeof limits.reserveMany = async (requests) => {
      asked += requests.length;
      return limits.reserveMany(requests);
    };
    const backend = override(drivers.backend, { limits: override(limits, { reserveMany }) });
    const app = shop.app({ ...drivers, backend });
    const task = app.task('get', { rateLimit: { limit: '20/s' } }, (n: number) => n);
    const results = await task.applyMany(Array.from({ length: 40 }, (_, n): [number] => [n]));
    await shop.worker(app, { concurrency: 4 });
    await Promise.all(results.map((result) => result.get({ timeout: 30 })));
    // A timer, or a clock, may be a little early.
    expect(asked).toBeGreaterThan(40);
    expect(asked).toBeLessThan(2.5 * 40);
  });

  test('lose no moment to tasks that are revoked or have expired', async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    const task = app.task('get', { rateLimit: { limit: '1/h' } }, (name: string) => name);
    const expired = await task.applyAsync(['expired'], { expires: 0 });
    const revoked = await task.delay('revoked');
    await revoked.revoke();
    const live = await task.delay('live');
    const late = await task.applyAsync(['late'], { expires: 1 });
    await shop.worker(app, { concurrency: 1 });
    expect(await live.get({ timeout: 20 })).toBe('live');
    await expect(expired.get({ timeout: 5 })).rejects.toThrow('expired');
    await expect(revoked.get({ timeout: 5 })).rejects.toThrow('revoked');
    // Its moment would come after its time, which it is told when that is over.
    await expect(late.get({ timeout: 20 })).rejects.toThrow('expired');
  });
});

describe.each(stores)('serial on %s', (store: StoreName) => {
  test('as many of a key run at once as it says, over all workers and tasks', async () => {
    await using shop = await LimitShop.open(store);
    const now = new Map<string, number>();
    const most = new Map<string, number>();
    const run = async (key: string) => {
      now.set(key, (now.get(key) ?? 0) + 1);
      most.set(key, Math.max(most.get(key) ?? 0, now.get(key) ?? 0));
      await pause(20);
      now.set(key, (now.get(key) ?? 0) - 1);
    };
    const [app] = await crew(shop, 3, (one) => {
      one.task('one', { serial: (key: string) => key }, run);
      one.task('also', { serial: (key: string) => key }, run);
      one.task('two', { serial: { key: (key: string) => key, limit: 2 } }, run);
    });
    const results = await Promise.all([
      app?.sendMany(
        'one',
        Array.from({ length: 6 }, (_, i) => [`a${i % 2}`]),
      ),
      app?.sendMany(
        'also',
        Array.from({ length: 6 }, (_, i) => [`a${i % 2}`]),
      ),
      app?.sendMany(
        'two',
        Array.from({ length: 8 }, () => ['b']),
      ),
    ]);
    await Promise.all(results.flat().map((result) => result?.get({ timeout: 60 })));
    expect(Object.fromEntries(most)).toEqual({ a0: 1, a1: 1, b: 2 });
  });

  test('a message that was delivered before keeps its count while it waits, so that a crash loop ends', async () => {
    await using shop = await LimitShop.open(store, 0.3);
    const app = shop.app();
    const task = app.task('one', { bind: true, serial: () => 'k' }, (self) => self.request.deliveries);
    const result = await task.delay();
    const broker = await app.broker();
    const crashed = await broker.consume(['celery']);
    expect(await crashed.receive(1, 5000, new AbortController().signal)).toHaveLength(1);
    const limits = (await app.backend())?.limits;
    await limits?.claimMany([{ key: 'serial:k', holder: 'somebody', leaseMs: 60_000 }]);
    await shop.worker(app);
    await until(async () => ((await depth(app))?.delayed ?? 0) > 0);
    await limits?.releaseMany([{ key: 'serial:k', holder: 'somebody' }]);
    expect(await result.get({ timeout: 20 })).toBe(2);
    await crashed.close();
  });

  test('a place is free again when a task has ended, and at the end of the lease of a worker that died', async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    const task = app.task('one', { serial: () => 'k', maxRetries: 1 }, (name: string) => {
      if (name === 'fails') throw new Error('fails');
      return name;
    });
    const limits = (await app.backend())?.limits;
    await limits?.claimMany([{ key: 'serial:k', holder: 'a worker that died', leaseMs: 700 }]);
    await shop.worker(app);
    expect(await (await task.delay('a')).get({ timeout: 20 })).toBe('a');
    await expect((await task.delay('fails')).get({ timeout: 20 })).rejects.toThrow('fails');
    expect(await (await task.delay('b')).get({ timeout: 20 })).toBe('b');
    await until(() => isEmpty(app));
    // Nobody holds it any more.
    expect(await limits?.claimMany([{ key: 'serial:k', holder: 'test', leaseMs: 1000 }])).toEqual([{ granted: true }]);
  });
});

describe.each(stores)('unique on %s', (store: StoreName) => {
  test('a call whose equal is there gets the result of that one, and sends nothing', async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    let runs = 0;
    const task = app.task('report', { unique: {} }, (year: number) => {
      runs += 1;
      return year;
    });
    const [first, second, other] = await Promise.all([task.delay(2025), task.delay(2025), task.delay(2026)]);
    const many = await task.applyMany([[2027], [2025], [2027], [2028]]);
    const ids = [first, second, other, ...many].map(({ id }) => id);
    expect(ids[1]).toBe(ids[0]);
    expect(ids[4]).toBe(ids[0]);
    expect(ids[5]).toBe(ids[3]);
    expect(new Set(ids).size).toBe(4);
    expect((await depth(app))?.ready).toBe(4);
    await shop.worker(app);
    expect(await second.get({ timeout: 20 })).toBe(2025);
    await until(() => isEmpty(app));
    const next = await task.delay(2025);
    expect(next.id).not.toBe(first.id);
    expect(await next.get({ timeout: 20 })).toBe(2025);
    expect(runs).toBe(5);
  });

  test("until: 'start' lets others in when it begins", async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    const begun = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const task = app.task('sync', { unique: { key: () => 'k', until: 'start' } }, async (name: string) => {
      begun.resolve();
      await go.promise;
      return name;
    });
    const first = await task.delay('first');
    expect((await task.delay('again')).id).toBe(first.id);
    await shop.worker(app);
    await begun.promise;
    const second = await task.delay('second');
    expect(second.id).not.toBe(first.id);
    go.resolve();
    expect(await second.get({ timeout: 20 })).toBe('second');
  });

  test('is kept over retries, and let go by whatever ends it', async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    const task = app.task('sync', { bind: true, unique: {} }, (self, name: string) => {
      if (name === 'retried' && self.request.retries === 0) throw self.retry({ countdown: 1 });
      if (name === 'fails') throw new Error('fails');
      return name;
    });
    const expired = await task.applyAsync(['expired'], { expires: 0 });
    const revoked = await task.delay('revoked');
    await revoked.revoke();
    const fails = await task.delay('fails');
    const retried = await task.delay('retried');
    await shop.worker(app);
    await until(async () => (await app.result(retried.id).state) === 'RETRY');
    expect((await task.delay('retried')).id).toBe(retried.id);
    expect(await retried.get({ timeout: 20 })).toBe('retried');
    await until(() => isEmpty(app));
    for (const before of [expired, revoked, fails, retried]) {
      const name =
        before === expired ? 'expired' : before === revoked ? 'revoked' : before === fails ? 'fails' : 'retried';
      expect((await task.delay(name)).id, name).not.toBe(before.id);
    }
  });

  test("until: 'success' keeps it after a failure", async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    const task = app.task('sync', { unique: { until: 'success' } }, (ok: boolean) => {
      if (!ok) throw new Error('fails');
    });
    await shop.worker(app);
    const failed = await task.delay(false);
    const good = await task.delay(true);
    await expect(failed.get({ timeout: 20 })).rejects.toThrow('fails');
    await good.get({ timeout: 20 });
    await until(() => isEmpty(app));
    expect((await task.delay(false)).id).toBe(failed.id);
    expect((await task.delay(true)).id).not.toBe(good.id);
  });

  test('a message that is not sent lets go; the others of its batch are sent', async () => {
    await using shop = await LimitShop.open(store);
    const drivers = shop.drivers();
    let down = true;
    const broker: Broker = override(drivers.broker, {
      publishMany: async (messages) => {
        if (down) throw new StoreError('down');
        return drivers.broker.publishMany(messages);
      },
    });
    const app = shop.app({ ...drivers, broker, taskPublishRetry: false });
    const task = app.task('sync', { unique: {} }, (value: unknown) => value);
    await expect(task.delay('a')).rejects.toThrow('down');
    down = false;
    const sent = await task.delay('a');
    const calls: [unknown][] = [['a'], ['b'], [new Map([[{}, 1]])], ['c'], [() => 1]];
    const error: unknown = await task.applyMany(calls).catch((e: unknown) => e);
    expect(error).toMatchObject({ failures: [{ index: 2 }, { index: 4 }] });
    const { taskIds } = error as PublishError;
    expect(taskIds).toHaveLength(5);
    expect(taskIds[0]).toBe(sent.id);
    expect((await depth(app))?.ready).toBe(3);
  });
});

describe('options of limits', () => {
  const task = (options: object) => () => new Playground().app.task('t', options, () => 1);

  test.each([
    { rateLimit: 'often' },
    { rateLimit: '10/d' },
    { rateLimit: -1 },
    { rateLimit: Number.NaN },
    { rateLimit: {} },
    { rateLimit: { limit: '10/m', burst: 0 } },
    { rateLimit: { limit: '10/m', keys: () => 'k' } },
    { serial: 'key' },
    { serial: {} },
    { serial: { key: () => 'k', limit: 0 } },
    { unique: true },
    { unique: { until: 'never' } },
    { unique: { ttl: 0 } },
    { once: 'yes' },
  ])('%o is refused', (options) => {
    expect(task(options)).toThrow(ConfigError);
  });

  test('a key that is no text fails the task, and says why', async () => {
    await using play = new Playground();
    const keyless = play.app.task('keyless', { serial: () => '' }, () => 1);
    const rateless = play.app.task('rateless', { rateLimit: { limit: 1, key: () => 7 as never } }, () => 1);
    const sender = play.app.task('sender', { unique: { key: () => '' } }, () => 1);
    await play.work();
    await expect((await keyless.delay()).get({ timeout: 5 })).rejects.toThrow(/'serial' of keyless.*text/);
    await expect((await rateless.delay()).get({ timeout: 5 })).rejects.toThrow(/'rateLimit' of rateless.*text/);
    await expect(sender.delay()).rejects.toThrow(/'unique' of sender.*text/);
  });

  test('without a result backend a worker with such a task does not start, and nothing unique is sent', async () => {
    const app = new Lovage('test', { broker: `memory://limits-${process.pid}`, backend: false, logger: quiet });
    app.task('pay', { once: true }, () => 1);
    const report = app.task('report', { unique: {} }, () => 1);
    await expect(new Worker(app).start()).rejects.toThrow(/once.*need a result backend.*backend: false/);
    await expect(report.delay()).rejects.toThrow(/unique.*needs a result backend/);
    await app.close();
  });
});
