import { expect, test } from 'vitest';
import { sqsBroker } from '../../src/brokers/sqs.ts';
import { namedMessage } from '../../src/testing/message.ts';
import { SqsShop } from '../support/sqs-shop.ts';
import { until } from '../support/workplace.ts';

const never = new AbortController().signal;

test('tasks of one key run in their order, also where one is retried, and other keys do not wait', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ fifo: true, visibilityTimeout: 30 });
  const retries: number[] = [];
  const step = app.task(
    'tasks.step',
    { bind: true, ordering: { key: (account: string) => account } },
    (self, account: string, n: number) => {
      shop.notes.push(`${account}${n}`);
      if (n !== 1 || account !== 'a') return;
      retries.push(self.request.retries);
      if (self.request.retries < 2) throw self.retry({ countdown: 1 });
    },
  );
  await step.applyMany([
    ['a', 0],
    ['a', 1],
    ['a', 2],
    ['b', 0],
  ]);
  await shop.worker(app);
  await shop.noted(6);
  await until(() => shop.lying('celery.fifo').length === 0);
  expect(shop.notes.filter((note) => note.startsWith('a'))).toEqual(['a0', 'a1', 'a1', 'a1', 'a2']);
  expect(shop.notes.indexOf('b0')).toBeLessThan(shop.notes.indexOf('a2'));
  expect(retries).toEqual([0, 1, 2]);
}, 30_000);

test('an ordered task that has no retries left fails, and the next of its key runs', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ fifo: true });
  const fails = app.task(
    'tasks.fails',
    { autoretryFor: [Error], defaultRetryDelay: 0, maxRetries: 2, ordering: { key: () => 'one' } },
    (name: string) => {
      shop.notes.push(name);
      if (name === 'bad') throw new Error('always');
    },
  );
  const bad = await fails.delay('bad');
  const good = await fails.delay('good');
  await shop.worker(app);
  await good.get({ timeout: 20 });
  await expect(bad.get({ timeout: 20 })).rejects.toThrow('always');
  expect(shop.notes).toEqual(['bad', 'bad', 'bad', 'good']);
}, 30_000);

test('a task without a key is refused by a FIFO queue, with what to do', async () => {
  await using shop = await SqsShop.open();
  await expect(shop.app({ fifo: true }).sendTask('tasks.note', ['a'])).rejects.toThrow(
    /FIFO queue 'celery' names no group: give the task ordering: \{ key \}, or the broker defaultGroup/,
  );
});

test('a call may name its key, and defaultGroup is for those that do not', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ fifo: true, defaultGroup: 'default' });
  await app.sendTask('tasks.note', ['a'], { orderingKey: 'mine' });
  await app.sendTask('tasks.note', ['b']);
  expect(shop.lying('celery.fifo').map(({ messageGroupId }) => messageGroupId)).toEqual(['mine', 'default']);
  await shop.worker(app);
  await shop.noted(2);
});

test('a message that is published again because its answer was lost is there once', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ fifo: true, defaultGroup: 'g' });
  shop.proxy.fail('SendMessageBatch', { lose: true }, { times: 1 });
  await app.sendTask('tasks.note', ['a']);
  expect(shop.proxy.count('SendMessageBatch')).toBe(2);
  expect(shop.lying('celery.fifo')).toHaveLength(1);
});

test('an ordered task that is due later waits in its place', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ fifo: true, defaultGroup: 'g' });
  const dueAt = Date.now() + 1500;
  await app.sendTask('tasks.note', ['later'], { eta: dueAt });
  await app.sendTask('tasks.note', ['behind']);
  await shop.worker(app);
  await shop.noted(2);
  expect(Date.now()).toBeGreaterThanOrEqual(dueAt - 20);
  expect(shop.notes).toEqual(['later', 'behind']);
});

test('a queue named .fifo beside standard ones is a FIFO queue, and dead letters find back into their group', async () => {
  await using shop = await SqsShop.open();
  const broker = sqsBroker(shop.url, { createMissing: true });
  await broker.start();
  await broker.publishMany([{ queue: 'orders.fifo', message: namedMessage('a'), groupKey: 'kunde 7' }]);
  const consumer = await broker.consume(['orders.fifo']);
  const [delivery] = await consumer.receive(1, 5000, never);
  expect(delivery).toMatchObject({ ordered: true, groupKey: 'kunde%207' });
  await consumer.rejectMany([delivery as never], ['no']);
  expect(shop.lying('orders-dead.fifo')).toHaveLength(1);
  const [letter] = await broker.deadLetters.list({ queue: 'orders.fifo' });
  expect(await broker.deadLetters.retryMany([letter?.id ?? ''])).toBe(1);
  const [again] = await consumer.receive(1, 5000, never);
  expect(again).toMatchObject({ attempt: 1, groupKey: 'kunde%207' });
  await broker.stop();
});

test('fair queues are opt-in: a key goes to a standard queue only where they are on', async () => {
  await using shop = await SqsShop.open();
  for (const [fairQueues, group] of [
    [false, undefined],
    [true, 'tenant'],
  ] as const) {
    const queue = `fair-${fairQueues}`;
    await shop.app({ fairQueues }).sendTask('tasks.note', ['a'], { orderingKey: 'tenant', queue });
    const sent = shop.proxy.sent.findLast(({ action }) => action === 'SendMessageBatch');
    expect(JSON.parse(sent?.body ?? '').Entries[0].MessageGroupId).toBe(group);
  }
});
