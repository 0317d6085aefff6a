/** Real Celery and Lovage on the same queues of SQS, both directions; results in Redis. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Lovage, Worker } from '../../src/index.ts';
import { PythonClient, PythonWorker } from '../support/python.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { type SqsQueryProxy, startQueryProxy } from '../support/sqs-query-proxy.ts';
import { type SqsServer, startSqs } from '../support/sqs-server.ts';
import { until } from '../support/workplace.ts';
import { makeApp } from './tasks.ts';

const prefix = 'interop-';
let redis: RedisServer;
let sqs: SqsServer;
let proxy: SqsQueryProxy;
let store: Redis;
let app: Lovage;
let worker: Worker;
let client: PythonClient;
let pythonWorker: PythonWorker;

beforeAll(async () => {
  redis = await startRedis();
  sqs = await startSqs();
  proxy = await startQueryProxy(sqs.endpoint);
  for (const queue of ['celery', 'py', 'ts', 'both']) sqs.server.createQueue(prefix + queue);
  store = new Redis(redis.url);
  // The settings of the two sides are the same, as those of a team that moves.
  const transport = { region: 'us-east-1', visibility_timeout: 30, polling_interval: 0.1, wait_time_seconds: 1 };
  const options = { ...transport, queue_name_prefix: prefix, is_secure: false };
  app = makeApp(redis.url, store, { broker: sqs.url, backend: redis.url, brokerTransportOptions: options });
  const python = {
    url: proxy.url,
    backend: redis.url,
    settings: { broker_transport_options: options, worker_enable_remote_control: false },
  };
  worker = new Worker(app, { queues: ['ts'] });
  await worker.start();
  [client, pythonWorker] = await Promise.all([
    PythonClient.start(python),
    PythonWorker.start({ ...python, queues: ['py'] }),
  ]);
}, 60_000);

afterAll(async () => {
  await Promise.allSettled([pythonWorker?.kill(), client?.[Symbol.asyncDispose](), worker?.stop({ now: true })]);
  await app?.close();
  store?.disconnect();
  await proxy?.[Symbol.asyncDispose]();
  await sqs?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
});

test('Python sends, a TypeScript worker runs, Python reads the result', async () => {
  expect(await client.run("app.send_task('ts.add', (2, 3)).get(timeout=15)")).toBe(5);
  const text = 'Grüße, 世界, 🌿';
  const value = await client.run("app.send_task('ts.echo', (text,)).get(timeout=15)", { text });
  expect(value).toBe(text);
}, 30_000);

test('TypeScript sends, a Python worker runs, TypeScript reads the result', async () => {
  expect(await (await app.sendTask('py.add', [2, 3])).get({ timeout: 15 })).toBe(5);
  expect(await (await app.sendTask('py.echo', ['Grüße, 世界, 🌿'])).get({ timeout: 15 })).toBe('Grüße, 世界, 🌿');
}, 30_000);

test('a retry goes from either side to itself', async () => {
  expect(await (await app.sendTask('py.retry_once', ['a'])).get({ timeout: 15 })).toEqual(['a', 1]);
  expect(await client.run("app.send_task('ts.retryOnce', ('b',)).get(timeout=15)")).toEqual(['b', 1]);
}, 30_000);

test('a countdown of Python is parked by a TypeScript worker, and runs when it is due', async () => {
  const start = Date.now();
  expect(await client.run("app.send_task('ts.add', (1, 1), countdown=2).get(timeout=15)")).toBe(2);
  expect(Date.now() - start).toBeGreaterThanOrEqual(1950);
}, 30_000);

test('a countdown of TypeScript is in SQS meanwhile, and a Python worker runs it', async () => {
  const start = Date.now();
  const result = await app.sendTask('py.add', [1, 1], { countdown: 2 });
  expect(sqs.server.inspectQueue(`${prefix}py`)?.messages.delayed).toHaveLength(1);
  expect(await result.get({ timeout: 15 })).toBe(2);
  expect(Date.now() - start).toBeGreaterThanOrEqual(1950);
}, 30_000);

test('a chain goes back and forth, and a chord has members on both sides', async () => {
  const code =
    "chain(signature('ts.add', (1, 2), app=app), signature('py.add', (3,), app=app), signature('ts.add', (4,), app=app)).apply_async().get(timeout=15)";
  expect(await client.run(code)).toBe(10);
  const parts =
    "chord([signature('ts.add', (1, 2), app=app), signature('py.add', (3, 4), app=app)], signature('ts.echo', app=app), app=app).apply_async().get(timeout=15)";
  expect(await client.run(parts)).toEqual([3, 7]);
}, 40_000);

test('a plain JSON body is read by Python, too', async () => {
  const { url } = sqs;
  const options = { queue_name_prefix: prefix, is_secure: false, 'sqs-base64-encoding': 'false' };
  const plain = makeApp(redis.url, store, { broker: url, backend: redis.url, brokerTransportOptions: options });
  const result = await plain.sendTask('py.echo', ['Grüße 🌿']);
  expect(await result.get({ timeout: 15 })).toBe('Grüße 🌿');
  await plain.close();
}, 30_000);

test('nothing is left behind in the queues', async () => {
  await until(() => {
    const lying = ['py', 'ts'].map((queue) => sqs.server.inspectQueue(prefix + queue)?.messages);
    return lying.every((one) => one && one.ready.length + one.delayed.length + one.inflight.length === 0);
  }, 20_000);
}, 30_000);
