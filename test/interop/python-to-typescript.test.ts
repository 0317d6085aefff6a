/** Python sends with Celery's client, a TypeScript worker runs, Python reads the result. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeadLetter } from '../../src/index.ts';
import { until } from '../support/workplace.ts';
import { Pair } from './pair.ts';

let pair: Pair;
let python: Pair['python'];

beforeAll(async () => {
  pair = await Pair.start();
  python = pair.python;
  // The Python worker is there for callbacks.
  await Promise.all([pair.typescriptWorker(), pair.pythonWorker()]);
});
afterAll(() => pair[Symbol.asyncDispose]());

/** The dead letters that hold the message of a task. */
async function lettersOf(id: string): Promise<DeadLetter[]> {
  const { deadLetters } = await pair.app.broker();
  // The result is stored first, so Python may hear of it a little earlier.
  return until(async () => {
    const letters = (await deadLetters.list()).filter(({ message }) => message.headers.id === id);
    return letters.length > 0 && letters;
  });
}

describe('calls', () => {
  test('positional arguments arrive, and get() returns what the function returned', async () => {
    expect(await python.run("app.send_task('ts.add', (2, 3)).get(timeout=10)")).toBe(5);
  });

  test('keyword arguments find the parameters of their names', async () => {
    const sum = await python.run("app.send_task('ts.add', kwargs={'y': 3, 'x': 2}).get(timeout=10)");
    expect(sum).toBe(5);
    const mixed = await python.run("app.send_task('ts.add', (2,), {'y': 3}).get(timeout=10)");
    expect(mixed).toBe(5);
  });

  test('arguments that do not fit are a TypeError in Python', async () => {
    const id = await python.send('ts.add', [1, 2, 3]);
    expect(await python.outcome(id)).toMatchObject({ state: 'FAILURE', type: 'TypeError', module: 'builtins' });
    const missing = await python.send('ts.add', [], { kwargs: { y: 1 } });
    expect(await python.outcome(missing)).toMatchObject({ state: 'FAILURE', type: 'TypeError' });
  });

  test('the task sees who called it, with the headers of the caller', async () => {
    const id = await python.send('ts.whoami', [], { headers: { tenant: 'blue' }, priority: 4 });
    expect((await python.outcome(id)).value).toMatchObject({
      id,
      rootId: id,
      parentId: null,
      lang: 'py',
      retries: 0,
      priority: 4,
      origin: expect.stringMatching(/^gen\d+@/),
      queue: 'ts',
      tenant: 'blue',
      eta: null,
      expires: null,
    });
  });

  test('messages of protocol 1 are understood', async () => {
    const sum = await python.run(
      "app.conf.task_protocol = 1\nold = app.send_task('ts.add', (2, 3))\napp.conf.task_protocol = 2\nold.get(timeout=10)",
    );
    expect(sum).toBe(5);
  });

  test('Python can tell when a result was finished', async () => {
    const id = await python.send('ts.add', [1, 1]);
    await python.outcome(id);
    // Celery 5.2 writes and expects UTC; without an offset, or with one.
    const age = await python.run<number>(
      'done = result(task_id).date_done\ndone = done if done.tzinfo else done.replace(tzinfo=datetime.timezone.utc)\n(datetime.datetime.now(datetime.timezone.utc) - done).total_seconds()',
      { task_id: id },
    );
    expect(age).toBeGreaterThanOrEqual(0);
    expect(age).toBeLessThan(10);
  });

  test('a result that Python forgets is gone', async () => {
    const id = await python.send('ts.add', [1, 1]);
    await python.outcome(id);
    expect(await pair.hasResult(id)).toBe(true);
    await python.run('result(task_id).forget()', { task_id: id });
    expect(await pair.hasResult(id)).toBe(false);
  });
});

describe('time', () => {
  test('a task with a countdown does not run before it is over', async () => {
    const [asked, ran] = await python.run<[number, number]>(
      "asked = time.time()\n[asked, app.send_task('ts.now', countdown=1).get(timeout=10)]",
    );
    expect(ran - asked).toBeGreaterThanOrEqual(0.99);
    expect(ran - asked).toBeLessThan(5);
  });

  test('a task with an eta does not run before it, in whichever time zone it is told', async () => {
    const [due, ran] = await python.run<[number, number]>(
      [
        'zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))',
        'due = datetime.datetime.now(zone) + datetime.timedelta(seconds=1)',
        "[due.timestamp(), app.send_task('ts.now', eta=due).get(timeout=10)]",
      ].join('\n'),
    );
    expect(ran - due).toBeGreaterThanOrEqual(-0.01);
    expect(ran - due).toBeLessThan(4);
  });

  test('a task that waits for its eta is not held by the worker, and is seen as PENDING', async () => {
    const id = await python.send('ts.add', [1, 1], { countdown: 600 });
    await pair.settled('ts');
    expect(await python.state(id)).toBe('PENDING');
  });

  test('an expired task is not run: Python sees it as REVOKED', async () => {
    const id = await python.run<string>(
      "app.send_task('ts.note', ('ran', 'expired'), expires=datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)).id",
    );
    expect(await python.outcome(id)).toMatchObject({ state: 'REVOKED', type: 'TaskRevokedError', message: 'expired' });
    expect(await pair.store.exists('expired')).toBe(0);
  });

  test('a task that has not expired yet runs', async () => {
    expect(await python.run("app.send_task('ts.add', (1, 1), expires=60).get(timeout=10)")).toBe(2);
  });
});

describe('routes', () => {
  test('messages go to the queue that is asked for, and wait there for a worker of it', async () => {
    const id = await python.send('ts.whoami', [], { queue: 'elsewhere' });
    expect(await pair.store.llen('elsewhere')).toBe(1);
    await pair.typescriptWorker({ queues: ['elsewhere'] });
    expect((await python.outcome(id)).value).toMatchObject({ queue: 'elsewhere' });
  });

  test('a worker of two queues serves both', async () => {
    const ids = [
      await python.send('ts.add', [1, 1], { queue: 'one' }),
      await python.send('ts.add', [2, 2], { queue: 'two' }),
    ];
    await pair.typescriptWorker({ queues: ['one', 'two'] });
    expect(await Promise.all(ids.map(async (id) => (await python.outcome(id)).value))).toEqual([2, 4]);
  });

  test('priority 0 is served before 3, 6 and 9', async () => {
    for (const priority of [9, 3, 0, 6])
      await python.send('ts.note', [priority, 'order'], { queue: 'ranked', priority });
    await pair.typescriptWorker({ queues: ['ranked'], concurrency: 1 });
    expect([
      await pair.note('order'),
      await pair.note('order'),
      await pair.note('order'),
      await pair.note('order'),
    ]).toEqual(['0', '3', '6', '9']);
  });
});

describe('states', () => {
  test('an error arrives with its class, its message and where it was thrown', async () => {
    const id = await python.send('ts.fail', ['no such room']);
    const outcome = await python.outcome(id);
    expect(outcome).toMatchObject({ state: 'FAILURE', type: 'RangeError', message: 'no such room' });
    expect(outcome.traceback).toContain('RangeError: no such room');
    expect(outcome.traceback).toContain('test/interop/tasks.ts:');
  });

  test('an error with several arguments arrives with them', async () => {
    const id = await python.send('ts.outOfStock', ['chairs', 3]);
    expect(await python.outcome(id)).toMatchObject({ state: 'FAILURE', type: 'OutOfStock', args: ['chairs', '3'] });
  });

  test('get() raises, as for a task in Python', async () => {
    await expect(python.run("app.send_task('ts.fail', ('no',)).get(timeout=10)")).rejects.toThrow('RangeError: no');
  });

  test('a retry keeps the id, and is counted', async () => {
    const id = await python.send('ts.retryOnce', ['value']);
    expect(await python.outcome(id)).toMatchObject({ state: 'SUCCESS', value: ['value', 1] });
  });

  test('a task without retries left fails with its last error', async () => {
    const id = await python.send('ts.retryInVain');
    expect(await python.outcome(id)).toMatchObject({ state: 'FAILURE', type: 'RangeError', message: 'never works' });
  });

  test("a state of the task's own is seen with its details while the task runs", async () => {
    const id = await python.send('ts.progress', ['gate']);
    await until(async () => (await python.state(id)) === 'PROGRESS');
    expect(await python.run('result(task_id).info', { task_id: id })).toEqual({ current: 1, total: 3 });
    await pair.open('gate');
    expect(await python.outcome(id)).toMatchObject({ state: 'SUCCESS', value: 'complete' });
  });

  test('nothing is stored for a task whose result is ignored, by the task or by the caller', async () => {
    const own = await python.send('ts.ignored', ['ignored']);
    const asked = await python.send('ts.note', ['ran', 'ignored'], { ignore_result: true });
    expect([await pair.note('ignored'), await pair.note('ignored')].sort()).toEqual(['"ran"', 'ran']);
    await pair.settled('ts');
    expect([await pair.hasResult(own), await pair.hasResult(asked)]).toEqual([false, false]);
  });

  test('a task that was revoked before it began does not run', async () => {
    const id = await python.send('ts.note', ['ran', 'revoked'], { queue: 'later' });
    await pair.app.result(id).revoke();
    await pair.typescriptWorker({ queues: ['later'] });
    expect(await python.outcome(id)).toMatchObject({ state: 'REVOKED', type: 'TaskRevokedError', message: 'revoked' });
    await pair.settled('later');
    expect(await pair.store.exists('revoked')).toBe(0);
  });

  test('a task that Python marked as revoked does not run', async () => {
    const id = await python.send('ts.note', ['ran', 'marked'], { queue: 'marked-queue' });
    await python.run("app.backend.mark_as_revoked(task_id, 'revoked')\nNone", { task_id: id });
    await pair.typescriptWorker({ queues: ['marked-queue'] });
    await pair.settled('marked-queue');
    expect(await python.outcome(id)).toMatchObject({ state: 'REVOKED', type: 'TaskRevokedError' });
    expect(await pair.store.exists('marked')).toBe(0);
  });

  test('a task that Python revokes by remote control does not run, and one that runs is ended', async () => {
    await pair.typescriptWorker({ queues: ['controlled'] });
    const ended = await python.send('ts.progress', ['gate-that-stays-shut'], { queue: 'controlled' });
    await until(async () => (await pair.app.result(ended).state) === 'PROGRESS');
    await python.run('app.control.revoke([ended, "never-runs"], terminate=True)\nNone', { ended });
    await until(async () => (await pair.app.result('never-runs').state) === 'REVOKED');
    await python.send('ts.note', ['ran', 'controlled'], { queue: 'controlled', task_id: 'never-runs' });
    expect(await python.outcome(ended)).toMatchObject({ state: 'REVOKED', type: 'TaskRevokedError' });
    // It does not listen to its signal: let it return, and see that this changes nothing.
    await pair.store.rpush('gate-that-stays-shut', 'open');
    await pair.settled('controlled');
    expect(await pair.app.result(ended).state).toBe('REVOKED');
    expect(await pair.store.exists('controlled')).toBe(0);
  });

  test('pickle is refused: Python hears why, and the message is kept', async () => {
    const id = await python.send('ts.add', [1, 2], { serializer: 'pickle' });
    expect(await python.outcome(id)).toMatchObject({ state: 'FAILURE', message: expect.stringContaining('pickle') });
    expect(await lettersOf(id)).toHaveLength(1);
  });

  test('an unknown task is a failure that Python hears of, and its message is kept', async () => {
    const id = await python.send('ts.nothing', [1]);
    expect(await python.outcome(id)).toMatchObject({
      state: 'FAILURE',
      type: 'NotRegistered',
      module: 'celery.exceptions',
      message: expect.stringContaining('ts.nothing'),
    });
    expect(await lettersOf(id)).toHaveLength(1);
  });
});

describe('callbacks', () => {
  test('link: callbacks of both languages get the return value', async () => {
    const { id, children } = await python.run<{ id: string; children: string[] }>(
      [
        "typescript = app.signature('ts.note', args=('linked',))",
        "python = app.signature('py.note', args=('linked',))",
        "sent = app.send_task('ts.add', (2, 3), link=[typescript, python])",
        'sent.get(timeout=10)',
        // As Celery does, several callbacks are sent as one group.
        "{'id': sent.id, 'children': [child.id for group in sent.children for child in group]}",
      ].join('\n'),
    );
    expect([await pair.note('linked'), await pair.note('linked')]).toEqual(['5', '5']);
    expect(children).toHaveLength(2);
    for (const child of children) expect(await python.outcome(child)).toMatchObject({ state: 'SUCCESS', value: 5 });
    expect(children).not.toContain(id);
  });

  test('link_error: callbacks of both languages get the id of the failed task', async () => {
    const id = await python.run<string>(
      [
        "typescript = app.signature('ts.onError', args=('failed',))",
        "python = app.signature('py.on_error', args=('failed',))",
        "app.send_task('ts.fail', ('no',), link_error=[typescript, python]).id",
      ].join('\n'),
    );
    const told = [await pair.note('failed'), await pair.note('failed')].map((text) => JSON.parse(text));
    expect(told).toEqual([
      { id, state: 'FAILURE' },
      { id, state: 'FAILURE' },
    ]);
  });

  test('an immutable callback gets its own arguments only', async () => {
    await python.run(
      "app.send_task('ts.add', (2, 3), link=app.signature('py.note', ('own', 'immutable'), immutable=True)).id",
    );
    expect(await pair.note('immutable')).toBe('"own"');
  });

  test('a chain goes from language to language', async () => {
    const steps =
      "chain(app.signature('ts.add', (1, 2)), app.signature('py.add', (10,)), app.signature('ts.add', (100,)))";
    expect(await python.run(`${steps}().get(timeout=10)`)).toBe(113);
  });

  test('a chain that fails on the way fails at its end', async () => {
    const id = await python.run<string>(
      "chain(app.signature('py.add', (1, 2)), app.signature('ts.fail'), app.signature('py.add', (10,)))().id",
    );
    expect(await python.outcome(id)).toMatchObject({ state: 'FAILURE', type: 'RangeError' });
  });
});

describe('values', () => {
  test('text of every script survives, in both directions', async () => {
    const text = 'héllo ☃ 😀 \u0000 \u2028 "quoted" \\ 漢字';
    const same = "value = app.send_task('ts.echo', (text,)).get(timeout=10)\n[value == text, value]";
    expect(await python.run(same, { text })).toEqual([true, text]);
  });

  test('NaN and the infinities survive, in both directions', async () => {
    const values = "app.send_task('ts.echo', ([float('nan'), float('inf'), float('-inf')],)).get(timeout=10)";
    expect(await python.run(`repr(${values})`)).toBe('[nan, inf, -inf]');
    expect(await python.run("app.send_task('ts.describe', (float('nan'),)).get(timeout=10)")).toBe('NaN');
  });

  test('what kombu 5.2 writes for dates, decimals and ids arrives as text', async () => {
    const kinds = await python.run(
      [
        "value = {'aware': datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc), 'naive': datetime.datetime(2020, 1, 2),",
        "         'date': datetime.date(2020, 1, 2), 'decimal': decimal.Decimal('1.10'), 'uuid': uuid.uuid4(), 'tuple': (1, 2)}",
        "app.send_task('ts.kinds', (value,)).get(timeout=10)",
      ].join('\n'),
    );
    expect(kinds).toEqual({
      aware: 'String',
      naive: 'String',
      date: 'String',
      decimal: 'String',
      uuid: 'String',
      tuple: 'Array',
    });
    const text =
      "app.send_task('ts.echo', (datetime.datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc),))";
    expect(await python.run(`${text}.get(timeout=10)`)).toBe('2020-01-02T03:04:05.678901Z');
  });

  test('results of TypeScript types are read by Python', async () => {
    const id = await python.send('ts.types');
    expect(
      await python.run(
        'value = result(task_id).get(timeout=10)\n[repr(value.pop("nan")), repr(value.pop("inf")), value]',
        { task_id: id },
      ),
    ).toEqual([
      'nan',
      'inf',
      {
        date: '2020-01-02T03:04:05.678000Z',
        big: Number.MAX_SAFE_INTEGER,
        float: 1.5,
        unicode: 'h\u00e9llo \u2603 \u{1F600}',
        none: null,
        true: true,
      },
    ]);
  });

  test('5 MB go there and back', async () => {
    const lengths = await python.run(
      "text = 'x' * 5_000_000 + 'é'\n[app.send_task('ts.length', (text,)).get(timeout=10), app.send_task('ts.echo', (text,)).get(timeout=10) == text]",
    );
    expect(lengths).toEqual([5_000_001, true]);
  });

  test.each(['zlib', 'bzip2', 'lzma'])('a body compressed with %s is read', async (compression) => {
    const id = await python.send('ts.length', ['x'.repeat(10_000)], { compression });
    expect((await python.outcome(id)).value).toBe(10_000);
  });
});
