import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { redisBackend } from '../../../src/backends/redis.ts';
import type { JoinPart, JoinStore, ResultBackend } from '../../../src/contracts/backend.ts';
import { StoreCorruptError } from '../../../src/errors.ts';
import { decodeResult, encodeResult } from '../../../src/wire/result.ts';
import { loadSerializers } from '../../../src/wire/serializers.ts';
import { type RedisServer, startRedis } from '../../support/redis-server.ts';
import { loadVectors } from '../wire/vectors.ts';

let server: RedisServer;
let raw: Redis;
let backend: ResultBackend;
let joins: JoinStore;

beforeAll(async () => {
  await loadSerializers(['yaml', 'msgpack']);
  server = await startRedis();
  raw = new Redis(server.url);
  backend = redisBackend(server.url);
  await backend.start();
  joins = backend.joins as JoinStore;
});
beforeEach(() => raw.flushall());
afterAll(async () => {
  await backend.stop();
  raw.disconnect();
  await server[Symbol.asyncDispose]();
});

const DAY_MS = 86_400_000;
const key = (joinId: string, suffix: string) => `celery-taskset-meta-${joinId}.${suffix}`;

function part(taskId: string, index: number, result: unknown = 1, serializer = 'json'): JoinPart {
  const document = encodeResult({ taskId, state: 'SUCCESS', result, children: [] }, { serializer });
  return { key: taskId, index, document };
}

/** Members and places, with the members read. */
async function members(joinId: string): Promise<unknown[]> {
  const flat = await raw.zrange(key(joinId, 'j'), '0', '-1', 'WITHSCORES');
  return flat.flatMap((text, i) => (i % 2 === 0 ? [[JSON.parse(text), Number(flat[i + 1])]] : []));
}

/** What Celery does when a member has finished; gives its count, and `.t` and `.s`. */
async function celeryAdds(joinId: string, index: number, member: string): Promise<unknown[]> {
  const [j, t, s] = ['j', 't', 's'].map((suffix) => key(joinId, suffix)) as [string, string, string];
  const replies = await raw
    .multi()
    .zadd(j, String(index), member)
    .zcount(j, '-inf', '+inf')
    .get(t)
    .get(s)
    .expire(j, 86400)
    .expire(t, 86400)
    .expire(s, 86400)
    .exec();
  return (replies ?? []).slice(1, 4).map(([, reply]) => reply);
}

interface ChordKeys {
  readonly [key: string]: { readonly type: string; readonly value: string | [string, number][] };
}

describe("the keys of Celery's chords", () => {
  test.each(loadVectors('redis_chord_keys'))('$label are read, and written alike', async ({ raw: captured }) => {
    const keys = captured as ChordKeys;
    const joinId = /^celery-taskset-meta-(.*)\.j$/.exec(Object.keys(keys)[0] ?? '')?.[1] ?? '';
    const zset = keys[key(joinId, 'j')]?.value as [string, number][];
    const size = keys[key(joinId, 's')]?.value as string;
    for (const [member, score] of zset) await raw.zadd(key(joinId, 'j'), String(score), member);
    await raw.set(key(joinId, 's'), size);

    const parts = (await joins.read(joinId)) ?? [];
    expect(parts.map(({ document }) => decodeResult(document, { serializer: 'json' }))).toEqual(
      zset.map(([member]) => {
        const [, taskId, state, result] = JSON.parse(member);
        return { taskId, state, result, children: [] };
      }),
    );
    expect(parts.map(({ key: id, index }) => [id, index])).toEqual(zset.map(([m, at]) => [JSON.parse(m)[1], at]));
    // Adding what Celery has added changes nothing.
    expect(await joins.addMany(joinId, parts, DAY_MS)).toEqual({ count: zset.length, size: Number(size) });

    await joins.setSize('ours', Number(size), DAY_MS);
    await joins.addMany('ours', parts, DAY_MS);
    expect(await members('ours')).toEqual(zset.map(([member, score]) => [JSON.parse(member), score]));
    expect(await raw.zrange(key('ours', 'j'), '0', '0')).toEqual([zset[0]?.[0]]);
    expect(await raw.get(key('ours', 's'))).toBe(size);
    for (const suffix of ['j', 's']) expect(await raw.ttl(key('ours', suffix))).toBeGreaterThan(86_390);
  });

  test.each(loadVectors('worker_chord'))('$label: from its results come its members', async ({ raw: captured }) => {
    const commands = captured as string[][];
    const documents = new Map(
      commands.flatMap(([name, at = '', , text = '']) =>
        name === 'SETEX' && at.startsWith('celery-task-meta-') ? [[at.slice('celery-task-meta-'.length), text]] : [],
      ),
    );
    const added = commands.filter(([name, at = '']) => name === 'ZADD' && at.endsWith('.j'));
    expect(added.length).toBeGreaterThan(0);
    for (const [, at = '', score = '', member = ''] of added) {
      const joinId = at.slice('celery-taskset-meta-'.length, -'.j'.length);
      const id = JSON.parse(member)[1] as string;
      await joins.addMany(joinId, [{ key: id, index: Number(score), document: documents.get(id) ?? '' }], DAY_MS);
      expect(await members(joinId)).toContainEqual([JSON.parse(member), Number(score)]);
    }
  });
});

describe('a chord of both languages', () => {
  test('is completed by a Lovage worker after a Celery one', async () => {
    await joins.setSize('g', 3, DAY_MS);
    expect(await celeryAdds('g', 0, '[1, "py", "SUCCESS", {"a": 1.5}]')).toEqual([1, null, '3']);
    expect(await joins.addMany('g', [part('ts', 1, [2])], DAY_MS)).toEqual({ count: 2, size: 3 });
    // Added by Task.replace in Python.
    await raw.incr(key('g', 't'));
    expect(await joins.addMany('g', [part('ts2', 2)], DAY_MS)).toEqual({ count: 3, size: 4 });
    expect(await celeryAdds('g', Number.POSITIVE_INFINITY, '[1, "late", "SUCCESS", null]')).toEqual([4, '1', '3']);
    const parts = (await joins.take('g')) ?? [];
    expect(parts.map(({ key: id, index }) => [id, index])).toEqual([
      ['py', 0],
      ['ts', 1],
      ['ts2', 2],
      ['late', Number.POSITIVE_INFINITY],
    ]);
    expect(await raw.keys('*')).toEqual([key('g', 'ended')]);
  });

  test('counts a task once that ran in both, whatever it returned', async () => {
    await celeryAdds('g', 0, '[1, "a", "SUCCESS", 1]');
    expect(await joins.addMany('g', [part('a', 0, 2), part('1', 0)])).toMatchObject({ count: 2 });
    expect(await celeryAdds('g', 0, '[1, "1", "SUCCESS", 1]')).toEqual([2, null, null]);
  });

  test.each(['json', 'yaml', 'msgpack'])('tells tasks apart by their ids in %s', async (serializer) => {
    const ids = ['a', 'ab', '1', 'x'.repeat(40), 'd2746a88-1da1-47cf-87c2-928cc4ab8db0'];
    const add = (result: unknown) =>
      joins.addMany(
        'g',
        ids.map((id) => part(id, 7, result, serializer)),
      );
    expect(await add('first')).toMatchObject({ count: 5 });
    expect(await add('second')).toMatchObject({ count: 5 });
    const parts = (await joins.read('g')) ?? [];
    expect(parts.map((one) => one.key).sort()).toEqual([...ids].sort());
    for (const { document } of parts) expect(decodeResult(document, { serializer }).result).toBe('first');
  });

  test('that has ended stays so: for late members of Lovage, and of Celery', async () => {
    await joins.setSize('g', 1, DAY_MS);
    await joins.addMany('g', [part('a', 0)], DAY_MS);
    await joins.take('g');
    expect(await raw.ttl(key('g', 'ended'))).toBeGreaterThan(86_390);
    expect(await celeryAdds('g', 0, '[1, "a", "SUCCESS", 2]')).toEqual([1, null, null]);
    expect(await joins.addMany('g', [part('a', 0)], DAY_MS)).toEqual({ count: 1, size: 1 });
    expect(await joins.read('g')).toBeUndefined();
    expect(await joins.take('g')).toBeUndefined();
  });

  test('that Celery has ended is not ended again by a late member of Lovage', async () => {
    expect(await joins.addMany('g', [part('a', 0)], DAY_MS)).toEqual({ count: 1, size: undefined });
  });

  test('with members that nobody can read, or in lists, is a clear error', async () => {
    await raw.zadd(key('g', 'j'), '0', 'garbage');
    await expect(joins.read('g')).rejects.toThrow(/member of a chord|Malformed/);
    await raw.lpush(key('list', 'j'), '[1, "a", "SUCCESS", 2]');
    await expect(joins.addMany('list', [part('a', 0)])).rejects.toThrow(StoreCorruptError);
  });
});
