import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ConfigError, Lovage, Worker } from '../../src/index.ts';
import { Playground, quiet } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

const keepalive = 0.4;

describe('a worker that sets its concurrency by itself', () => {
  test('on the event loop: grows while messages wait, never beyond the most, and shrinks when it has nothing to do', async () => {
    const told: string[] = [];
    const logger = { ...quiet, info: (_: object, text: string) => void told.push(text) };
    await using play = new Playground({ workerAutoscaleKeepalive: keepalive, logger }, { autoscale: [4, 1] });
    const go = Promise.withResolvers<void>();
    let running = 0;
    let most = 0;
    const hold = play.app.task('tasks.hold', async () => {
      most = Math.max(most, ++running);
      await go.promise;
      running -= 1;
    });
    const worker = await play.work();
    expect(worker.concurrency).toBe(1);
    const results = await hold.applyMany(Array.from({ length: 12 }, () => []));
    await until(() => running === 4);
    expect(worker.concurrency).toBe(4);
    go.resolve();
    await Promise.all(results.map((result) => result.get({ timeout: 10 })));
    await until(() => worker.concurrency === 1);
    expect(most).toBe(4);
    const changes = told.filter((text) => text.includes('concurrency')).map((text) => text.split(': ').slice(1));
    expect(changes.at(0)).toEqual(['concurrency 2 from now on, not 1', 'messages wait']);
    expect(changes.at(-1)).toEqual([expect.stringMatching(/^concurrency 1 from/), 'more were not needed']);
  });

  test('a worker that has the memory it may have does not grow', async () => {
    const options = { workerAutoscaleKeepalive: keepalive, workerAutoscaleMaxMemory: 1 };
    await using play = new Playground(options, { autoscale: [8, 1] });
    let running = 0;
    let most = 0;
    const nap = play.app.task('tasks.nap', async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 60));
      running -= 1;
    });
    const results = await nap.applyMany(Array.from({ length: 20 }, () => []));
    const worker = await play.work();
    await Promise.all(results.map((result) => result.get({ timeout: 20 })));
    expect([most, worker.concurrency]).toEqual([1, 1]);
  });

  test.each(['threads', 'processes'] as const)(
    'with %s: starts more while messages wait, and ends them again; a task that runs meanwhile is left alone',
    async (pool) => {
      const folder = mkdtempSync(join(tmpdir(), 'lovage-autoscale-'));
      process.env.TEST_POOL = pool;
      process.env.TEST_NOTES = join(folder, 'notes');
      process.env.TEST_BROKER = `sqlite://${join(folder, 'test.db')}`;
      process.env.AUTOSCALE_KEEPALIVE = String(keepalive);
      vi.resetModules();
      const shop = await import('../support/pool-app.ts');
      const { Worker: SameWorker } = await import('../../src/index.ts');
      const worker = new SameWorker(shop.app, { pool, autoscale: [3, 1] });
      onTestFinished(async () => {
        delete process.env.AUTOSCALE_KEEPALIVE;
        await worker.stop({ now: true });
        await shop.app.close();
        rmSync(folder, { recursive: true, force: true });
      });
      const go = join(folder, 'go');
      const last = join(folder, 'last');
      const [long, ...short] = await shop.hold.applyMany([[last], ...Array.from({ length: 8 }, (): [string] => [go])]);
      await worker.start();
      await until(() => worker.concurrency === 3, 40_000);
      const holding = () =>
        readFileSync(join(folder, 'notes'), 'utf8')
          .split('\n')
          .filter((line) => line.startsWith('holds'));
      await until(() => new Set(holding()).size === 3, 40_000);
      writeFileSync(go, '');
      await Promise.all(short.map((result) => result.get({ timeout: 30 })));
      expect(new Set(holding()).size).toBe(3);
      await until(() => worker.concurrency === 1, 40_000);
      writeFileSync(last, '');
      expect(await long?.get({ timeout: 10 })).toMatch(/^\d+ \d+$/);
      expect(await (await shop.nap.delay(1)).get({ timeout: 10 })).toMatch(/^\d+ \d+$/);
    },
    120_000,
  );
});

describe('ranges that are wrong', () => {
  const app = () => new Lovage('x', { broker: 'memory://autoscale', logger: quiet });

  test.each<[unknown, RegExp]>([
    [[3, 10], /'autoscale'.*expected max,min.*the larger one first.*got \[3, 10\]/],
    [[3, 0], /whole numbers from 1 up.*got \[3, 0\]/],
    [[Number.NaN, 1], /got \[NaN, 1\]/],
    [[-3, -5], /got \[-3, -5\]/],
    ['10,3', /got "10,3"/],
    [5, /got 5/],
  ])('%j is refused', (autoscale, told) => {
    expect(() => new Worker(app(), { autoscale: autoscale as never })).toThrow(ConfigError);
    expect(() => new Worker(app(), { autoscale: autoscale as never })).toThrow(told);
    expect(() => new Lovage('x', { workerAutoscale: autoscale as never })).toThrow(/workerAutoscale/);
  });

  test('with a concurrency beside it, or a pool that has one slot, it is a contradiction', () => {
    expect(() => new Worker(app(), { concurrency: 4, autoscale: [5, 2] })).toThrow(
      /both concurrency 4 and autoscale 5,2/,
    );
    expect(() => new Worker(app(), { pool: 'solo', autoscale: [5, 2] })).toThrow(/pool solo/);
  });

  test('a concurrency given to the worker wins over the range of the application', () => {
    const scaled = new Lovage('x', { broker: 'memory://autoscale', workerAutoscale: [6, 2] });
    expect(new Worker(scaled, { concurrency: 4 })).toMatchObject({ concurrency: 4, autoscale: undefined });
    expect(new Worker(scaled)).toMatchObject({ concurrency: 2, autoscale: [6, 2] });
  });
});

describe('a concurrency that is none', () => {
  test.each([0, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY, 1e6, '4'])('%s is refused', (concurrency) => {
    const app = new Lovage('x', { broker: 'memory://autoscale', logger: quiet });
    const told = /[cC]oncurrency'.*expected a whole number from 1 to 100000, got/;
    expect(() => new Worker(app, { concurrency: concurrency as never })).toThrow(told);
    expect(() => new Lovage('x', { workerConcurrency: concurrency as never })).toThrow(told);
  });
});
