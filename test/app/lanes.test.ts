import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Lovage, Worker } from '../../src/index.ts';
import { quiet } from '../support/in-memory.ts';
import { LimitShop, type StoreName, stores } from '../support/limit-shop.ts';
import { override } from '../support/override.ts';
import { until } from '../support/workplace.ts';

const timeout = { timeout: 30 };
const here = `${process.pid} 0`;

/** The application of the pools on a store of its own, with one child; it ends with the test. */
async function open(store: StoreName, pool: 'threads' | 'processes') {
  const place = await LimitShop.open(store);
  const folder = mkdtempSync(join(tmpdir(), 'lovage-lanes-'));
  const notes = join(folder, 'notes');
  Object.assign(process.env, { TEST_POOL: pool, TEST_NOTES: notes, TEST_BROKER: place.url, TEST_CHILDREN: '1' });
  vi.resetModules();
  const shop = await import('../support/pool-app.ts');
  const { Worker: SameWorker } = await import('../../src/index.ts');
  const workers: Worker[] = [];
  onTestFinished(async () => {
    delete process.env.TEST_CHILDREN;
    await Promise.all(workers.map((worker) => worker.stop({ now: true })));
    await shop.app.close();
    await place[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    ...shop,
    notes: () => readFileSync(notes, 'utf8').split('\n').slice(0, -1),
    depth: async () => (await (await shop.app.broker()).countMany(['celery']))[0],
    async work(options: object = {}) {
      const worker = new SameWorker(shop.app, { concurrency: 5, ...options });
      await worker.start();
      workers.push(worker);
      return worker;
    },
  };
}

const places = stores.flatMap((store) => (['threads', 'processes'] as const).map((pool) => [store, pool] as const));

describe.each(places)('on %s, a lane of %s beside the event loop', (store, pool) => {
  test('runs its tasks there and the others here, with their errors, retries and limits', async () => {
    const shop = await open(store, pool);
    await shop.work();
    expect(await (await shop.where.delay(1)).get(timeout)).toEqual([1, pool, false]);
    expect(await (await shop.here.delay(2)).get(timeout)).toEqual([2, true]);
    expect(await (await shop.flaky.delay()).get(timeout)).toBe(2);
    await expect((await shop.fail.delay()).get(timeout)).rejects.toThrow('out of lovage');
    await expect((await shop.forever.delay()).get(timeout)).rejects.toThrow(/TimeLimitExceeded|time limit/i);
    await expect((await shop.unwritable.delay()).get(timeout)).rejects.toThrow(/run/);
    expect(await (await shop.where.delay(3)).get(timeout)).toEqual([3, pool, false]);
  }, 60_000);

  test('children are replaced after their number of tasks, or when they have too much memory', async () => {
    const shop = await open(store, pool);
    const place = async () => (await shop.nap.delay(1)).get(timeout);
    const few = await shop.work({ maxTasksPerChild: 2 });
    const [a, b, c] = [await place(), await place(), await place()];
    expect(b).toBe(a);
    expect(c).not.toBe(a);
    await few.stop();
    // Less than any has.
    await shop.work({ maxMemoryPerChild: 1024 });
    expect(await place()).not.toBe(await place());
  }, 60_000);

  test('hooks run, and resources are open, in the child', async () => {
    const shop = await open(store, pool);
    const worker = await shop.work();
    const child = await (await shop.hooked.delay()).get(timeout);
    expect(child).not.toBe(here);
    await worker.stop();
    const about = (place: string) => shop.notes().filter((line) => line.endsWith(` ${place}`));
    expect(about(String(child))).toEqual([
      `opens ${child}`,
      `before ${child}`,
      `success ${child} ${child}`,
      `after SUCCESS ${child}`,
      `closes ${child}`,
    ]);
    expect(about(here)).toEqual([`opens ${here}`, `closes ${here}`]);
  }, 60_000);

  test('at a shutdown what waits in it goes back at once, and what runs leaves its checkpoint to the next worker', async () => {
    const shop = await open(store, pool);
    const worker = await shop.work({ shutdownTimeout: 0.5 });
    const long = await shop.steps.delay();
    await until(() => shop.notes().some((line) => line.startsWith('left by')));
    const behind = await shop.nap.applyMany([[1], [1], [1]]);
    await until(async () => (await shop.depth())?.inFlight === 4);
    const stopped = worker.stop();
    await until(async () => (await shop.depth())?.ready === 3);
    expect(worker.state).toBe('stopping');
    expect(await stopped).toBe(1);
    expect(await shop.depth()).toEqual({ ready: 4, inFlight: 0, delayed: 0, dead: 0 });
    await shop.work();
    const left = shop.notes().find((line) => line.startsWith('left by'));
    expect(await long.get(timeout)).toBe(left);
    for (const nap of behind) expect(await nap.get(timeout)).toMatch(/^\d+ \d+$/);
  }, 60_000);
});

test('a task for a lane beside the main one that is read while the worker stops does not begin, and goes back', async () => {
  const reading = Promise.withResolvers<void>();
  const read = Promise.withResolvers<void>();
  const broker = `memory://closing-${process.pid}`;
  const real = await new Lovage('real', { broker, logger: quiet }).backend();
  if (!real) throw new Error('memory:// keeps results');
  const backend = override(real, {
    async fetchMany(ids) {
      reading.resolve();
      await read.promise;
      return real.fetchMany(ids);
    },
  });
  const app = new Lovage('closing', { broker, backend, logger: quiet });
  onTestFinished(() => app.close());
  let runs = 0;
  const task = app.task('tasks.elsewhere', { pool: 'async' }, () => {
    runs += 1;
  });
  const worker = new Worker(app, { pool: 'solo' });
  await worker.start();
  await task.delay();
  await reading.promise;
  const stopped = worker.stop();
  read.resolve();
  expect(await stopped).toBe(0);
  expect(runs).toBe(0);
  expect((await (await app.broker()).countMany(['celery']))[0]).toMatchObject({ ready: 1, inFlight: 0 });
});

test('the log says of a task that it was received, also in a lane beside the main one', async () => {
  const told: string[] = [];
  const logger = { ...quiet, debug: (_: object, text: string) => void told.push(text) };
  const app = new Lovage('received', { broker: `memory://received-${process.pid}`, logger });
  const task = app.task('tasks.elsewhere', { pool: 'async' }, () => 1);
  const worker = new Worker(app, { pool: 'solo' });
  onTestFinished(async () => {
    await worker.stop({ now: true });
    await app.close();
  });
  await worker.start();
  const result = await task.delay();
  expect(await result.get(timeout)).toBe(1);
  expect(told).toContain(`Task tasks.elsewhere[${result.id}] received`);
});
