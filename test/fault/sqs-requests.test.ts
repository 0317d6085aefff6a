import { expect, test } from 'vitest';
import { SqsShop } from '../support/sqs-shop.ts';
import { until } from '../support/workplace.ts';

// Every request is paid for.

test('1,000 short tasks take at most 330 requests, from sending to acknowledging', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ visibilityTimeout: 120 });
  await (await app.broker()).declareMany([{ name: 'celery' }]);
  shop.proxy.reset();
  await Promise.all(Array.from({ length: 1000 }, (_, i) => app.sendTask('tasks.note', [String(i)])));
  expect(shop.proxy.count('SendMessageBatch')).toBe(100);
  await shop.worker(app);
  await shop.noted(1000);
  await until(() => shop.lying('celery').length === 0);
  expect(shop.proxy.total).toBeLessThanOrEqual(330);
});

test('nothing is created or listed at run time, and queues that are named with their URLs are not even looked for', async () => {
  await using shop = await SqsShop.open();
  const { queueUrl } = shop.server.server.createQueue('celery');
  const used = ['DeleteMessageBatch', 'ReceiveMessage', 'SendMessageBatch'];
  for (const [transport, actions] of [
    [{ createMissing: false }, ['GetQueueUrl', ...used]],
    [{ createMissing: false, predefinedQueues: { celery: { url: queueUrl } } }, used],
  ] as const) {
    shop.proxy.reset();
    const app = shop.app(transport);
    const worker = await shop.worker(app);
    await (await app.sendTask('tasks.note', ['a'])).get({ timeout: 10 });
    await until(() => shop.lying('celery').length === 0);
    await worker.stop();
    expect([...shop.proxy.counts.keys()].toSorted()).toEqual(actions.toSorted());
  }
});

test('one task takes three requests', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ visibilityTimeout: 120 });
  await shop.worker(app);
  await until(() => shop.proxy.count('ReceiveMessage') === 1);
  await (await app.sendTask('tasks.note', ['a'])).get({ timeout: 10 });
  await until(() => shop.lying('celery').length === 0);
  const { counts } = shop.proxy;
  expect([counts.get('SendMessageBatch'), counts.get('DeleteMessageBatch')]).toEqual([1, 1]);
  // The second one waits for the next task.
  expect(counts.get('ReceiveMessage')).toBeLessThanOrEqual(2);
  expect(counts.get('ChangeMessageVisibilityBatch')).toBeUndefined();
});

test('an idle worker waits in one long request', async () => {
  await using shop = await SqsShop.open();
  await shop.worker(shop.app());
  await until(() => shop.proxy.count('ReceiveMessage') > 0);
  const [{ body = '' } = {}] = shop.proxy.sent.filter(({ action }) => action === 'ReceiveMessage');
  expect(JSON.parse(body).WaitTimeSeconds).toBe(20);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  expect(shop.proxy.count('ReceiveMessage')).toBe(1);
  expect([...shop.proxy.counts.keys()].toSorted()).toEqual(['CreateQueue', 'GetQueueUrl', 'ReceiveMessage']);
});

test('the leases of many messages are renewed together', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ visibilityTimeout: 3 });
  app.task('tasks.long', () => new Promise((resolve) => setTimeout(resolve, 1500)));
  await app.sendMany(
    'tasks.long',
    Array.from({ length: 20 }, () => []),
  );
  await shop.worker(app, { concurrency: 20 });
  await until(() => shop.lying('celery').length === 0);
  // Two batches of ten, renewed once each or, where a step of the clock falls badly, twice.
  expect(shop.proxy.count('ChangeMessageVisibilityBatch')).toBeGreaterThanOrEqual(1);
  expect(shop.proxy.count('ChangeMessageVisibilityBatch')).toBeLessThanOrEqual(4);
});
