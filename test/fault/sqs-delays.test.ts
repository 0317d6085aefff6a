import { expect, test } from 'vitest';
import { sqsBroker } from '../../src/brokers/sqs.ts';
import { namedMessage } from '../../src/testing/message.ts';
import { SqsShop } from '../support/sqs-shop.ts';
import { until } from '../support/workplace.ts';

const never = new AbortController().signal;

test('a task due after several of the longest delays of SQS runs once, on time, and no worker holds it meanwhile', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ hopTime: 1 });
  await shop.worker(app);
  const dueAt = Date.now() + 3500;
  await app.sendTask('tasks.note', ['later'], { eta: dueAt });
  await app.sendTask('tasks.note', ['now']);
  await shop.noted(1);
  expect(shop.notes).toEqual(['now']);
  const sent = shop.proxy.count('SendMessageBatch');
  await shop.noted(2);
  expect(Date.now()).toBeGreaterThanOrEqual(dueAt - 20);
  expect(shop.proxy.count('SendMessageBatch') - sent).toBeGreaterThanOrEqual(3);
  await until(() => shop.lying('celery').length === 0);
  expect(shop.notes).toEqual(['now', 'later']);
});

test('each hop is a new message: its age and its deliveries begin anew', async () => {
  await using shop = await SqsShop.open();
  const broker = sqsBroker(shop.url, { createMissing: true, hopTime: 1 });
  await broker.start();
  await broker.publishMany([{ queue: 'q', message: namedMessage('a'), delayMs: 2500 }]);
  const [first] = shop.lying('q');
  const consumer = await broker.consume(['q']);
  const [delivery] = await consumer.receive(1, 10_000, never);
  expect(delivery?.attempt).toBe(1);
  const [last] = shop.lying('q');
  expect(last?.messageId).not.toBe(first?.messageId);
  expect(last?.sentTimestamp).toBeGreaterThan(first?.sentTimestamp ?? 0);
  expect(last?.approximateReceiveCount).toBe(1);
  await broker.stop();
});

test('a hop whose old message could not be deleted makes no third one', async () => {
  await using shop = await SqsShop.open();
  const broker = sqsBroker(shop.url, { createMissing: true, hopTime: 1 });
  await broker.start();
  const consumer = await broker.consume(['q'], { leaseMs: 60_000 });
  await broker.publishMany([{ queue: 'q', message: namedMessage('a') }]);
  const [delivery] = await consumer.receive(1, 10_000, never);
  shop.proxy.fail('DeleteMessageBatch', { entries: () => true, code: 'InternalError' }, { times: 1 });
  const [failure] = await consumer.deferMany([delivery as never], [Date.now() + 1000]);
  expect(failure?.error).toMatchObject({ retryable: true });
  expect(shop.lying('q')).toHaveLength(2);
  // As the core does after a failure that may pass.
  expect(await consumer.deferMany([delivery as never], [Date.now() + 1000])).toEqual([]);
  expect(shop.lying('q')).toHaveLength(1);
  await broker.stop();
});

test('a lease that nears the 12 hours of SQS is refused a little before, while its message can still be given back', async () => {
  await using shop = await SqsShop.open();
  const broker = sqsBroker(shop.url, { createMissing: true });
  await broker.start();
  const consumer = await broker.consume(['q'], { leaseMs: 60_000 });
  await broker.publishMany([{ queue: 'q', message: namedMessage('a') }]);
  const [delivery] = await consumer.receive(1, 10_000, never);
  const tag = delivery?.tag as { at: number; handle: string };
  expect(await broker.extendMany([delivery as never], 60_000)).toEqual([]);
  const old = { queue: 'q', tag: { ...tag, at: tag.at - 43_190_000 + 30_000 } };
  const [failure] = await broker.extendMany([old], 60_000);
  expect(failure?.error).toMatchObject({ code: 'LEASE_LOST', message: expect.stringContaining('12 hours') });
  expect(await broker.extendMany([old], 20_000)).toEqual([]);
  expect(await consumer.releaseMany([delivery as never])).toEqual([]);
  const [again] = await consumer.receive(1, 10_000, never);
  expect(again?.attempt).toBe(1);
  expect(again?.tag).toMatchObject({ at: expect.any(Number), handle: expect.not.stringMatching(tag.handle) });
  await broker.stop();
});

test('a task four times as long as its lease runs once', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ visibilityTimeout: 1 });
  app.task('tasks.long', async () => {
    shop.notes.push('began');
    await new Promise((resolve) => setTimeout(resolve, 4000));
  });
  const result = await app.sendTask('tasks.long', []);
  await shop.worker(app);
  await shop.worker(shop.app({ visibilityTimeout: 1 }));
  await result.get({ timeout: 20 });
  await until(() => shop.lying('celery').length === 0);
  expect(shop.notes).toEqual(['began']);
});

test('a worker that stops gives back what has not begun, at once and uncounted', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ visibilityTimeout: 600 });
  const gate = Promise.withResolvers<void>();
  app.task('tasks.hold', async () => {
    shop.notes.push('began');
    await gate.promise;
  });
  await app.sendMany('tasks.hold', [[], [], [], []]);
  const worker = await shop.worker(app, { concurrency: 2 });
  await shop.noted(2);
  const stopping = worker.stop();
  const broker = sqsBroker(shop.url);
  await broker.start();
  const consumer = await broker.consume(['celery']);
  const got: number[] = [];
  while (got.length < 2) got.push(...(await consumer.receive(2, 10_000, never)).map(({ attempt }) => attempt));
  expect(got).toEqual([1, 1]);
  gate.resolve();
  await stopping;
  await broker.stop();
});
