/** Results in DynamoDB, of real Celery and of ours: each side reads the other's. Messages go over Redis. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chord, Lovage, type Task, Worker } from '../../src/index.ts';
import { type DynamodbServer, startDynamodb } from '../support/dynamodb-server.ts';
import { PythonClient, PythonWorker } from '../support/python.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';

const soon = { timeout: 15 };
let redis: RedisServer;
let dynamodb: DynamodbServer;
let python: PythonClient;
let pythonWorker: PythonWorker;
let app: Lovage;
let double: Task<[n: number], number>;
let sum: Task<[numbers: number[]], number>;
let worker: Worker;

beforeAll(async () => {
  [redis, dynamodb] = await Promise.all([startRedis(), startDynamodb()]);
  await dynamodb.makeTable('results');
  // One URL for both sides, in Celery's form.
  const backend = `dynamodb://test:test@localhost:${dynamodb.port}/results?read=5&write=5`;
  const settings = { result_backend: backend, task_track_started: true };
  app = new Lovage('interop', { broker: redis.url, backend, taskRoutes: { 'ts.*': { queue: 'ts' } } });
  double = app.task('ts.double', (n: number) => n * 2);
  sum = app.task('ts.sum', (numbers: number[]) => numbers.reduce((total, n) => total + n, 0));
  app.task('ts.fails', () => {
    throw new RangeError('too far');
  });
  worker = new Worker(app, { queues: ['ts'] });
  [python, pythonWorker] = await Promise.all([
    PythonClient.start({ url: redis.url, settings }),
    PythonWorker.start({ url: redis.url, queues: ['py', 'celery'], settings }),
    worker.start(),
  ]);
});
afterAll(async () => {
  await worker.stop({ now: true });
  await Promise.all([python[Symbol.asyncDispose](), pythonWorker.kill(), app.close()]);
  await Promise.all([redis[Symbol.asyncDispose](), dynamodb[Symbol.asyncDispose]()]);
});

describe('a task that Python runs', () => {
  test('is waited for in TypeScript', async () => {
    const result = await app.sendTask('py.add', [2, 3], { queue: 'py' });
    expect(await result.get(soon)).toBe(5);
    expect(await result.state).toBe('SUCCESS');
  });

  test('and fails is an error in TypeScript', async () => {
    const result = await app.sendTask('py.add', ['a', 1], { queue: 'py' });
    const error = await result.get(soon).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as TypeError).message).toContain('concatenate');
  });
});

describe('a task that TypeScript runs', () => {
  test('is waited for in Python', async () => {
    const id = await python.send('ts.double', [21], { queue: 'ts' });
    expect(await python.outcome(id)).toMatchObject({ state: 'SUCCESS', value: 42 });
  });

  test('and fails is an exception in Python', async () => {
    const id = await python.send('ts.fails', [], { queue: 'ts' });
    expect(await python.outcome(id)).toMatchObject({ state: 'FAILURE', type: 'RangeError', message: 'too far' });
  });

  test('and is forgotten by Python is gone in TypeScript', async () => {
    const result = await app.sendTask('ts.double', [1]);
    await result.get(soon);
    await python.run('result(task_id).forget()', { task_id: result.id });
    expect(await app.result(result.id).state).toBe('PENDING');
  });
});

test('a chord in TypeScript has its body run once, without polling for its members; Python reads its result', async () => {
  const result = await chord([double.s(1), double.s(2), double.s(3)], sum.s()).delay();
  expect(await result.get(soon)).toBe(12);
  expect(await python.outcome(result.id)).toMatchObject({ state: 'SUCCESS', value: 12 });
});

test("Python's own chord, which polls, ends over TypeScript's results", async () => {
  const code = `
header = [signature('ts.double', args=(n,), queue='ts', app=app) for n in range(4)]
chord(header)(signature('py.echo', queue='py', app=app)).get(timeout=20)`;
  expect(await python.run(code)).toEqual([0, 2, 4, 6]);
});
