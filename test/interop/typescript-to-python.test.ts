/** TypeScript sends, a Celery worker runs, TypeScript reads the result. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Lovage, NotRegisteredError, RemoteTaskError, Signature, TaskRevokedError } from '../../src/index.ts';
import { until } from '../support/workplace.ts';
import { Pair } from './pair.ts';
import { OutOfStock } from './tasks.ts';

let pair: Pair;
let app: Lovage;
const soon = { timeout: 15 };

beforeAll(async () => {
  // Only Python workers serve its queue, so messages that are not due yet go there and wait in a worker.
  pair = await Pair.start({ options: { brokerTransportOptions: { parkDelayed: false } } });
  app = pair.app;
  // The TypeScript worker is there for callbacks.
  await Promise.all([pair.pythonWorker(), pair.typescriptWorker()]);
});
afterAll(() => pair[Symbol.asyncDispose]());

/** The call of a task that the other side has. */
function call(task: string, ...args: unknown[]): Signature<[unknown]> {
  return new Signature(app, task, args) as Signature<[unknown]>;
}

async function failureOf(task: string, args: readonly unknown[] = []): Promise<RemoteTaskError> {
  const error = await (await app.sendTask(task, args)).get(soon).catch((e: unknown) => e);
  if (error instanceof RemoteTaskError) return error;
  throw new Error(`expected a RemoteTaskError, got ${error}`);
}

describe('calls', () => {
  test('positional arguments arrive, and get() resolves with what the function returned', async () => {
    const result = await app.sendTask('py.add', [2, 3]);
    expect(await result.get(soon)).toBe(5);
    expect(await result.state).toBe('SUCCESS');
  });

  test('keyword arguments arrive under their names', async () => {
    const result = await app.sendTask('py.call', [1], { kwargs: { two: 2, three: [3] } });
    expect(await result.get(soon)).toEqual({ args: [1], kwargs: { two: 2, three: [3] } });
  });

  test("arguments that do not fit are Python's TypeError", async () => {
    const error = await (await app.sendTask('py.add', [1, 2, 3])).get(soon).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toContain('positional arguments');
  });

  test('the task sees who called it, with the headers of the caller', async () => {
    const result = await app.sendTask('py.whoami', [], { headers: { tenant: 'blue' }, priority: 4 });
    expect(await result.get(soon)).toEqual({
      id: result.id,
      root_id: result.id,
      parent_id: null,
      lang: 'ts',
      retries: 0,
      priority: 4,
      origin: expect.stringMatching(/^gen\d+@/),
      queue: 'py',
      tenant: 'blue',
      eta: null,
      expires: null,
    });
  });

  test('many calls in one go are all answered', async () => {
    const results = await app.sendMany<number>(
      'py.add',
      Array.from({ length: 100 }, (_, n) => [n, n]),
    );
    const values = await Promise.all(results.map((result) => result.get(soon)));
    expect(values).toEqual(Array.from({ length: 100 }, (_, n) => 2 * n));
  });

  test('a result that TypeScript forgets is gone', async () => {
    const result = await app.sendTask('py.add', [1, 1]);
    await result.get(soon);
    expect(await pair.hasResult(result.id)).toBe(true);
    await result.forget();
    expect(await pair.hasResult(result.id)).toBe(false);
  });
});

describe('time', () => {
  // Celery looks at its clock once a second: a task without a delay to wait for may begin that late, too.
  test('a task with a countdown does not run before it is over', async () => {
    const asked = Date.now() / 1000;
    const ran = await (await app.sendTask<number>('py.now', [], { countdown: 2 })).get(soon);
    expect(ran - asked).toBeGreaterThanOrEqual(1.99);
    expect(ran - asked).toBeLessThan(6);
  });

  test('a task with an eta does not run before it', async () => {
    const due = Date.now() + 2000;
    const ran = await (await app.sendTask<number>('py.now', [], { eta: new Date(due) })).get(soon);
    expect(ran - due / 1000).toBeGreaterThanOrEqual(-0.01);
    expect(ran - due / 1000).toBeLessThan(4);
  });

  test('an expired task is not run: it is revoked', async () => {
    const result = await app.sendTask('py.note', ['ran', 'expired'], { expires: new Date('2020-01-01') });
    const error = await result.get(soon).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(TaskRevokedError);
    expect(String(error)).toContain('expired');
    expect(await result.state).toBe('REVOKED');
    expect(await pair.store.exists('expired')).toBe(0);
  });

  test('a task that has not expired yet runs', async () => {
    expect(await (await app.sendTask('py.add', [1, 1], { expires: 60 })).get(soon)).toBe(2);
  });
});

describe('routes', () => {
  test('messages go to the queue that is asked for, and wait there for a worker of it', async () => {
    const result = await app.sendTask('py.whoami', [], { queue: 'elsewhere' });
    expect(await pair.store.llen('elsewhere')).toBe(1);
    await using _ = await pair.pythonWorker({ queues: ['elsewhere'] });
    expect(await result.get(soon)).toMatchObject({ queue: 'elsewhere' });
  });

  test('priority 0 is served before 3, 6 and 9', async () => {
    for (const priority of [9, 3, 0, 6])
      await app.sendTask('py.note', [priority, 'order'], { queue: 'ranked', priority });
    await using _ = await pair.pythonWorker({ queues: ['ranked'], concurrency: 1 });
    const order = [
      await pair.note('order'),
      await pair.note('order'),
      await pair.note('order'),
      await pair.note('order'),
    ];
    expect(order).toEqual(['0', '3', '6', '9']);
  });
});

describe('states', () => {
  test('an exception arrives with its class, its message and its traceback', async () => {
    const error = await failureOf('py.fail', ['no such room']);
    expect(error).toMatchObject({ type: 'ValueError', module: 'builtins', args: ['no such room'] });
    expect(error.message).toContain('no such room');
    expect(error.remoteStack).toContain('Traceback (most recent call last)');
    expect(error.remoteStack).toContain('raise ValueError(text)');
    expect(error.remoteStack).toMatch(/ValueError: no such room\s*$/);
  });

  test('the traceback can be asked for', async () => {
    const result = await app.sendTask('py.fail', ['no']);
    await result.get(soon).catch(() => {});
    expect(await result.state).toBe('FAILURE');
    expect(await result.traceback).toContain('app.py');
  });

  test('an exception whose class is registered is rebuilt from its arguments', async () => {
    const error = await (await app.sendTask('py.out_of_stock', ['chairs', 3])).get(soon).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(OutOfStock);
    expect(error).toMatchObject({ args: ['chairs', 3], message: '3 of chairs are not there' });
  });

  test('a retry keeps the id, and is counted', async () => {
    const result = await app.sendTask('py.retry_once', ['value']);
    expect(await result.get(soon)).toEqual(['value', 1]);
  });

  test('a task without retries left fails with its last error', async () => {
    expect(await failureOf('py.retry_in_vain')).toMatchObject({ type: 'RuntimeError', args: ['never works'] });
  });

  test("a state of the task's own is seen with its details while the task runs", async () => {
    const result = await app.sendTask('py.progress', ['gate']);
    await until(async () => (await result.state) === 'PROGRESS');
    expect(await result.info).toEqual({ current: 1, total: 3 });
    await pair.open('gate');
    expect(await result.get(soon)).toBe('complete');
  });

  test('nothing is stored for a task whose result is ignored, by the task or by the caller', async () => {
    const own = await app.sendTask('py.ignored', ['ignored']);
    const asked = await app.sendTask('py.late_note', ['ran', 'ignored'], { ignoreResult: true });
    expect([await pair.note('ignored'), await pair.note('ignored')].sort()).toEqual(['"ran"', 'ran']);
    await pair.settled('py');
    expect([await pair.hasResult(own.id), await pair.hasResult(asked.id)]).toEqual([false, false]);
    expect(await own.state).toBe('PENDING');
  });

  test('a task that Python revoked before it began does not run', async () => {
    const taskId = 'revoked-before-it-was-sent';
    const heard = await pair.python.run<unknown[]>('app.control.revoke(task_id, reply=True, timeout=1)', {
      task_id: taskId,
    });
    expect(heard.some((reply) => JSON.stringify(reply).includes('flagged as revoked'))).toBe(true);
    const result = await app.sendTask('py.note', ['ran', 'revoked'], { taskId });
    await expect(result.get(soon)).rejects.toBeInstanceOf(TaskRevokedError);
    expect(await pair.store.exists('revoked')).toBe(0);
  });

  test('a task that TypeScript revoked before it was sent does not run', async () => {
    const taskId = 'revoked-by-typescript';
    await app.revoke(taskId);
    // What Python's workers know they heard on the bus; a note before it would have been heard before, too.
    await until(async () => {
      const revoked = await pair.python.run<unknown>('app.control.inspect(timeout=1).revoked()', {});
      return JSON.stringify(revoked).includes(taskId);
    });
    await app.sendTask('py.note', ['ran', 'never'], { taskId });
    await pair.settled('py');
    expect(await pair.store.exists('never')).toBe(0);
  });

  test('an unknown task is a failure that TypeScript hears of', async () => {
    const result = await app.sendTask('py.nothing', [1]);
    const error = await result.get(soon).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(NotRegisteredError);
    expect(String(error)).toContain('py.nothing');
    expect(await result.state).toBe('FAILURE');
  });
});

describe('callbacks', () => {
  test('link: callbacks of both languages get the return value', async () => {
    const link = [call('ts.note', 'linked'), call('py.note', 'linked')];
    const result = await app.sendTask('py.add', [2, 3], { link });
    expect(await result.get(soon)).toBe(5);
    expect([await pair.note('linked'), await pair.note('linked')]).toEqual(['5', '5']);
  });

  test('a callback is a child of the task', async () => {
    const result = await app.sendTask('py.add', [2, 3], { link: call('ts.add', 10) });
    await result.get(soon);
    const [child] = await result.children;
    expect(await child?.get(soon)).toBe(15);
  });

  test('link_error: a callback in TypeScript gets the id of the task that failed in Python', async () => {
    const result = await app.sendTask('py.fail', ['no'], { linkError: call('ts.onError', 'failed') });
    expect(JSON.parse(await pair.note('failed'))).toEqual({ id: result.id, state: 'FAILURE' });
  });

  test('an immutable callback gets its own arguments only', async () => {
    const link = new Signature(app, 'ts.note', ['own', 'immutable'], {}, { immutable: true });
    await app.sendTask('py.add', [2, 3], { link });
    expect(await pair.note('immutable')).toBe('"own"');
  });

  test('a callback of a callback goes back', async () => {
    const link = call('ts.add', 10).set({ link: call('py.note', 'twice') });
    await app.sendTask('py.add', [1, 2], { link });
    expect(await pair.note('twice')).toBe('13');
  });
});

describe('values', () => {
  test('text of every script survives, in both directions', async () => {
    const text = 'héllo ☃ 😀 \u0000 \u2028 "quoted" \\ 漢字';
    expect(await (await app.sendTask('py.echo', [text])).get(soon)).toBe(text);
    expect(await (await app.sendTask('py.length', ['☃😀'])).get(soon)).toBe(2);
  });

  test('NaN and the infinities survive, in both directions', async () => {
    const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    expect(await (await app.sendTask('py.echo', [values])).get(soon)).toEqual(values);
    expect(await (await app.sendTask('py.describe', [values])).get(soon)).toBe('[nan, inf, -inf]');
  });

  test('numbers stay whole or broken as they were, as far as JavaScript tells them apart', async () => {
    const value = { big: Number.MAX_SAFE_INTEGER, less: Number.MIN_SAFE_INTEGER, half: 0.5, tiny: 5e-324 };
    expect(await (await app.sendTask('py.describe', [value])).get(soon)).toBe(
      "{'big': 9007199254740991, 'less': -9007199254740991, 'half': 0.5, 'tiny': 5e-324}",
    );
  });

  test('dates reach Celery 5.2 as ISO text', async () => {
    const value = { date: new Date('2020-01-02T03:04:05.678Z') };
    expect(await (await app.sendTask('py.kinds', [value])).get(soon)).toEqual({ date: 'str' });
    expect(await (await app.sendTask('py.echo', [value])).get(soon)).toEqual({ date: '2020-01-02T03:04:05.678000Z' });
  });

  test('results of Python types are read by TypeScript', async () => {
    expect(await (await app.sendTask('py.types')).get(soon)).toEqual({
      aware: '2020-01-02T03:04:05.678901Z',
      naive: '2020-01-02T03:04:05',
      date: '2020-01-02T00:00:00',
      time: '03:04:05',
      uuid: '12345678-1234-5678-1234-567812345678',
      decimal: '1.10',
      tuple: [1, 2],
      nan: Number.NaN,
      inf: Number.POSITIVE_INFINITY,
      big: Number.MAX_SAFE_INTEGER,
      float: 1.5,
      unicode: 'h\u00e9llo \u2603 \u{1F600}',
      none: null,
      true: true,
    });
  });

  test('5 MB go there and back', async () => {
    const text = `${'x'.repeat(5_000_000)}é`;
    expect(await (await app.sendTask('py.length', [text])).get(soon)).toBe(5_000_001);
    expect((await (await app.sendTask('py.echo', [text])).get(soon)) === text).toBe(true);
  });

  test('a body compressed with zlib is read', async () => {
    const text = 'x'.repeat(10_000);
    expect(await (await app.sendTask('py.length', [text], { compression: 'zlib' })).get(soon)).toBe(10_000);
  });
});
