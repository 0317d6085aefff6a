import { describe, expect, test } from 'vitest';
import { memoryBackend } from '../../src/backends/memory.ts';
import { memoryBroker } from '../../src/brokers/memory.ts';
import { type Broker, type ItemFailure, Lovage, PublishError, StoreError, Worker } from '../../src/index.ts';
import { Playground, quiet } from '../support/in-memory.ts';
import { override } from '../support/override.ts';
import { until } from '../support/workplace.ts';

let count = 0;
const name = () => `memory://settling-${process.pid}-${count++}`;
const depth = async (app: Lovage) => (await (await app.broker()).countMany(['celery']))[0];

/** An application whose result store fails while `down.now` is set. */
function shop(options: { visibilityTimeout: number; grace?: number }) {
  const url = name();
  const down = { now: false };
  const backend = memoryBackend(url);
  const app = new Lovage('test', {
    broker: memoryBroker(url, { visibilityTimeout: options.visibilityTimeout }),
    backend: override(backend, {
      storeMany: async (records, ttlMs) => {
        if (down.now) throw new StoreError('the store is down');
        return backend.storeMany(records, ttlMs);
      },
    }),
    logger: quiet,
    workerShutdownTimeout: options.grace ?? 5,
  });
  return { app, down };
}

describe('a store in trouble', () => {
  test('for longer than the lease: the message goes back, and its result is there when the store is', async () => {
    const { app, down } = shop({ visibilityTimeout: 0.2 });
    let runs = 0;
    const task = app.task('tasks.count', () => {
      runs += 1;
      return runs;
    });
    const worker = new Worker(app);
    await worker.start();
    down.now = true;
    const result = await task.delay();
    await until(() => runs >= 2);
    down.now = false;
    expect(await result.get({ timeout: 10 })).toBeGreaterThan(1);
    await until(async () => (await depth(app))?.inFlight === 0);
    await worker.stop();
    await app.close();
  });

  test('does not hold up a stop for longer than the grace time', async () => {
    const { app, down } = shop({ visibilityTimeout: 3600, grace: 0.2 });
    const ran = Promise.withResolvers<void>();
    const task = app.task('tasks.ran', () => ran.resolve());
    const worker = new Worker(app);
    await worker.start();
    down.now = true;
    await task.delay();
    await ran.promise;
    expect(await worker.stop()).toBe(1);
    expect((await depth(app))?.inFlight).toBe(0);
    await app.close();
  });

  test('when STARTED is stored: the task runs all the same', async () => {
    const { app, down } = shop({ visibilityTimeout: 30 });
    const task = app.task('tasks.tracked', { trackStarted: true }, () => {
      down.now = false;
      return 'ran';
    });
    const worker = new Worker(app);
    await worker.start();
    down.now = true;
    expect(await (await task.delay()).get({ timeout: 5 })).toBe('ran');
    await worker.stop();
    await app.close();
  });
});

describe('one settlement that cannot be carried out', () => {
  test('a follow-up that is too large fails its own task, not those settled with it', async () => {
    await using play = new Playground({ maxMessageBytes: 4096 });
    const kept: string[] = [];
    const big = play.app.task('tasks.big', (n: number) => 'x'.repeat(n));
    const keep = play.app.task('tasks.keep', (text: string) => void kept.push(text));
    const results = await big.applyMany([[1], [2], [10_000], [3], [4]], { link: keep.s() });
    await play.work();
    expect(await Promise.all(results.map((r) => r.get({ timeout: 5 })))).toHaveLength(5);
    await until(() => kept.length === 4);
    const { deadLetters } = await play.app.broker();
    const [letter] = await until(async () => {
      const letters = await deadLetters.list();
      return letters.length > 0 && letters;
    });
    expect(letter?.reason).toMatch(/keep was not sent.*limit is 4096/);
    await until(async () => (await depth(play.app))?.inFlight === 0);
  });

  test('a retry for a time that is none is the failure of its task', async () => {
    await using play = new Playground();
    const never = play.app.task('tasks.never', { bind: true }, (self) => {
      throw self.retry({ eta: new Date('nonsense') });
    });
    const endless = play.app.task('tasks.endless', { bind: true }, (self) => {
      throw self.retry({ countdown: Number.POSITIVE_INFINITY });
    });
    await play.work();
    await expect((await never.delay()).get({ timeout: 5 })).rejects.toThrow(/option 'eta' of self.retry/);
    await expect((await endless.delay()).get({ timeout: 5 })).rejects.toThrow(/countdown/);
  });

  test('a result that is kept with arguments it cannot be kept with fails alone', async () => {
    await using play = new Playground({ resultExtended: true, resultSerializer: 'msgpack' });
    const echo = play.app.task('tasks.echo', (value: unknown) => typeof value);
    const results = await echo.applyMany([['a'], [2n ** 100n], ['b']]);
    await play.work();
    const ends = await Promise.allSettled(results.map((r) => r.get({ timeout: 5 })));
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  test.each(['circular', 'bigint', 'no prototype'])(
    'a task that throws what cannot be shown (%s) fails alone',
    async (kind) => {
      await using play = new Playground({}, { concurrency: 1 });
      const bad = play.app.task('tasks.bad', () => {
        const circular: { self?: unknown } = {};
        circular.self = circular;
        throw { circular, bigint: { id: 10n }, 'no prototype': Object.create(null) }[kind];
      });
      const good = play.app.task('tasks.good', () => 'good');
      const first = await bad.delay();
      const second = await good.delay();
      await play.work();
      await expect(first.get({ timeout: 5 })).rejects.toThrow();
      expect(await second.get({ timeout: 5 })).toBe('good');
    },
  );
});

describe('many messages at once', () => {
  test('one that cannot be written is named, and all others are sent', async () => {
    await using play = new Playground();
    const echo = play.app.task('tasks.echo', (value: unknown) => value);
    const calls = Array.from({ length: 1300 }, (_, i) => [i === 700 ? () => 1 : i] as [unknown]);
    const error = await echo.applyMany(calls).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(PublishError);
    expect(error).toMatchObject({ failures: [{ index: 700 }], taskIds: { length: 1300 } });
    expect((await depth(play.app))?.ready).toBe(1299);
  });

  test('a broker that fails for a moment is tried again, and only for what it did not take', async () => {
    const broker = memoryBroker(name());
    const refused = new Set<string>();
    const flaky: Broker = override(broker, {
      publishMany: async (messages) => {
        const failures: ItemFailure[] = [];
        const taken = messages.filter(({ message }, index) => {
          const id = String(message.headers.id);
          if (refused.has(id) || Math.random() < 0.5) return true;
          refused.add(id);
          failures.push({ index, error: new StoreError('busy') });
          return false;
        });
        await broker.publishMany(taken);
        return failures;
      },
    });
    const app = new Lovage('test', { broker: flaky, backend: false, logger: quiet });
    await app.sendMany(
      'tasks.any',
      Array.from({ length: 1200 }, (_, i) => [i]),
    );
    expect((await depth(app))?.ready).toBe(1200);
    await app.close();
  });
});

describe('leases', () => {
  const recipe = (code: string) => ({
    module: `data:text/javascript,${encodeURIComponent(code)}`,
    factory: 'make',
    args: [],
  });

  test('a thread that dies in the middle of a renewal neither stops the worker nor loses its messages', async () => {
    const broker = memoryBroker(name(), { visibilityTimeout: 1 });
    const dying = recipe(`export const make = () => ({
      async start() {}, async stop() {},
      extendMany() { setTimeout(() => { throw new Error('the thread dies') }); return new Promise(() => {}); },
    });`);
    const app = new Lovage('test', {
      broker: override(broker, { recipe: dying }),
      backend: memoryBackend(name()),
      logger: quiet,
    });
    let runs = 0;
    const slow = app.task('tasks.slow', async () => {
      runs += 1;
      await new Promise((resolve) => setTimeout(resolve, 2500));
      return runs;
    });
    const worker = new Worker(app);
    await worker.start();
    expect(await (await slow.delay()).get({ timeout: 20 })).toBe(1);
    expect(await worker.stop()).toBe(0);
    await app.close();
  });

  test('a thread that cannot open the broker fails the start, with the reason', async () => {
    const broken = recipe(
      `export const make = () => ({ async start() { throw new Error('no such file') }, async stop() {} });`,
    );
    const app = new Lovage('test', {
      broker: override(memoryBroker(name()), { recipe: broken }),
      backend: false,
      logger: quiet,
    });
    await expect(new Worker(app).start()).rejects.toThrow('no such file');
    await app.close();
  });
});

describe('early acknowledgement', () => {
  test('a task that is aborted by a stop is not run again: its caller is told', async () => {
    await using play = new Playground({ workerShutdownTimeout: 0.05 });
    const begun = Promise.withResolvers<void>();
    const long = play.app.task('tasks.long', { bind: true, acksLate: false }, (self) => {
      begun.resolve();
      return new Promise((_, reject) => self.signal.addEventListener('abort', () => reject(self.signal.reason)));
    });
    const worker = await play.work();
    const result = await long.delay();
    await begun.promise;
    expect(await worker.stop()).toBe(1);
    await expect(result.get({ timeout: 5 })).rejects.toThrow(/not run again/);
    expect(await depth(play.app)).toEqual({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
  });
});

describe('remote control', () => {
  test('notes that are no requests do the worker no harm', async () => {
    await using play = new Playground();
    const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
    await play.work();
    const { bus } = await play.app.broker();
    const notes = [
      '',
      '{',
      '[]',
      'null',
      '{"method":"ping","destination":5}',
      '{"method":5,"ticket":{},"reply_to":7}',
      '{"method":"__proto__"}',
    ];
    await bus?.emitMany(
      'celery.pidbox',
      notes.map((text) => Buffer.from(text)),
    );
    expect(await (await add.delay(1, 1)).get({ timeout: 5 })).toBe(2);
  });
});
