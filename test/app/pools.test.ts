import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ConfigError, chain, chord, Lovage, Worker } from '../../src/index.ts';
import { Playground } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

const folder = mkdtempSync(join(tmpdir(), 'lovage-pools-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(['threads', 'processes'] as const)('a worker with a lane of %s', (pool) => {
  let shop: typeof import('../support/pool-app.ts');
  let worker: Worker;
  const notes = join(folder, `${pool}.notes`);
  const told: string[] = [];

  beforeAll(async () => {
    process.env.TEST_POOL = pool;
    process.env.TEST_NOTES = notes;
    process.env.TEST_BROKER = `sqlite://${join(folder, `${pool}.db`)}?visibilityTimeout=1`;
    vi.resetModules();
    shop = await import('../support/pool-app.ts');
    const { Worker: SameWorker } = await import('../../src/index.ts');
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => told.push(String(text)) > 0);
    worker = new SameWorker(shop.app, { concurrency: 5 });
    await worker.start();
    return async () => {
      vi.restoreAllMocks();
      await worker.stop();
      await shop.app.close();
    };
  });

  test('runs each task where it wants to run', async () => {
    expect(await (await shop.where.delay(1)).get({ timeout: 20 })).toEqual([1, pool, false]);
    expect(await (await shop.here.delay(2)).get({ timeout: 20 })).toEqual([2, true]);
  });

  test('keeps errors, retries and children as they are', async () => {
    await expect((await shop.fail.delay()).get({ timeout: 20 })).rejects.toMatchObject({
      name: 'ShopError',
      message: 'out of lovage',
    });
    expect(await (await shop.flaky.delay()).get({ timeout: 20 })).toBe(2);
    const child = await (await shop.parent.delay(7)).get({ timeout: 20 });
    expect(await shop.app.result(child).get({ timeout: 20 })).toEqual([7, true]);
  });

  test('gives back values as their readers see them anywhere, and fails those that nobody could read', async () => {
    expect(await (await shop.dated.delay()).get({ timeout: 20 })).toEqual({
      at: new Date(0),
      bytes: new Uint8Array([1, 2]),
    });
    await expect((await shop.unwritable.delay()).get({ timeout: 20 })).rejects.toThrow(/run/);
  });

  test('has tasks replaced and chords grow from there', async () => {
    const { add, more, replaced, total, app } = shop;
    // Those of the application, whose modules are loaded anew.
    const canvas = await import('../../src/index.ts');
    for (const [by, value] of [
      ['task', 6],
      ['chain', 7],
      ['group', 13],
    ] as const) {
      expect(await (await replaced.delay(5, by)).get({ timeout: 20 })).toBe(value);
      expect(await (await canvas.chain(replaced.s(5, by), add.s(100)).delay()).get({ timeout: 20 })).toBe(value + 100);
      expect(await (await canvas.chord([replaced.s(5, by), more.s(1)], total.s()).delay()).get({ timeout: 20 })).toBe(
        value + 1 + 1101,
      );
    }
    await expect((await more.delay(1)).get({ timeout: 20 })).rejects.toThrow(/no member of a chord/);
    expect(app.tasks.get('pool.replaced')?.options.pool).toBe(pool);
  });

  test('kills an endless loop at its hard limit, while others go on', async () => {
    const endless = await shop.forever.delay();
    const others = await shop.here.applyMany(Array.from({ length: 100 }, (_, i): [number] => [i]));
    await Promise.all(others.map((one) => one.get({ timeout: 20 })));
    await expect(endless.get({ timeout: 20 })).rejects.toThrow(/TimeLimitExceeded|time limit/i);
    expect(await (await shop.where.delay(3)).get({ timeout: 20 })).toEqual([3, pool, false]);
  });

  test('aborts the signal at the soft limit', async () => {
    expect(await (await shop.patient.delay()).get({ timeout: 20 })).toBe('ended in time');
  });

  test('labels what tasks print', async () => {
    const { id } = await shop.say.delay('hello from afar');
    await until(() => told.some((text) => text === `[pool.say[${id}]] hello from afar\n`));
  });

  test.runIf(pool === 'processes')(
    'gives a task whose process dies to the dead letters, after its deliveries',
    async () => {
      const result = await shop.die.delay('again');
      await expect(result.get({ timeout: 60 })).rejects.toThrow(/delivered 4 times/);
      const lines = readFileSync(notes, 'utf8').split('\n');
      expect(lines.filter((line) => line === 'died again')).toHaveLength(3);
      const letters = await (await shop.app.broker()).deadLetters.list();
      expect(letters.map(({ reason }) => reason).join()).toMatch(/delivered 4 times/);
      await expect((await shop.dieTold.delay()).get({ timeout: 20 })).rejects.toThrow(/WorkerLost|SIGKILL/);
    },
  );

  test.runIf(pool === 'processes')(
    'ends chords and chains with a task whose process always dies, and tells their errbacks',
    async () => {
      const { add, die, dieTold, errback, here, total } = shop;
      const canvas = await import('../../src/index.ts');
      for (const member of [die.si('in a chord'), dieTold.si()]) {
        const body = await canvas.chord([member, add.s(1, 1)], total.s().linkError(errback.s())).delay();
        await expect(body.get({ timeout: 60 })).rejects.toThrow(canvas.ChordError);
        await until(() => readFileSync(notes, 'utf8').split('\n').includes(`told of ${body.id}`));
      }
      for (const step of [die.si('in a chain'), dieTold.si()]) {
        const last = await canvas.chain(here.s(1), step, here.si(2)).linkError(errback.s()).delay();
        await expect(last.get({ timeout: 60 })).rejects.toThrow(/delivered 4 times|SIGKILL/);
        await until(() => readFileSync(notes, 'utf8').split('\n').includes(`told of ${last.parent?.id}`));
      }
    },
  );
});

test('a worker that runs one task at a time has tasks replaced and chords grow, too', async () => {
  await using play = new Playground({}, { pool: 'solo' });
  const { app } = play;
  const add = app.task('add', (x: number, y: number) => x + y);
  const total = app.task('total', (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0));
  const replaced = app.task('replaced', { bind: true }, (self, n: number): number =>
    self.replace(chain(add.s(n, 1), add.s(10))),
  );
  const more = app.task('more', { bind: true }, async (self, n: number) => {
    await self.addToChord(add.s(n, 100));
    return n;
  });
  await play.work();
  expect(await (await chord([replaced.s(5), more.s(1)], total.s()).delay()).get({ timeout: 5 })).toBe(16 + 1 + 101);
});

describe('wrong pools', () => {
  test('limits that contradict each other are refused where they are written', () => {
    const app = new Lovage('limits', { broker: 'memory://limits' });
    expect(() => app.task('bad', { timeLimit: 5, softTimeLimit: 5 }, () => 1)).toThrow(
      /expected softTimeLimit to be below timeLimit, got 5 s and 5 s/,
    );
    expect(() => new Worker(app, { timeLimit: 1, softTimeLimit: 2 })).toThrow(ConfigError);
    const all = new Lovage('limits', { broker: 'memory://limits', taskTimeLimit: 3, taskSoftTimeLimit: 3 });
    expect(() => new Worker(all)).toThrow(/the worker: expected softTimeLimit to be below timeLimit, got 3 s and 3 s/);
  });

  test('so are those of a call that contradict each other, or what its task says', async () => {
    await using play = new Playground();
    const task = play.app.task('limits.task', { softTimeLimit: 5, timeLimit: 9 }, () => 1);
    for (const limits of [{ timeLimit: 5 }, { softTimeLimit: 9 }, { timeLimit: 2, softTimeLimit: 3 }])
      await expect(task.applyAsync([], limits)).rejects.toThrow(/expected softTimeLimit to be below timeLimit/);
    for (const limit of [-1, Number.NaN, '5'])
      await expect(task.applyAsync([], { timeLimit: limit as never })).rejects.toThrow(
        /'timeLimit'.*number of seconds/,
      );
  });

  test('those of a caller in another language are the failure of its task', async () => {
    await using play = new Playground();
    const task = play.app.task('limits.task', () => 1);
    const id = '22222222-2222-4222-8222-222222222222';
    const message = {
      body: Buffer.from('[[], {}, {}]'),
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: { lang: 'py', task: 'limits.task', id, timelimit: [2, 2] },
      properties: { correlation_id: id },
    };
    await (await play.app.broker()).publishMany([{ queue: 'celery', message }]);
    await play.work();
    await expect(play.app.result(id).get({ timeout: 5 })).rejects.toThrow(/soft time limit to be below the hard one/);
    expect(await (await task.delay()).get({ timeout: 5 })).toBe(1);
  });

  test('a pool that does not exist is refused', () => {
    const app = new Lovage('names', { broker: 'memory://names' });
    // @ts-expect-error: the types say so, too
    expect(() => app.task('bad', { pool: 'gevent' }, () => 1)).toThrow(/pool/);
    // @ts-expect-error: the types say so, too
    expect(() => new Worker(app, { pool: 'prefork' })).toThrow(/pool/);
  });

  test('an app that its children cannot find is named, and the worker does not start', async () => {
    const app = new Lovage('hidden', { broker: 'memory://hidden' });
    app.task('hidden.task', { pool: 'threads' }, () => 1);
    const worker = new Worker(app, { appFile: join(import.meta.dirname, '../support/pool-app.ts') });
    await expect(worker.start()).rejects.toMatchObject({
      cause: expect.objectContaining({ message: expect.stringContaining("exports no app named 'hidden'") }),
    });
    await app.close();
  });
});
