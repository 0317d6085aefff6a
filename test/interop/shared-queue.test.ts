/** Workers of both kinds on one queue: they share it, and one does the work of another that was killed. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../support/workplace.ts';
import { Pair } from './pair.ts';

/** Seconds; far below the time limit of a test, and far above what a slow machine needs to renew a lease. */
const visibilityTimeout = 3;
const shared = { visibility_timeout: visibilityTimeout };

let pair: Pair;
beforeEach(async () => {
  pair = await Pair.start({
    settings: { broker_transport_options: shared },
    options: { brokerTransportOptions: { ...shared, leaseTimeout: visibilityTimeout } },
  });
});
afterEach(() => pair[Symbol.asyncDispose]());

/** When workers may take what is held by another, unless that renews it: epoch milliseconds. */
async function leaseEnd(): Promise<number> {
  const [, score] = await pair.store.zrevrange('unacked_index', 0, 0, 'WITHSCORES');
  return (Number(score) + visibilityTimeout) * 1000;
}

const soon = { timeout: 20 };
const queue = 'both';

describe('at work together', () => {
  test('200 tasks run exactly once each, some on every side', async () => {
    await Promise.all([
      pair.typescriptWorker({ queues: [queue], concurrency: 2 }),
      pair.pythonWorker({ queues: [queue] }),
    ]);
    const fromPython = await pair.python.run<string[]>("[app.send_task('both.share', (n,)).id for n in range(100)]");
    const fromTypeScript = await pair.app.sendMany<string>(
      'both.share',
      Array.from({ length: 100 }, (_, n) => [100 + n]),
    );
    const byTypeScript = await Promise.all(
      [...fromPython.map((id) => pair.app.result<string>(id)), ...fromTypeScript].map((result) => result.get(soon)),
    );
    const byPython = await pair.python.run<string[]>('[result(id).get(timeout=20) for id in ids]', {
      ids: [...fromPython, ...fromTypeScript.map(({ id }) => id)],
    });
    // Both sides read the same of every task, and each task left word once.
    expect(byPython).toEqual(byTypeScript);
    await pair.settled(queue);
    const runs = (await pair.store.lrange('shared', 0, -1)).map((run): [number, string] => JSON.parse(run));
    runs.sort(([a], [b]) => a - b);
    expect(runs).toEqual(byTypeScript.map((side, n) => [n, side]));
    const share = Object.groupBy(byTypeScript, (side) => side);
    expect(share.python?.length).toBeGreaterThan(20);
    expect(share.typescript?.length).toBeGreaterThan(20);
  });
});

describe('messages that wait for their time', () => {
  test('are moved into the queues of Python workers by any TypeScript worker', async () => {
    const result = await pair.app.sendTask<number>('py.now', [], { countdown: 2 });
    const asked = Date.now() / 1000;
    await Promise.all([pair.pythonWorker(), pair.typescriptWorker({ queues: ['ts'] })]);
    expect((await result.get(soon)) - asked).toBeGreaterThan(1.95);
  });

  test('of Python, are taken over by a TypeScript worker when the worker that holds them is killed', async () => {
    const victim = await pair.pythonWorker({ queues: [queue] });
    const id = await pair.python.send('both.share', [1], { countdown: visibilityTimeout });
    await until(async () => (await pair.store.hlen('unacked')) === 1);
    await victim.kill();
    await pair.typescriptWorker({ queues: [queue] });
    expect(await pair.python.outcome(id)).toMatchObject({ state: 'SUCCESS', value: 'typescript' });
    await pair.settled(queue);
    expect(await pair.store.llen('shared')).toBe(1);
  });
});

describe('after a kill -9', () => {
  test('of a Python worker, a TypeScript worker runs what it held', async () => {
    const victim = await pair.pythonWorker({ queues: [queue] });
    const id = await pair.python.send('both.hold', ['began', 'gate']);
    expect(await pair.note('began')).toBe('python');
    await victim.kill();
    expect(await pair.store.hlen('unacked')).toBe(1);
    await pair.typescriptWorker({ queues: [queue] });
    expect(await pair.note('began')).toBe('typescript');
    await pair.open('gate');
    expect(await pair.python.outcome(id)).toMatchObject({ state: 'SUCCESS', value: 'typescript' });
    await pair.settled(queue);
  });

  test('of a TypeScript worker, another one runs what it held', async () => {
    const victim = await pair.typescriptProcess(queue);
    const result = await pair.app.sendTask('both.hold', ['began', 'gate']);
    expect(await pair.note('began')).toBe('typescript');
    victim.kill('SIGKILL');
    await pair.typescriptWorker({ queues: [queue] });
    expect(await pair.note('began')).toBe('typescript');
    await pair.open('gate');
    expect(await result.get(soon)).toBe('typescript');
    await pair.settled(queue);
  });

  test('of a TypeScript worker, a Python worker runs what it held', async () => {
    const victim = await pair.typescriptProcess(queue);
    const result = await pair.app.sendTask('both.hold', ['began', 'gate']);
    expect(await pair.note('began')).toBe('typescript');
    victim.kill('SIGKILL');
    // A Celery worker looks for such messages when it starts, and then only every 100 s.
    const end = await leaseEnd();
    await until(() => Date.now() > end);
    await pair.pythonWorker({ queues: [queue] });
    expect(await pair.note('began')).toBe('python');
    await pair.open('gate');
    expect(await result.get(soon)).toBe('python');
    await pair.settled(queue);
  });

  test('a task that runs longer than the visibility timeout stays with its TypeScript worker', async () => {
    await pair.typescriptWorker({ queues: [queue] });
    const id = await pair.python.send('both.hold', ['began', 'gate']);
    expect(await pair.note('began')).toBe('typescript');
    const end = await leaseEnd();
    await until(() => Date.now() > end);
    // Celery workers look for abandoned messages when they start.
    await pair.pythonWorker({ queues: [queue] });
    // It is at work, and has not run what the other holds.
    const other = await pair.python.send('both.share', [1]);
    expect(await pair.python.outcome(other)).toMatchObject({ state: 'SUCCESS' });
    await pair.open('gate');
    expect(await pair.python.outcome(id)).toMatchObject({ state: 'SUCCESS', value: 'typescript' });
    expect(await pair.store.exists('began')).toBe(0);
  });
});
