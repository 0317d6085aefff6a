import { setTimeout } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { redisBackend } from '../../../src/backends/redis.ts';
import type { ResultBackend, ResultRecord } from '../../../src/contracts/backend.ts';
import { DecodeError, StoreError } from '../../../src/errors.ts';
import { decodeResult, encodeResult } from '../../../src/wire/result.ts';
import { loadSerializers } from '../../../src/wire/serializers.ts';
import { type RedisServer, startRedis } from '../../support/redis-server.ts';
import { until } from '../../support/workplace.ts';
import { celeryDocuments } from './results-documents.ts';

let server: RedisServer;
let raw: Redis;
let backend: ResultBackend;

beforeAll(async () => {
  await loadSerializers(['yaml', 'msgpack']);
  server = await startRedis();
  raw = new Redis(server.url);
  raw.on('error', () => {});
  backend = redisBackend(server.url);
  await backend.start();
});
beforeEach(() => raw.flushall());
afterAll(async () => {
  await backend.stop();
  raw.disconnect();
  await server[Symbol.asyncDispose]();
});

const key = (taskId: string) => `celery-task-meta-${taskId}`;

function record(taskId: string, state: string, result: unknown = 1): ResultRecord {
  return { taskId, state, document: encodeResult({ taskId, state, result, children: [] }, { serializer: 'json' }) };
}

/** As Celery stores a result. */
async function celeryStores(taskId: string, document: string | Buffer): Promise<void> {
  await raw.multi().setex(key(taskId), 86400, document).publish(key(taskId), document).exec();
}

async function watched(taskIds: readonly string[], by = backend) {
  const told: ResultRecord[] = [];
  const stop = await by.watch(taskIds, (records) => void told.push(...records));
  return { told, stop };
}

const ALL = celeryDocuments();
const READABLE = ALL.filter(({ serializer }) => serializer !== 'pickle');
const FINISHED = READABLE.filter(({ state }) => ['SUCCESS', 'FAILURE', 'REVOKED'].includes(state));

describe('results of Celery', () => {
  test.each(READABLE)('$label is fetched', async ({ taskId, state, serializer, document }) => {
    await raw.set(key(taskId), document as Buffer);
    const [got] = await backend.fetchMany([taskId]);
    expect(got).toEqual({ taskId, state, document });
    expect(decodeResult(document, { serializer })).toMatchObject({ taskId, state });
  });

  test('are told to watchers, those from before and those that come', async () => {
    const [before, after] = [FINISHED.slice(0, 20), FINISHED.slice(20)];
    expect(after.length).toBeGreaterThan(10);
    for (const { taskId, document } of before) await celeryStores(taskId, document as Buffer);
    const { told, stop } = await watched(FINISHED.map(({ taskId }) => taskId));
    await celeryStores('another', '{"status": "SUCCESS", "result": 1}');
    for (const { taskId, document } of after) await celeryStores(taskId, document as Buffer);
    await until(() => told.length === FINISHED.length);
    const byId = new Map(told.map((one) => [one.taskId, one]));
    for (const { taskId, state, document } of FINISHED) expect(byId.get(taskId)).toEqual({ taskId, state, document });
    await stop();
  });

  test.each(ALL)('$label is replaced as the law says', async ({ taskId, state, document }) => {
    await raw.set(key(taskId), document as Buffer);
    await backend.storeMany([record(taskId, 'STARTED')], 60_000);
    const started = (await raw.getBuffer(key(taskId)))?.equals(Buffer.from(document as string));
    expect(started).toBe(['SUCCESS', 'FAILURE', 'REVOKED'].includes(state));
    await backend.storeMany([record(taskId, 'FAILURE')], 60_000);
    const failed = (await raw.getBuffer(key(taskId)))?.equals(Buffer.from(document as string));
    expect(failed).toBe(state === 'SUCCESS');
  });

  test.each(['json', 'yaml', 'msgpack'])('so is what Lovage writes as %s', async (serializer) => {
    const result = { status: 'FAILURE', text: '\nstatus: STARTED\n', bytes: new Uint8Array(100) };
    for (const state of ['SUCCESS', 'FAILURE', 'PROGRESS', 'SUCCESS-2', 'FAILURE_']) {
      const document = encodeResult({ taskId: state, state, result, children: [] }, { serializer });
      await backend.storeMany([{ taskId: state, state, document }], 60_000);
      await backend.storeMany([record(state, 'FAILURE', 'new'), record(state, 'RETRY', 'new')], 60_000);
      const [got] = await backend.fetchMany([state]);
      expect(got?.state).toBe(state === 'SUCCESS' ? 'SUCCESS' : 'FAILURE');
      expect(String(got?.document).includes('"new"')).toBe(state !== 'SUCCESS');
    }
  });

  test('are found behind other keys, too', async () => {
    await raw.set(key('go'), '{"task_id": "go", "status": "SUCCESS", "result": 5}');
    await backend.storeMany([record('go', 'FAILURE')]);
    expect(await backend.fetchMany(['go'])).toMatchObject([{ state: 'SUCCESS' }]);
  });
});

describe('what Lovage stores', () => {
  test('is the document itself, with its time, and published once on the channel of that name', async () => {
    const heard: string[] = [];
    const listener = new Redis(server.url);
    listener.on('message', (channel, message) => heard.push(`${channel} ${message}`));
    await listener.subscribe(key('a'), key('b'));
    const [a, b] = [record('a', 'SUCCESS'), record('b', 'RETRY')];
    await backend.storeMany([a, b], 86_400_000);
    await backend.storeMany([record('a', 'FAILURE'), record('a', 'STARTED')], 86_400_000);
    expect(await raw.get(key('a'))).toBe(a.document);
    expect(await raw.ttl(key('a'))).toBeGreaterThan(86_390);
    await backend.storeMany([record('end', 'SUCCESS')]);
    expect(await raw.ttl(key('end'))).toBe(-1);
    await until(() => heard.length >= 2);
    await setTimeout(50);
    expect(heard).toEqual([`${key('a')} ${a.document}`, `${key('b')} ${b.document}`]);
    listener.disconnect();
  });

  test('costs two commands each, and one for all', async () => {
    const records = Array.from({ length: 100 }, (_, i) => record(String(i), 'SUCCESS'));
    await backend.storeMany(records, 60_000);
    await backend.forgetMany(records.map(({ taskId }) => taskId));
    await raw.config('RESETSTAT');
    await backend.storeMany(records, 60_000);
    const stats = await raw.info('commandstats');
    const calls = [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, n]) => `${name} ${n}`);
    expect(calls.filter((call) => !/^(config|info)/.test(call)).sort()).toEqual([
      'evalsha 1',
      'publish 100',
      'set 100',
    ]);
  });

  test('goes on when the server has forgotten its scripts', async () => {
    await raw.script('FLUSH');
    expect(await backend.storeMany([record('a', 'SUCCESS')])).toEqual([]);
    expect(await backend.fetchMany(['a'])).toEqual([record('a', 'SUCCESS')]);
  });

  test.each([
    ['app', 'app_'],
    ['app_', 'app_'],
    ['app:', 'app:'],
  ])("has Celery's prefix: %j becomes %j", async (globalKeyprefix, prefix) => {
    const other = redisBackend(server.url, { globalKeyprefix });
    await other.start();
    const { told, stop } = await watched(['a'], other);
    await other.storeMany([record('a', 'SUCCESS')]);
    await other.joins?.setSize('g', 1);
    expect((await raw.keys('*')).sort()).toEqual([`${prefix}${key('a')}`, `${prefix}celery-taskset-meta-g.s`]);
    await until(() => told.length === 1);
    expect(told[0]?.taskId).toBe('a');
    await stop();
    await other.stop();
  });
});

describe('bad values', () => {
  test.each([
    ['text', 'garbage'],
    ['JSON that is no result', '[1, 2]'],
    ['bytes', Buffer.from([0xff, 0x00])],
  ])('%s: an error for that task, and the others come', async (_name, value) => {
    await raw.set(key('bad'), value);
    await backend.storeMany([record('good', 'SUCCESS')]);
    const [bad, good] = await backend.fetchMany(['bad', 'good']);
    expect(good).toEqual(record('good', 'SUCCESS'));
    expect(() => decodeResult(bad?.document ?? '', { serializer: 'json' })).toThrow(DecodeError);
    const { told, stop } = await watched(['bad']);
    await until(() => told.length === 1);
    await stop();
    await backend.storeMany([record('bad', 'STARTED')]);
    expect(await backend.fetchMany(['bad'])).toEqual([record('bad', 'STARTED')]);
  });

  test('a key of another type is no result, and gives way to one', async () => {
    await raw.lpush(key('list'), 'x');
    expect(await backend.fetchMany(['list'])).toEqual([undefined]);
    expect(await backend.storeMany([record('list', 'STARTED'), record('b', 'SUCCESS')])).toEqual([]);
    expect(await backend.fetchMany(['list', 'b'])).toEqual([record('list', 'STARTED'), record('b', 'SUCCESS')]);
  });

  test('a server without memory: no progress is stored, and the error may be tried again', async () => {
    const full = await startRedis({ args: ['--maxmemory', '1'] });
    const poor = redisBackend(full.url);
    try {
      await poor.start();
      const error = await poor.storeMany([record('a', 'STARTED')]).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ retryable: true, message: expect.stringContaining('maxmemory') });
    } finally {
      await poor.stop();
      await full[Symbol.asyncDispose]();
    }
  });
});

describe('watching', () => {
  const listening = async () =>
    String(await raw.client('LIST'))
      .split('\n')
      .find((line) => line.includes('name=lovage:results')) ?? '';
  const channels = async () => ((await raw.pubsub('CHANNELS', 'celery-*')) as string[]).sort();

  test('ends on the server with the last watcher of a task', async () => {
    const one = await watched(['a', 'b']);
    const two = await watched(['b', 'c']);
    expect(await channels()).toEqual([key('a'), key('b'), key('c')]);
    await one.stop();
    expect(await channels()).toEqual([key('b'), key('c')]);
    await backend.storeMany([record('b', 'SUCCESS'), record('c', 'STARTED')]);
    await until(async () => (await channels()).join() === key('c'));
    expect(one.told).toEqual([]);
    expect(two.told).toEqual([record('b', 'SUCCESS')]);
    await two.stop();
    expect(await channels()).toEqual([]);
  });

  test('misses nothing when its connection is cut', async () => {
    const ids = Array.from({ length: 2500 }, (_, i) => `t${i}`);
    const { told, stop } = await watched(ids);
    const [, id = ''] = /^id=(\d+)/.exec(await listening()) ?? [];
    await raw.client('KILL', 'ID', id);
    // Published to nobody: the connection is not back within this turn.
    for (const taskId of ids.slice(0, 10)) await raw.set(key(taskId), record(taskId, 'SUCCESS').document as string);
    await until(() => told.length === 10);
    await backend.storeMany(ids.slice(10).map((taskId) => record(taskId, 'SUCCESS')));
    await until(() => told.length === 2500);
    expect(new Set(told.map(({ taskId }) => taskId)).size).toBe(2500);
    await stop();
    expect(await channels()).toEqual([]);
  });

  test('goes on when the server was restarted', async () => {
    const own = await startRedis({ aof: true });
    const other = redisBackend(own.url);
    try {
      await other.start();
      const { told, stop } = await watched(['a'], other);
      await own.restart();
      await until(async () => (await other.storeMany([record('a', 'SUCCESS')]).catch(() => [1])).length === 0);
      await until(() => told.length === 1);
      await stop();
    } finally {
      await other.stop();
      await own[Symbol.asyncDispose]();
    }
  });

  test('leaves no connection open after stop', async () => {
    const other = redisBackend(server.url, { clientName: 'other' });
    await other.start();
    await watched(['a'], other);
    await other.stop();
    await until(async () => !String(await raw.client('LIST')).includes('name=other'));
  });
});
