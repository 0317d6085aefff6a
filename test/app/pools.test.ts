import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  type AsyncResult,
  ConfigError,
  chain,
  chord,
  Lovage,
  SoftTimeLimitExceeded,
  TaskBase,
  type TaskContext,
  TimeLimitExceeded,
  Worker,
} from '../../src/index.ts';
import { Playground } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

const folder = mkdtempSync(join(tmpdir(), 'lovage-pools-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A message as Python writes it. */
function fromPython(task: string, { args = [], timelimit }: { args?: unknown[]; timelimit: (number | null)[] }) {
  const id = randomUUID();
  return {
    body: Buffer.from(JSON.stringify([args, {}, {}])),
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { lang: 'py', task, id, timelimit },
    properties: { correlation_id: id },
  };
}

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

  const noted = (line: string) =>
    existsSync(notes)
      ? readFileSync(notes, 'utf8')
          .split('\n')
          .filter((one) => one === line).length
      : 0;

  test('tries a task again after its hard limit where autoretryFor names that, up to maxRetries', async () => {
    expect(await (await shop.stuckRetried.delay('once', false)).get({ timeout: 20 })).toBe(1);
    expect(noted('stuck once')).toBe(2);
    await expect((await shop.stuckRetried.delay('always', true)).get({ timeout: 20 })).rejects.toThrow(/time limit/i);
    expect(noted('stuck always')).toBe(2);
  });

  test('sends a task to the dead letters after its hard limit where failures are not acknowledged', async () => {
    const result = await shop.stuckForGood.delay('for good');
    await expect(result.get({ timeout: 20 })).rejects.toThrow(/time limit/i);
    const { deadLetters } = await shop.app.broker();
    const letter = await until(async () =>
      (await deadLetters.list()).find(({ message }) => message.headers.id === result.id),
    );
    expect(letter.reason).toMatch(/time limit of 0.3 s/i);
    // `Error` stands for the errors of its code, not for what ended it.
    expect(noted('stuck for good')).toBe(1);
  });

  test('kills an endless loop at the limit of its call, also where a caller in another language gave it', async () => {
    const call = await shop.spin.applyAsync(['by call'], { timeLimit: 0.3 });
    await expect(call.get({ timeout: 20 })).rejects.toThrow(/time limit of 0\.3 s/);
    const message = fromPython('pool.spin', { args: ['by header'], timelimit: [0.4, null] });
    await (await shop.app.broker()).publishMany([{ queue: 'celery', message }]);
    const result = shop.app.result(message.properties.correlation_id);
    await expect(result.get({ timeout: 20 })).rejects.toThrow(/time limit of 0\.4 s/);
    expect([noted('spins by call'), noted('spins by header')]).toEqual([1, 1]);
  });

  test('kills an endless loop when its task is revoked with terminate, and goes on', async () => {
    const result = await shop.spin.delay('away');
    await until(() => noted('spins away') === 1);
    await result.revoke({ terminate: true });
    await expect(result.get({ timeout: 20 })).rejects.toThrow('terminated');
    expect(await (await shop.where.delay(4)).get({ timeout: 20 })).toEqual([4, pool, false]);
    // Not what its body comes to, nor a failure of its killed child.
    expect(await result.state).toBe('REVOKED');
    await until(async () => (await (await shop.app.broker()).countMany(['celery']))[0]?.inFlight === 0);
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
      expect(await (await shop.dieRetried.delay()).get({ timeout: 20 })).toBe(1);
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

test('of several limits the nearest counts, that of the call, of the task, of the worker; 0 is none', async () => {
  await using play = new Playground({ taskTimeLimit: 60 }, { timeLimit: 0.1, softTimeLimit: 0.05 });
  const reason = async (self: TaskContext) => {
    await new Promise((resolve) => self.signal.addEventListener('abort', resolve));
    return self.signal.reason instanceof SoftTimeLimitExceeded ? self.signal.reason.message : 'another reason';
  };
  const plain = play.app.task('plain', { bind: true }, reason);
  const own = play.app.task('own', { bind: true, softTimeLimit: 0.06, timeLimit: 5 }, reason);
  const deaf = play.app.task('deaf', () => new Promise(() => {}));
  const slow = play.app.task('slow', async () => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    return 'in its own time';
  });
  await play.work();
  const value = async (call: Promise<AsyncResult<unknown>>) => (await call).get({ timeout: 5 });
  expect(await value(plain.delay())).toMatch('0.05 s');
  expect(await value(own.delay())).toMatch('0.06 s');
  expect(await value(own.applyAsync([], { softTimeLimit: 0.07 }))).toMatch('0.07 s');
  const message = fromPython('own', { timelimit: [null, 0.08] });
  await (await play.app.broker()).publishMany([{ queue: 'celery', message }]);
  expect(await value(Promise.resolve(play.app.result(message.properties.correlation_id)))).toMatch('0.08 s');
  await expect(value(deaf.delay())).rejects.toThrow(/time limit of 0\.1 s/);
  await expect(value(deaf.applyAsync([], { timeLimit: 0.2 }))).rejects.toThrow(/time limit of 0\.2 s/);
  expect(await value(slow.applyAsync([], { timeLimit: 0, softTimeLimit: 0 }))).toBe('in its own time');
});

test('on the event loop, too, a task is tried again after its hard limit, or goes to the dead letters, as it says', async () => {
  await using play = new Playground();
  const runs: string[] = [];
  const stuck = async (name: string, retries: number) => {
    runs.push(name);
    if (retries === 0) await new Promise(() => {});
    return retries;
  };
  const options = { bind: true, timeLimit: 0.05, defaultRetryDelay: 0 } as const;
  const retried = play.app.task('retried', { ...options, autoretryFor: [TimeLimitExceeded] }, (self) =>
    stuck('retried', self.request.retries),
  );
  const buried = play.app.task('buried', { ...options, autoretryFor: [Error], acksOnFailureOrTimeout: false }, (self) =>
    stuck('buried', self.request.retries),
  );
  // Their bodies may still go on: a second run would be one beside it.
  const limits = { once: { once: true }, serial: { serial: () => 'k' } };
  const last = Object.entries(limits).map(([name, limit]) =>
    play.app.task(name, { ...options, ...limit, autoretryFor: [TimeLimitExceeded] }, (self) =>
      stuck(name, self.request.retries),
    ),
  );
  await play.work();
  for (const task of last) await expect((await task.delay()).get({ timeout: 5 })).rejects.toThrow(/time limit/i);
  expect(await (await retried.delay()).get({ timeout: 5 })).toBe(1);
  await expect((await buried.delay()).get({ timeout: 5 })).rejects.toThrow(/time limit/i);
  const { deadLetters } = await play.app.broker();
  const [letter] = await until(async () => {
    const letters = await deadLetters.list();
    return letters.length > 0 && letters;
  });
  expect(letter?.reason).toMatch(/time limit/i);
  expect(runs).toEqual(['once', 'serial', 'retried', 'retried', 'buried']);
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

  test('so are those that a task inherits, from its maker or its class', () => {
    const app = new Lovage('limits', { broker: 'memory://limits' });
    class Patient extends TaskBase {
      static readonly options = { softTimeLimit: 5 };
    }
    const told = /task 'bad', with what it inherits: expected softTimeLimit to be below timeLimit, got 5 s and 3 s/;
    expect(() => app.defineTask({ softTimeLimit: 5 })('bad', { timeLimit: 3 }, () => 1)).toThrow(told);
    expect(() => app.task('bad', { base: Patient, timeLimit: 3 }, () => 1)).toThrow(told);
  });

  test('a worker whose limits contradict those of a task does not start', async () => {
    await using play = new Playground({ taskTimeLimit: 3 });
    play.app.task('limits.patient', { softTimeLimit: 5 }, () => 1);
    await expect(play.work()).rejects.toThrow(
      /task 'limits.patient', with the limits of the worker .*: expected softTimeLimit to be below timeLimit, got 5 s and 3 s/,
    );
  });

  test('a call whose limit contradicts one of the worker is the failure of that task', async () => {
    await using play = new Playground({}, { softTimeLimit: 5 });
    const task = play.app.task('limits.task', () => 1);
    await play.work();
    const call = await task.applyAsync([], { timeLimit: 2 });
    await expect(call.get({ timeout: 5 })).rejects.toThrow(
      /soft time limit to be below the hard one, got 5000 and 2000 ms/,
    );
    expect(await (await task.delay()).get({ timeout: 5 })).toBe(1);
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
    const message = fromPython('limits.task', { timelimit: [2, 2] });
    await (await play.app.broker()).publishMany([{ queue: 'celery', message }]);
    await play.work();
    const result = play.app.result(message.properties.correlation_id);
    await expect(result.get({ timeout: 5 })).rejects.toThrow(/soft time limit to be below the hard one/);
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
