import { describe, expect, test } from 'vitest';
import { Lifecycle } from '../../src/app/lifecycle.ts';
import { ConfigError, ResourceError, type WorkerEvent } from '../../src/index.ts';
import { Playground, quiet } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

const events: readonly WorkerEvent[] = [
  'workerInit',
  'workerProcessInit',
  'workerReady',
  'workerShuttingDown',
  'workerProcessShutdown',
  'workerShutdown',
];

describe('app.on', () => {
  test('tells of the life of a worker, in order, with resources open in between', async () => {
    await using play = new Playground({}, { name: 'w1@here' });
    const notes: string[] = [];
    for (const event of events)
      play.app.on(event, async ({ hostname, child }) => {
        await null;
        notes.push(`${event} ${hostname} ${child}`);
      });
    play.app.resource('db', () => void notes.push('open'), { close: () => void notes.push('close') });
    const worker = await play.work();
    await worker.stop();
    const [init, processInit, ...rest] = events.map((event) => `${event} w1@here false`);
    expect(notes).toEqual([init, 'open', processInit, ...rest, 'close']);
  });

  test('a listener that throws at the start keeps the worker from starting, and nothing stays open', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    play.app.resource('db', () => void notes.push('open'), { close: () => void notes.push('close') });
    play.app.on('workerProcessInit', () => {
      throw new Error('not today');
    });
    await expect(play.work()).rejects.toThrow('not today');
    expect(notes).toEqual(['open', 'close']);
  });

  test('a listener that throws later is logged; the others are told all the same', async () => {
    const errors: object[] = [];
    await using play = new Playground({ logger: { ...quiet, error: (fields) => void errors.push(fields) } });
    const notes: string[] = [];
    for (const event of ['workerReady', 'workerShutdown'] as const) {
      play.app.on(event, () => {
        throw new Error(event);
      });
      play.app.on(event, () => void notes.push(event));
    }
    const worker = await play.work();
    expect(await worker.stop()).toBe(0);
    expect(notes).toEqual(['workerReady', 'workerShutdown']);
    expect(errors).toMatchObject([{ event: 'workerReady' }, { event: 'workerShutdown' }]);
  });

  test('tells a child of a pool only what concerns its own process', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    for (const event of events) play.app.on(event, ({ child }) => void notes.push(`${event} ${child}`));
    play.app.resource('db', () => void notes.push('open'), { close: () => void notes.push('close') });
    const life = new Lifecycle(play.app, { hostname: 'w1@here', child: true });
    await life.start();
    await life.stop(new AbortController().signal);
    expect(notes).toEqual(['open', 'workerProcessInit true', 'workerProcessShutdown true', 'close']);
  });

  test('returns what ends the listening', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    play.app.on('workerReady', () => void notes.push('heard'))();
    await play.work();
    expect(notes).toEqual([]);
  });

  test('refuses an event that does not exist', () => {
    const { app } = new Playground();
    expect(() => app.on('workerRedy' as 'workerReady', () => {})).toThrow(
      /no event 'workerRedy'; did you mean 'workerReady'/,
    );
    expect(() => app.on('workerReady', 3 as never)).toThrow(/expected a function, got number/);
  });
});

describe('a resource', () => {
  test('is open for tasks, once, with its type, and disposes of itself at the end', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    const database = play.app.resource('database', async () => {
      notes.push('open');
      return {
        query: (n: number) => n * 2,
        async [Symbol.asyncDispose]() {
          notes.push('closed');
        },
      };
    });
    const task = play.app.task('tasks.query', (n: number) => database.value.query(n));
    const worker = await play.work();
    const results = await task.applyMany([[1], [2], [3]]);
    expect(await Promise.all(results.map((result) => result.get({ timeout: 5 })))).toEqual([2, 4, 6]);
    expect(notes).toEqual(['open']);
    await worker.stop();
    expect(notes).toEqual(['open', 'closed']);
    expect(() => database.value).toThrow(/resource 'database' is not open.*await database\.open\(\)/);
  });

  test('stays open while a task runs', async () => {
    await using play = new Playground({}, { shutdownTimeout: 5 });
    const notes: string[] = [];
    play.app.resource('db', () => 1, { close: () => void notes.push('closed') });
    const gate = Promise.withResolvers<void>();
    const task = play.app.task('tasks.long', async () => {
      notes.push('begin');
      await gate.promise;
      notes.push('end');
    });
    const worker = await play.work();
    await task.delay();
    await until(() => notes.includes('begin'));
    const stopped = worker.stop();
    gate.resolve();
    await stopped;
    expect(notes).toEqual(['begin', 'end', 'closed']);
  });

  test('that cannot be opened keeps the worker from starting; those before it are closed, last first', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    for (const name of ['a', 'b'])
      play.app.resource(name, () => name, { close: () => void notes.push(`close ${name}`) });
    let broken = true;
    play.app.resource('c', () => {
      if (broken) throw new Error('refused');
      return 'c';
    });
    const failure = await play.work().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ResourceError);
    expect(failure).toMatchObject({
      message: "resource 'c' could not be opened: refused",
      cause: new Error('refused'),
    });
    expect(notes).toEqual(['close b', 'close a']);
    broken = false;
    await play.work();
  });

  test('can be opened without a worker, and app.close() closes it; a worker beside it keeps it open', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    const cache = play.app.resource('cache', () => new Map([['a', 1]]), { close: () => void notes.push('closed') });
    expect((await cache.open()).get('a')).toBe(1);
    const worker = await play.work();
    await worker.stop();
    expect(notes).toEqual([]);
    expect(cache.value.size).toBe(1);
    await play.app.close();
    expect(notes).toEqual(['closed']);
    {
      await using used = cache;
      expect((await used.open()).size).toBe(1);
    }
    expect(notes).toEqual(['closed', 'closed']);
  });

  test('that does not close keeps the worker only for the grace time and a moment', async () => {
    const warnings: string[] = [];
    await using play = new Playground(
      { logger: { ...quiet, warn: (_fields, text) => void warnings.push(text) } },
      { shutdownTimeout: 0.05 },
    );
    play.app.resource('stuck', () => 1, { close: () => new Promise(() => {}) });
    const worker = await play.work();
    await worker.stop();
    expect(warnings).toEqual([expect.stringContaining('within the grace time')]);
  });

  test('has a name of its own, and a function', () => {
    const { app } = new Playground();
    app.resource('db', () => 1);
    expect(() => app.resource('db', () => 1)).toThrow(/there is a resource 'db' already/);
    expect(() => app.resource('x', 3 as never)).toThrow(ConfigError);
  });
});
