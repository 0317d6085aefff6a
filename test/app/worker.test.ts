import { describe, expect, test } from 'vitest';
import { ConfigError, type Lovage, Worker } from '../../src/index.ts';
import { Playground } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

const depth = async (app: Lovage) => (await (await app.broker()).countMany(['celery']))[0];

describe('how much a worker holds', () => {
  test('no more than it runs: short tasks come in bursts, but what a burst leaves over goes back at once', async () => {
    await using play = new Playground({}, { concurrency: 2 });
    const go = Promise.withResolvers<void>();
    const quick = play.app.task('tasks.quick', () => 0);
    const slow = play.app.task('tasks.slow', () => go.promise);
    const quicks = await quick.applyMany(Array.from({ length: 60 }, () => []));
    const slows = await slow.applyMany(Array.from({ length: 12 }, () => []));
    await play.work();
    await Promise.all(quicks.map((result) => result.get({ timeout: 5 })));
    await until(async () => {
      const now = await depth(play.app);
      return now?.inFlight === 2 && now.ready === 10;
    });
    go.resolve();
    await Promise.all(slows.map((result) => result.get({ timeout: 5 })));
  });

  test('with a prefetch, as many as that says', async () => {
    await using play = new Playground({}, { concurrency: 1, prefetchMultiplier: 3 });
    const go = Promise.withResolvers<void>();
    const slow = play.app.task('tasks.slow', () => go.promise);
    const slows = await slow.applyMany(Array.from({ length: 5 }, () => []));
    await play.work();
    await until(async () => {
      const now = await depth(play.app);
      return now?.inFlight === 3 && now.ready === 2;
    });
    go.resolve();
    await Promise.all(slows.map((result) => result.get({ timeout: 5 })));
  });

  test('as many run at once as there are slots', async () => {
    await using play = new Playground({}, { concurrency: 4 });
    let running = 0;
    let most = 0;
    const count = play.app.task('tasks.count', async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
    });
    const results = await count.applyMany(Array.from({ length: 40 }, () => []));
    await play.work();
    await Promise.all(results.map((result) => result.get({ timeout: 5 })));
    expect(most).toBe(4);
  });
});

describe('early acknowledgement', () => {
  test('acks when a task begins, and what waits for a slot is given back at a stop', async () => {
    await using play = new Playground({ taskAcksLate: false }, { concurrency: 1, prefetchMultiplier: 3 });
    const go = Promise.withResolvers<void>();
    const slow = play.app.task('tasks.slow', () => go.promise);
    await slow.applyMany([[], [], []]);
    const worker = await play.work();
    await until(async () => {
      const now = await depth(play.app);
      return now?.inFlight === 2 && now.ready === 0;
    });
    const stopped = worker.stop();
    await until(async () => (await depth(play.app))?.ready === 2);
    go.resolve();
    expect(await stopped).toBe(0);
    expect(await depth(play.app)).toEqual({ ready: 2, inFlight: 0, delayed: 0, dead: 0 });
  });
});

describe('starting and stopping', () => {
  test('stop() may be called before start(), and twice', async () => {
    await using play = new Playground();
    expect(await new Worker(play.app).stop()).toBe(0);
    const worker = await play.work();
    expect(await Promise.all([worker.stop(), worker.stop()])).toEqual([0, 0]);
  });

  test('several queues are consumed; other queues are left alone', async () => {
    await using play = new Playground({}, { queues: ['a', 'b'] });
    const where = play.app.task('tasks.where', { bind: true }, (self) => self.request.queue);
    const results = await Promise.all(['a', 'b'].map((queue) => where.applyAsync([], { queue })));
    const other = await where.applyAsync([], { queue: 'c' });
    await play.work();
    expect(await Promise.all(results.map((result) => result.get({ timeout: 5 })))).toEqual(['a', 'b']);
    expect(await other.state).toBe('PENDING');
  });

  test('names are made as Celery makes them', () => {
    const { app } = new Playground();
    expect(new Worker(app, { name: 'w1' }).hostname).toMatch(/^w1@.+/);
    expect(new Worker(app, { name: 'w1@example' }).hostname).toBe('w1@example');
    expect(new Worker(app).hostname).toMatch(/^celery@.+/);
  });

  test.each<[object, RegExp]>([
    [{ concurency: 3 }, /the worker has no option 'concurency'; did you mean 'concurrency'/],
    [{ concurrency: 0 }, /'concurrency'.*expected a whole number from 1/],
    [{ queues: [] }, /at least one queue/],
    [{ pool: 'prefork' }, /'pool'.*'async'/],
  ])('wrong options are refused: %j', (options, told) => {
    const { app } = new Playground();
    expect(() => new Worker(app, options)).toThrow(ConfigError);
    expect(() => new Worker(app, options)).toThrow(told);
  });
});
