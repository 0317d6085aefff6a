/** An application whose results are on AWS: what it asks of the store for each task, and that chords and limits work there. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chord, Lovage, type LovageOptions, Worker } from '../../src/index.ts';
import { DynamodbShop } from '../support/dynamodb-shop.ts';
import { quiet } from '../support/in-memory.ts';
import { type S3Server, startS3 } from '../support/s3-server.ts';
import { until } from '../support/workplace.ts';

let shop: DynamodbShop;
let s3: S3Server;
let table: string;

beforeAll(async () => {
  shop = await DynamodbShop.open();
  table = await shop.table();
  s3 = await startS3();
});
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  await s3[Symbol.asyncDispose]();
});

const soon = { timeout: 30 };
let apps = 0;

/** An application with a worker in this process, gone with `using`. */
async function open(options: LovageOptions) {
  apps += 1;
  const app = new Lovage('shop', { broker: `memory://aws${apps}`, logger: quiet, ...options });
  const ran: number[] = [];
  const double = app.task('tasks.double', (n: number) => {
    ran.push(n);
    return n * 2;
  });
  const once = app.task('tasks.once', { once: true }, (n: number) => {
    ran.push(n);
    return n;
  });
  const slowOnce = app.task('tasks.slowOnce', { once: true }, async (n: number) => {
    ran.push(n);
    await new Promise((resolve) => setTimeout(resolve, 100));
    return n;
  });
  const more = app.task('tasks.more', { bind: true }, async (self, n: number) => {
    await self.addToChord(double.s(n));
    // The next run of the same task adds the same one.
    if (self.request.retries === 0) throw self.retry({ countdown: 0 });
    return n;
  });
  const sum = app.task('tasks.sum', (numbers: number[]) => numbers.reduce((total, n) => total + n, 0));
  const worker = new Worker(app, { concurrency: 8 });
  await worker.start();
  const close = async () => {
    await worker.stop({ now: true });
    await app.close();
  };
  return { app, double, more, once, slowOnce, sum, ran, [Symbol.asyncDispose]: close };
}

test('a task costs one write in DynamoDB; what else it is asked is asked for many tasks at once', async () => {
  await using one = await open({ backend: `${shop.url(table)}?clean_keys=false` });
  shop.proxy.reset();
  const results = await one.double.applyMany(Array.from({ length: 300 }, (_, i) => [i] as const));
  await until(() => one.ran.length === 300);
  await until(() => shop.proxy.count('PutItem') >= 300);
  expect(await Promise.all(results.map((result) => result.get(soon)))).toEqual(results.map((_, i) => i * 2));
  expect([...shop.proxy.counts.keys()].sort()).toEqual(['BatchGetItem', 'PutItem']);
  expect(shop.proxy.count('PutItem')).toBe(300);
  expect(shop.proxy.count('BatchGetItem')).toBeLessThan(100);
});

describe.each(['dynamodb', 's3'])('on %s', (kind) => {
  const backend = async () => (kind === 's3' ? s3.makeBucket(`apps/of${apps}`) : shop.url(table));

  test('the body of a chord runs once, with the results of all members in order', async () => {
    await using one = await open({ backend: await backend() });
    const members = Array.from({ length: 60 }, (_, i) => one.double.s(i));
    const result = await chord(members, one.sum.s()).delay();
    expect(await result.get(soon)).toBe(60 * 59);
    expect(one.ran.length).toBe(60);
  });

  test('a chord waits for the tasks that its members add, each counted once', async () => {
    await using one = await open({ backend: await backend() });
    const result = await chord([one.more.s(1), one.more.s(10), one.double.s(100)], one.sum.s()).delay();
    expect(await result.get(soon)).toBe(1 + 2 + 10 + 20 + 200);
  });

  test('a task that runs once runs once, also when it is sent twice', async () => {
    await using one = await open({ backend: await backend() });
    const id = `only-${kind}`;
    const first = await one.once.applyAsync([7], { taskId: id });
    expect(await first.get(soon)).toBe(7);
    await one.once.applyAsync([7], { taskId: id });
    await (await one.double.delay(1)).get(soon);
    expect(one.ran).toEqual([7, 1]);
  });

  test('of many copies at once, on two workers, one runs', async () => {
    const options = { backend: await backend(), broker: `memory://copies-${kind}?visibilityTimeout=3` };
    await using one = await open(options);
    await using two = await open(options);
    const copies = Array.from({ length: 12 }, () => one.slowOnce.applyAsync([7], { taskId: `copies-${kind}` }));
    expect(await (await copies[0])?.get(soon)).toBe(7);
    await Promise.all(copies);
    const broker = await one.app.broker();
    await until(async () => {
      const [depth] = await broker.countMany(['celery']);
      return depth && depth.ready + depth.inFlight + depth.delayed === 0;
    }, 30_000);
    expect([...one.ran, ...two.ran]).toEqual([7]);
  });

  test('a claim whose worker died ends with its lease: the task runs then, and not before', async () => {
    await using one = await open({ backend: await backend() });
    const key = `once:orphan-${kind}`;
    const limits = (await one.app.backend())?.limits;
    const claimed = performance.now();
    await limits?.claimMany([{ key, holder: 'a worker that died', leaseMs: 2000 }]);
    const result = await one.slowOnce.applyAsync([8], { taskId: `orphan-${kind}` });
    expect(await result.get(soon)).toBe(8);
    // The clocks of the stores tell whole seconds.
    expect(performance.now() - claimed).toBeGreaterThan(900);
    expect(one.ran).toEqual([8]);
  });
});
