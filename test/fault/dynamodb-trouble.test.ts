/** DynamoDB on a bad day: what a caller hears, how often it is asked, and that nothing is lost or doubled. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ResultBackend } from '../../src/contracts/backend.ts';
import { isPassing, Lovage, Worker } from '../../src/index.ts';
import { DynamodbShop, record } from '../support/dynamodb-shop.ts';
import { quiet } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

let shop: DynamodbShop;
let table: string;
let backend: ResultBackend;

beforeAll(async () => {
  shop = await DynamodbShop.open();
});
beforeEach(async () => {
  table = await shop.table();
  backend = await shop.backend(table, { requestTimeout: 1, cleanKeys: false });
  shop.proxy.reset();
});
afterEach(() => shop.proxy.heal());
afterAll(() => shop[Symbol.asyncDispose]());

const many = (count: number) => Array.from({ length: count }, (_, i) => record(`t${i}`, 'SUCCESS', i));

describe('what fails', () => {
  const throttling = { error: 'ProvisionedThroughputExceededException', message: 'The level of configured ...' };

  test('by throttling is told item by item as passing, and the rest of the batch is not sent after it', async () => {
    shop.proxy.fail('PutItem', throttling);
    const failures = await backend.storeMany(many(1000));
    expect(failures.map(({ index }) => index)).toEqual(many(1000).map((_, i) => i));
    expect(failures.every(({ error }) => isPassing(error))).toBe(true);
    expect(failures[0]?.error.message).toContain(`dynamodb:PutItem on table '${table}'`);
    expect(shop.proxy.total).toBeLessThanOrEqual(50);
  });

  test('for a few of a batch leaves the others stored, and succeeds when it comes again', async () => {
    shop.proxy.fail('PutItem', { error: 'InternalServerError', status: 500 }, { times: 1 });
    const records = many(20);
    const failures = await backend.storeMany(records);
    expect(failures.length).toBeGreaterThanOrEqual(1);
    expect(isPassing(failures[0]?.error as Error)).toBe(true);
    expect(await backend.storeMany(failures.map(({ index }) => records[index] as never))).toEqual([]);
    expect((await backend.fetchMany(records.map(({ taskId }) => taskId))).every(Boolean)).toBe(true);
  });

  test('by silence ends with the timeout, and can be tried again', async () => {
    shop.proxy.fail('PutItem', { silence: true }, { times: 1 });
    const [failure] = await backend.storeMany([record('a', 'SUCCESS')]);
    expect(failure?.error.message).toContain('no answer in time');
    expect(isPassing(failure?.error as Error)).toBe(true);
    expect(await backend.storeMany([record('a', 'SUCCESS')])).toEqual([]);
  });

  test('though it was done, because the answer was lost, changes nothing when it comes again', async () => {
    shop.proxy.fail('PutItem', { lose: true }, { times: 1 });
    expect((await backend.storeMany([record('a', 'SUCCESS', 'first')])).length).toBe(1);
    expect(await backend.storeMany([record('a', 'SUCCESS', 'second')])).toEqual([]);
    expect(String((await backend.fetchMany(['a']))[0]?.document)).toContain('first');
  });

  test.each([
    [
      { error: 'AccessDeniedException', message: 'User: arn:aws:iam::1:user/a is not authorized' },
      /dynamodb:PutItem on table '.*"Action": \["dynamodb:PutItem"\], "Resource": "arn:aws:dynamodb:us-east-1:\*:table\//,
      false,
    ],
    [
      { error: 'ExpiredTokenException', message: 'The security token included in the request is expired' },
      /token has expired/,
      true,
    ],
    [
      { error: 'UnrecognizedClientException', message: 'The security token is invalid' },
      /does not know this access key/,
      false,
    ],
    [
      { error: 'InvalidSignatureException', message: 'Signature expired: 20261124T000000Z is now earlier than ...' },
      /clock of this machine/,
      true,
    ],
  ])('with %j says what to do', async (fault, message, passes) => {
    shop.proxy.fail('PutItem', fault);
    const [failure] = await backend.storeMany([record('a', 'SUCCESS')]);
    expect(failure?.error.message).toMatch(message);
    expect(failure?.error.message).not.toContain('secret');
    expect(isPassing(failure?.error as Error)).toBe(passes);
  });
});

describe('a batch of which DynamoDB leaves something over', () => {
  test('is read whole', async () => {
    await backend.storeMany(many(90));
    shop.proxy.reset();
    shop.proxy.fail('BatchGetItem', { doOnly: 40 }, { times: 2 });
    const got = await backend.fetchMany(many(90).map(({ taskId }) => taskId));
    expect(got.every(Boolean)).toBe(true);
    expect(shop.proxy.count('BatchGetItem')).toBe(3);
  });

  test('is removed whole', async () => {
    await backend.storeMany(many(10));
    shop.proxy.fail('BatchWriteItem', { doOnly: 7 }, { times: 1 });
    await backend.forgetMany(many(10).map(({ taskId }) => taskId));
    expect(await backend.fetchMany(many(10).map(({ taskId }) => taskId))).toEqual(many(10).map(() => undefined));
  });

  test('and of which nothing is done fails at once, instead of being asked again and again', async () => {
    await backend.storeMany(many(10));
    shop.proxy.reset();
    shop.proxy.fail('BatchGetItem', { doOnly: 0 });
    await expect(backend.fetchMany(['t1', 't2'])).rejects.toThrow('throttled');
    expect(shop.proxy.count('BatchGetItem')).toBe(1);
  });
});

describe('who watches', () => {
  test('is told when the trouble is over', async () => {
    const told: string[] = [];
    const stop = await backend.watch(['a'], (records) => void told.push(...records.map(({ state }) => state)));
    shop.proxy.fail('BatchGetItem', { error: 'ThrottlingException' });
    await backend.storeMany([record('a', 'SUCCESS')]);
    shop.proxy.reset();
    await until(() => shop.proxy.count('BatchGetItem') >= 2);
    expect(told).toEqual([]);
    shop.proxy.heal();
    await until(() => told.length === 1);
    expect(told).toEqual(['SUCCESS']);
    await stop();
  });

  test('costs one request a look for a hundred tasks, and nothing once nobody watches', async () => {
    const ids = many(100).map(({ taskId }) => taskId);
    const stop = await backend.watch(ids, () => {});
    shop.proxy.reset();
    await until(() => shop.proxy.count('BatchGetItem') >= 3);
    expect(Object.keys(Object.fromEntries(shop.proxy.counts))).toEqual(['BatchGetItem']);
    await stop();
    const other = await backend.watch(['z'], () => {});
    await other();
    expect(shop.proxy.sent.slice(-1)[0]?.body).toContain('celery-task-meta-z');
  });
});

test('claims and rates go through lost answers: what is asked again is granted once', async () => {
  const { limits } = backend;
  shop.proxy.fail('PutItem', { lose: true }, { times: 1 });
  const ask = () => limits?.claimMany([{ key: 'k', holder: 'h', leaseMs: 60_000 }]);
  await expect(ask()).rejects.toThrow();
  expect(await ask()).toEqual([{ granted: true }]);
  const other = await shop.backend(table);
  expect(await other.limits?.claimMany([{ key: 'k', holder: 'i', leaseMs: 60_000 }])).toMatchObject([{ holder: 'h' }]);
  expect(await limits?.renewMany([{ key: 'k', holder: 'h' }], 60_000)).toEqual([]);
});

test('a worker goes on through faults of one request in five; every result is there, and no task ran twice', async () => {
  const broker = `memory://${table}`;
  const app = new Lovage('shop', {
    broker,
    backend: shop.url(table),
    logger: quiet,
  });
  const ran = new Map<number, number>();
  const work = app.task('tasks.work', (n: number) => {
    ran.set(n, (ran.get(n) ?? 0) + 1);
    return n;
  });
  const worker = new Worker(app, { concurrency: 4 });
  await worker.start();
  for (const fault of [
    { error: 'ThrottlingException' },
    { error: 'InternalServerError', status: 500 },
    { lose: true as const },
  ]) {
    shop.proxy.fail('PutItem', fault, { rate: 0.07 });
  }
  const results = await work.applyMany(Array.from({ length: 200 }, (_, i) => [i] as const));
  await until(() => ran.size === 200, 60_000);
  shop.proxy.heal();
  expect(await Promise.all(results.map((result) => result.get({ timeout: 60 })))).toEqual(
    Array.from({ length: 200 }, (_, i) => i),
  );
  expect([...ran.values()].every((times) => times === 1)).toBe(true);
  await worker.stop();
  await app.close();
});
