import { expect, test } from 'vitest';
import { sqsBroker } from '../../src/brokers/sqs.ts';
import { PublishError, StoreAccessError, StoreMissingError } from '../../src/errors.ts';
import { namedMessage } from '../../src/testing/message.ts';
import { SqsShop } from '../support/sqs-shop.ts';
import { until } from '../support/workplace.ts';

const numbered = (count: number) => Array.from({ length: count }, (_, i) => String(i));

test('messages of a batch that SQS did not take are sent again, and those that it took are not', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app();
  shop.proxy.fail('SendMessageBatch', { entries: (place) => place % 3 === 0, code: 'InternalError' }, { times: 4 });
  await app.sendMany(
    'tasks.note',
    numbered(40).map((n) => [n]),
  );
  expect(shop.proxy.faults).toBe(4);
  await shop.worker(app);
  await shop.noted(40);
  expect(shop.notes.toSorted()).toEqual(numbered(40).toSorted());
});

test('what SQS refuses of a batch is told for each message, and the others are sent', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app();
  const fault = { entries: (place: number) => place === 1, code: 'InvalidMessageContents', senderFault: true };
  shop.proxy.fail('SendMessageBatch', fault, { times: 1 });
  const error = await app.sendMany('tasks.note', [['a'], ['b'], ['c']]).catch((e) => e);
  expect(error).toBeInstanceOf(PublishError);
  expect(error.failures.map(({ index }: { index: number }) => index)).toEqual([1]);
  await shop.worker(app);
  await shop.noted(2);
  expect(shop.notes.toSorted()).toEqual(['a', 'c']);
});

test('a queue that takes less in a request than SQS allows is given less, once it has said so', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app();
  const tooLong = {
    error: 'AWS.SimpleQueueService.BatchRequestTooLong',
    message: 'Batch requests cannot be longer than 4000 bytes. You have sent 11000 bytes.',
  };
  shop.proxy.fail('SendMessageBatch', tooLong, { times: 1 });
  const send = (from: number) =>
    app.sendMany(
      'tasks.note',
      numbered(10).map((n) => [n + from]),
    );
  await send(0);
  expect(shop.lying('celery')).toHaveLength(10);
  const before = shop.proxy.count('SendMessageBatch');
  await send(10);
  const sizes = shop.proxy.sent
    .filter(({ action }) => action === 'SendMessageBatch')
    .slice(before)
    .map(({ body }) =>
      JSON.parse(body).Entries.reduce((sum: number, one: object) => sum + JSON.stringify(one).length, 0),
    );
  expect(sizes.length).toBeGreaterThan(1);
  expect(Math.max(...sizes)).toBeLessThan(4500);
  expect(shop.lying('celery')).toHaveLength(20);
  shop.proxy.fail('SendMessageBatch', tooLong);
  await expect(app.sendTask('tasks.note', ['x'])).rejects.toMatchObject({
    code: 'MESSAGE_TOO_LARGE',
    message: expect.stringMatching(/queue 'celery' is larger than the queue takes .*Raise MaximumMessageSize/),
  });
});

test('of 5 % failing requests and lost answers, and 1 % failing entries, no task is lost', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({}, { taskPublishRetryPolicy: { max_retries: 20 } });
  shop.proxy.fail('*', { error: 'InternalFailure', status: 500 }, { rate: 0.02 });
  shop.proxy.fail('*', { cut: true }, { rate: 0.02 });
  shop.proxy.fail('DeleteMessageBatch', { lose: true }, { rate: 0.02 });
  for (const action of ['SendMessageBatch', 'DeleteMessageBatch'])
    shop.proxy.fail(action, { entries: () => Math.random() < 0.02, code: 'InternalError' }, { rate: 0.5 });
  await app.sendMany(
    'tasks.note',
    numbered(1000).map((n) => [n]),
  );
  await shop.worker(app, { concurrency: 50 });
  await until(() => new Set(shop.notes).size === 1000, 40_000);
  expect(shop.proxy.faults).toBeGreaterThan(10);
  await until(() => shop.lying('celery').length === 0, 20_000);
}, 60_000);

test('a worker that is throttled asks seldom, and goes on when it is over', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app();
  await app.sendTask('tasks.note', ['a']);
  shop.proxy.fail('*', { error: 'ThrottlingException', message: 'Rate exceeded' });
  shop.proxy.reset();
  await shop.worker(app).catch(() => {});
  await shop.says('throttled');
  const began = performance.now();
  const before = shop.proxy.total;
  await until(() => shop.proxy.total >= before + 3, 30_000);
  // Three more tries are not there at once.
  expect(performance.now() - began).toBeGreaterThan(200);
  shop.proxy.heal();
  await shop.noted(1, 30_000);
}, 60_000);

test('an answer that never comes is given up, and the worker goes on', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app({ waitTimeSeconds: 1, requestTimeout: 1 });
  shop.proxy.fail('ReceiveMessage', { silence: true }, { times: 1 });
  await shop.worker(app);
  await shop.says('no answer in time');
  await app.sendTask('tasks.note', ['a']);
  await shop.noted(1);
}, 30_000);

test('a queue that does not exist is told of, and the worker serves the others', async () => {
  await using shop = await SqsShop.open();
  const maker = shop.app();
  await maker.sendTask('tasks.note', ['a']);
  const app = shop.app({ createMissing: false });
  await shop.worker(app, { queues: ['missing', 'celery'] });
  await shop.noted(1);
  const { text } = await shop.says("'missing'");
  // Also where it is looked for: it may be in another region.
  expect(text).toMatch(/in us-east-1 does not exist: run `lovage setup`, or set createMissing/);
  await maker.sendTask('tasks.note', ['b']);
  await shop.noted(2);
});

test('a worker whose only queue does not exist says so and does not start', async () => {
  await using shop = await SqsShop.open();
  const error = await shop.worker(shop.app({ createMissing: false })).catch((e) => e);
  expect(error).toBeInstanceOf(StoreMissingError);
  expect(error.message).toMatch(/queue 'celery' of sqs:.* does not exist: run `lovage setup`/);
});

test('a denied action is told with the line for the policy, and what is allowed goes on', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app();
  await app.sendTask('tasks.note', ['a']);
  shop.proxy.fail('ReceiveMessage', { error: 'AccessDeniedException', message: 'not authorized' }, { times: 2 });
  await shop.worker(app);
  const { text } = await shop.says('access denied');
  expect(text).toContain('"Action": ["sqs:ReceiveMessage"], "Resource": "arn:aws:sqs:us-east-1:000000000000:celery"');
  await shop.noted(1, 60_000);
}, 70_000);

test('a queue that may not be used is told of, and the worker serves the others', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app();
  await (await app.broker()).declareMany([{ name: 'secret' }]);
  shop.proxy.fail('*', { error: 'AccessDeniedException', message: 'not authorized' }, { on: '/secret"' });
  await app.sendTask('tasks.note', ['a']);
  await shop.worker(app, { queues: ['secret', 'celery'] });
  await shop.noted(1);
  const { text } = await shop.says('access denied');
  expect(text).toContain("sqs:ReceiveMessage on queue 'secret'");
  expect(text).toContain('"Resource": "arn:aws:sqs:us-east-1:000000000000:secret"');
  await app.sendTask('tasks.note', ['b']);
  await shop.noted(2);
  // What may be used is not held back by what may not.
  expect(shop.notes).toEqual(['a', 'b']);
});

test.each([
  ['ExpiredToken', 'The security token included in the request is expired', /has expired.*aws sso login/],
  ['InvalidClientTokenId', 'The security token is invalid', /does not know this access key/],
  ['SignatureDoesNotMatch', 'Signature expired: 20261124T000000Z is now earlier than', /clock of this machine/],
])('%s is told as what it is', async (error, message, told) => {
  await using shop = await SqsShop.open();
  const broker = sqsBroker(shop.url, { createMissing: true });
  await broker.start();
  shop.proxy.fail('*', { error, message, status: 403 });
  await expect(broker.declareMany([{ name: 'q' }])).rejects.toThrow(told);
  await broker.stop();
});

test('a body that is not ours goes to the dead letters with the reason, and the next is served', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app();
  const broker = await app.broker();
  await broker.declareMany([{ name: 'celery' }]);
  const { server } = shop.server;
  server.sendMessage('celery', 'hello');
  server.sendMessage('celery', '{"body": 5}');
  await app.sendTask('tasks.note', ['a']);
  await shop.worker(app);
  await shop.noted(1);
  const letters = await until(async () => {
    const found = await broker.deadLetters.list({ queue: 'celery' });
    return found.length === 2 && found;
  });
  const text = new TextDecoder();
  expect(letters.map(({ message }) => text.decode(message.body)).toSorted()).toEqual(['hello', '{"body": 5}']);
  for (const { reason } of letters) expect(reason).toMatch(/^Bad (message|envelope)/);
});

test('what SQS itself moved to a queue of dead letters is listed, and can be retried', async () => {
  await using shop = await SqsShop.open();
  const { server } = shop.server;
  server.createQueue('celery-graves');
  const RedrivePolicy = JSON.stringify({
    deadLetterTargetArn: 'arn:aws:sqs:us-east-1:000000000000:celery-graves',
    maxReceiveCount: 1,
  });
  server.createQueue('celery', { attributes: { RedrivePolicy } });
  const broker = sqsBroker(shop.url);
  await broker.start();
  await broker.publishMany([{ queue: 'celery', message: namedMessage('a') }]);
  const first = await broker.consume(['celery'], { leaseMs: 1000 });
  const never = new AbortController().signal;
  await first.receive(1, 5000, never);
  // Its lease runs out; the next look has SQS move it.
  await until(async () => {
    await first.receive(1, 0, never);
    return shop.lying('celery-graves').length === 1;
  });
  const [letter] = await broker.deadLetters.list({ queue: 'celery' });
  expect(letter).toMatchObject({ queue: 'celery', reason: expect.stringContaining('maxReceiveCount') });
  expect(await broker.deadLetters.retryMany([letter?.id ?? ''])).toBe(1);
  const [again] = await first.receive(1, 5000, never);
  expect(again).toMatchObject({ attempt: 1, message: { properties: { correlation_id: 'a' } } });
  await first.rejectMany([again as never], ['ours']);
  expect(await broker.deadLetters.list({ queue: 'celery' })).toMatchObject([{ reason: 'ours' }]);
  await broker.stop();
});

test('a lease that is lost has its task asked to stop', async () => {
  await using shop = await SqsShop.open();
  const app = shop.app();
  const aborted = Promise.withResolvers<unknown>();
  app.task('tasks.long', { bind: true }, (self) => {
    shop.notes.push('began');
    return new Promise((_, reject) => {
      self.signal.addEventListener('abort', () => {
        aborted.resolve(self.signal.reason);
        reject(self.signal.reason);
      });
    });
  });
  await app.sendTask('tasks.long', []);
  await shop.worker(app);
  await shop.noted(1);
  shop.proxy.fail('ChangeMessageVisibilityBatch', {
    entries: () => true,
    code: 'ReceiptHandleIsInvalid',
    senderFault: true,
  });
  expect(await aborted.promise).toMatchObject({ code: 'LEASE_LOST' });
});

test('what a task returns whose lease was lost is no result: that of the next run is', async () => {
  await using shop = await SqsShop.open();
  const [first, second] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  const open = (visibilityTimeout: number) => {
    const app = shop.app({ visibilityTimeout });
    // It does not listen to its signal.
    app.task('tasks.stubborn', () => (shop.notes.push('began') === 1 ? first.promise : second.promise));
    return app;
  };
  const app = open(2);
  const result = await app.sendTask('tasks.stubborn', []);
  const worker = await shop.worker(app, { concurrency: 1 });
  await shop.noted(1);
  // As SQS answers for a receipt that is not good any more; the second worker renews its own much later.
  const invalid = { entries: () => true, code: 'ReceiptHandleIsInvalid', senderFault: true };
  shop.proxy.fail('ChangeMessageVisibilityBatch', invalid);
  await shop.says('the lease of a held message was lost');
  await shop.worker(open(120));
  await shop.noted(2);
  first.resolve('late');
  await until(() => !worker.busy);
  expect(await result.state).toBe('PENDING');
  second.resolve('in time');
  expect(await result.get({ timeout: 10 })).toBe('in time');
  await until(() => shop.lying('celery').length === 0);
  expect(shop.notes).toEqual(['began', 'began']);
});

test('denied and missing are errors that nobody tries again', () => {
  expect(new StoreAccessError('x').retryable).toBe(false);
  expect(new StoreMissingError('x').retryable).toBe(false);
});
