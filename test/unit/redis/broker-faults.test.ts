import { createServer } from 'node:net';
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { redisBroker } from '../../../src/brokers/redis.ts';
import { eventually } from '../../../src/testing/eventually.ts';
import { idsOf, namedMessage } from '../../../src/testing/message.ts';
import { startRedis } from '../../support/redis-server.ts';

// A Redis in trouble: every call ends in time and says what is wrong, and all goes on by itself afterwards.

const NEVER = new AbortController().signal;
const message = (id: string, size = 0) => ({
  queue: 'celery',
  message: { ...namedMessage(id), body: new Uint8Array(size) },
});

async function serverWith(...args: string[]) {
  const server = await startRedis({ args });
  onTestFinished(() => server[Symbol.asyncDispose]());
  const redis = new Redis(server.port, { retryStrategy: () => 50 });
  redis.on('error', () => {});
  onTestFinished(() => redis.disconnect());
  return { server, redis };
}

async function started(url: string, options = {}) {
  const broker = redisBroker(url, options);
  onTestFinished(() => broker.stop().catch(() => {}));
  await broker.start();
  return broker;
}

test('a restart: a waiting consumer is served afterwards, listeners hear again', async () => {
  const { server } = await serverWith();
  const broker = await started(server.url);
  const consumer = await broker.consume(['celery']);
  const heard: string[] = [];
  await broker.bus?.listen('celeryev/*', (payloads) => heard.push(...payloads.map(String)));
  const waiting = consumer.receive(1, 30_000, NEVER).catch(() => consumer.receive(1, 30_000, NEVER));
  await server.restart();
  await eventually(async () => expect(await broker.publishMany([message('a')])).toEqual([]));
  expect(idsOf(await waiting)).toEqual(['a']);
  await eventually(async () => {
    await broker.bus?.emitMany('celeryev/task', [Buffer.from('x')]);
    expect(heard).not.toEqual([]);
  });
  expect(await broker.listQueues()).toEqual(['celery']);
});

test('a server that is gone: calls fail soon and may be retried, and stop ends', async () => {
  const { server } = await serverWith();
  const broker = await started(server.url);
  const consumer = await broker.consume(['celery']);
  await broker.publishMany([message('a')]);
  await consumer.receive(1, 1000, NEVER);
  await server.kill();
  const start = performance.now();
  await expect(broker.publishMany([message('b')])).rejects.toMatchObject({ code: 'STORE', retryable: true });
  await broker.stop().catch(() => {});
  expect(performance.now() - start).toBeLessThan(5000);
});

test('a paused server hangs no call, and is used again when it goes on', async () => {
  const { server } = await serverWith();
  const broker = await started(server.url, { socketTimeout: 0.5 });
  server.pause();
  const [failure] = await broker.publishMany([message('a')]);
  expect(failure?.error).toMatchObject({ retryable: true, message: expect.stringContaining('did not answer in time') });
  await expect(broker.countMany(['celery'])).rejects.toMatchObject({ retryable: true });
  server.resume();
  await eventually(async () => expect(await broker.publishMany([message('b')])).toEqual([]));
});

test('connections that are killed come back', async () => {
  const { server, redis } = await serverWith();
  const broker = await started(server.url);
  const consumer = await broker.consume(['celery']);
  const waiting = consumer.receive(1, 20_000, NEVER).catch(() => consumer.receive(1, 20_000, NEVER));
  await redis.call('CLIENT', 'KILL', 'TYPE', 'normal');
  await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub').catch(() => {});
  await eventually(async () => expect(await broker.publishMany([message('a')])).toEqual([]));
  expect(idsOf(await waiting)).toEqual(['a']);
});

test('without memory publishing says so, and workers can still drain', async () => {
  const { server, redis } = await serverWith('--maxmemory', '8mb', '--maxmemory-policy', 'noeviction');
  const broker = await started(server.url);
  let error: Error | undefined;
  let sent = 0;
  for (; !error && sent < 200; sent++)
    error = (await broker.publishMany([message(`m${sent}`, 200_000)]).catch((e) => [{ error: e }]))[0]?.error;
  expect(error).toMatchObject({ code: 'STORE', message: expect.stringContaining('maxmemory') });
  const consumer = await broker.consume(['celery']);
  const all: string[] = [];
  for (let got = await consumer.receive(5, 100, NEVER); got.length > 0; got = await consumer.receive(5, 100, NEVER)) {
    expect(await consumer.ackMany(got)).toEqual([]);
    all.push(...idsOf(got));
  }
  expect(all).toHaveLength(sent - 1);
  expect(await redis.exists('unacked')).toBe(0);
});

test('everything flushed: what was held is lost, and says so', async () => {
  const { server, redis } = await serverWith();
  const broker = await started(server.url);
  await broker.publishMany([message('a')]);
  const consumer = await broker.consume(['celery']);
  const got = await consumer.receive(1, 1000, NEVER);
  await redis.flushall();
  expect((await consumer.ackMany(got))[0]?.error).toMatchObject({ code: 'LEASE_LOST' });
  await broker.publishMany([message('b')]);
  expect(idsOf(await consumer.receive(1, 1000, NEVER))).toEqual(['b']);
});

test('a read-only replica, a wrong password, a cluster and no Redis at all are told apart at the start', async () => {
  const { server } = await serverWith();
  const { server: replica } = await serverWith('--replicaof', '127.0.0.1', String(server.port));
  await expect(started(replica.url)).rejects.toMatchObject({ code: 'STORE_READ_ONLY' });
  await serverWith('--requirepass', 'right').then(async ({ server: locked }) => {
    const wrong = locked.url.replace('//', '//:wrong-secret@');
    const error = await started(wrong).catch((e) => e);
    expect(error).toMatchObject({ code: 'CONFIG', message: expect.stringContaining('refused user or password') });
    expect(JSON.stringify([error.message, error.cause, error.cause?.command])).not.toContain('wrong-secret');
    await expect(started(locked.url)).rejects.toThrow(/refused user or password/);
    await expect(started(locked.url.replace('//', '//:right@'))).resolves.toBeDefined();
  });
  const { server: cluster } = await serverWith('--cluster-enabled', 'yes');
  await expect(started(cluster.url)).rejects.toThrow(/Redis Cluster, which is not supported/);
  await expect(started(server.url.replace('redis:', 'rediss:'), { socketConnectTimeout: 1 })).rejects.toThrow(/rediss/);
  const web = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1');
  onTestFinished(() => void web.close());
  const { port } = Object(web.address());
  await expect(started(`redis://127.0.0.1:${port}`, { socketConnectTimeout: 1 })).rejects.toThrow(/Redis/);
});

test('two consumers racing for expired leases: each message goes to one of them', async () => {
  const { server } = await serverWith();
  const [a, b] = [await started(server.url), await started(`${server.url}?socket_timeout=11`)];
  await a.publishMany(Array.from({ length: 500 }, (_, i) => message(`m${i}`)));
  const dead = await a.consume(['celery'], { leaseMs: 20 });
  for (let held = 0; held < 500; ) held += (await dead.receive(500 - held, 1000, NEVER)).length;
  const ids: string[] = [];
  const drain = async (broker: typeof a) => {
    const consumer = await broker.consume(['celery'], { leaseMs: 60_000 });
    while (ids.length < 500) ids.push(...idsOf(await consumer.receive(7, 100, NEVER)));
  };
  await Promise.all([drain(a), drain(b)]);
  expect(new Set(ids).size).toBe(500);
  expect(ids).toHaveLength(500);
});
