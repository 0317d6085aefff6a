/** What the same work costs in requests, Celery's and ours in one run: counted by proxies in front of one SQS and one DynamoDB. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lovage, Worker } from '../../src/index.ts';
import { type AwsProxy, startAwsProxy } from '../support/aws-proxy.ts';
import { type DynamodbServer, startDynamodb } from '../support/dynamodb-server.ts';
import { quiet } from '../support/in-memory.ts';
import { PythonClient, PythonWorker } from '../support/python.ts';
import { type SqsQueryProxy, startQueryProxy } from '../support/sqs-query-proxy.ts';
import { type SqsServer, startSqs } from '../support/sqs-server.ts';
import { until } from '../support/workplace.ts';

let sqs: SqsServer;
let dynamodb: DynamodbServer;
let query: SqsQueryProxy;
/** In front of SQS and of DynamoDB, for either side. */
let celery: { readonly queues: AwsProxy; readonly table: AwsProxy };
let lovage: typeof celery;
let client: PythonClient;
let pythonWorker: PythonWorker;
let app: Lovage;
let worker: Worker;

beforeAll(async () => {
  [sqs, dynamodb] = await Promise.all([startSqs(), startDynamodb()]);
  await dynamodb.makeTable('results');
  const counters = async () => ({ queues: await startAwsProxy(sqs.port), table: await startAwsProxy(dynamodb.port) });
  [celery, lovage] = [await counters(), await counters()];
  query = await startQueryProxy(celery.queues.endpoint);
  for (const queue of ['py', 'ts']) sqs.server.createQueue(queue);
  const table = ({ port }: AwsProxy) => `dynamodb://test:test@localhost:${port}/results?read=1&write=1`;
  // Both as they are by default, but for where they are: no timings.
  const python = {
    url: query.url,
    backend: table(celery.table),
    settings: {
      broker_transport_options: { region: 'us-east-1', is_secure: false },
      worker_enable_remote_control: false,
    },
  };
  app = new Lovage('requests', {
    broker: `sqs://test:test@127.0.0.1:${lovage.queues.port}//?is_secure=false`,
    backend: table(lovage.table),
    taskDefaultQueue: 'ts',
    logger: quiet,
  });
  worker = new Worker(app);
  [client, pythonWorker] = await Promise.all([
    PythonClient.start(python),
    // Eight messages ahead, as Celery has by default on two cores.
    PythonWorker.start({ ...python, queues: ['py'], concurrency: 8 }),
  ]);
}, 60_000);

afterAll(async () => {
  await Promise.allSettled([pythonWorker?.kill(), client?.[Symbol.asyncDispose](), worker?.stop({ now: true })]);
  await app?.close();
  for (const one of [query, celery?.queues, celery?.table, lovage?.queues, lovage?.table, sqs, dynamodb])
    await one?.[Symbol.asyncDispose]();
});

const isEmpty = (queue: string) => {
  const messages = sqs.server.inspectQueue(queue)?.messages;
  return messages !== undefined && messages.ready.length + messages.inflight.length + messages.delayed.length === 0;
};

test('1,000 tasks with results take at most 330 requests where Celery takes thousands, and waiting for some a quarter', async () => {
  const noop = app.task('ts.noop', () => 1);
  const results = await Promise.all(Array.from({ length: 1000 }, () => noop.delay()));
  await worker.start();
  await Promise.all(results.map((result) => result.get({ timeout: 60 })));
  await until(() => isEmpty('ts'));
  const own = { requests: lovage.queues.total, writes: lovage.table.count('PutItem') };

  const before = celery.queues.total;
  const code = "[r.get(timeout=60) for r in [app.send_task('py.add', (n, 1)) for n in range(200)]]";
  expect(await client.run(code)).toHaveLength(200);
  await until(() => isEmpty('py'), 20_000);
  const theirs = { requests: (celery.queues.total - before) * 5, writes: celery.table.count('PutItem') * 5 };

  for (const one of [lovage.queues, celery.queues]) one.reset();
  const began = Date.now();
  await until(() => celery.queues.count('ReceiveMessage') >= 4, 90_000);
  const minutes = (Date.now() - began) / 60_000;
  const idle = (one: AwsProxy) => Math.round(one.total / minutes);
  const found = {
    lovage: { ...own, idle: idle(lovage.queues) },
    celery: { ...theirs, idle: idle(celery.queues) },
  };
  console.log(JSON.stringify(found));
  expect(own.requests).toBeLessThanOrEqual(330);
  expect(own.writes).toBe(1000);
  expect(theirs.requests).toBeGreaterThan(2000);
  // One under way when the count began, and one for each 20 seconds.
  expect(lovage.queues.count('ReceiveMessage')).toBeLessThanOrEqual(Math.ceil(minutes * 3) + 1);
  expect(lovage.queues.total).toBeLessThan(celery.queues.total);
}, 240_000);
