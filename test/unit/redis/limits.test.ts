import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { redisBackend } from '../../../src/backends/redis.ts';
import type { ResultBackend } from '../../../src/contracts/backend.ts';
import type { LimitStore } from '../../../src/contracts/limits.ts';
import { StoreCorruptError } from '../../../src/errors.ts';
import { askRate } from '../../../src/util/gcra.ts';
import { type RedisServer, startRedis } from '../../support/redis-server.ts';

let server: RedisServer;
let raw: Redis;
let backend: ResultBackend;
let limits: LimitStore;

beforeAll(async () => {
  server = await startRedis();
  raw = new Redis(server.url);
  backend = redisBackend(server.url, { globalKeyprefix: 'shop:' });
  await backend.start();
  limits = backend.limits as LimitStore;
});
beforeEach(() => raw.flushall());
afterAll(async () => {
  await backend.stop();
  raw.disconnect();
  await server[Symbol.asyncDispose]();
});

const HOUR_MS = 3_600_000;

/** Every key with its type, and the time for which it lives on. */
async function keys(): Promise<Record<string, readonly [type: string, ttlMs: number]>> {
  const names = (await raw.keys('*')).sort();
  const entries = names.map(async (name) => [name, [await raw.type(name), await raw.pttl(name)]] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** What Redis counts down from this, on a slow machine. */
const about = (ms: number) =>
  expect.toSatisfy((left: number) => left <= ms + 10 && left > ms - 60_000, `about ${ms} ms`);

describe('the keys of limits on Redis', () => {
  test('of a claim live as long as its longest lease, and go when the last one is released', async () => {
    const claims = [1, 3, 2].map((hours) => ({ key: 'k', holder: `h${hours}`, leaseMs: hours * HOUR_MS, slots: 3 }));
    await limits.claimMany(claims);
    expect(await keys()).toEqual({ 'shop:lovage:claim:k': ['zset', about(3 * HOUR_MS)] });
    await limits.renewMany(claims.slice(1, 2), 4 * HOUR_MS);
    expect(await keys()).toEqual({ 'shop:lovage:claim:k': ['zset', about(4 * HOUR_MS)] });
    await limits.releaseMany(claims);
    expect(await keys()).toEqual({});
  });

  test('of a finished key is one, for the time that was given', async () => {
    await limits.claimMany([{ key: 'k', holder: 'h', leaseMs: HOUR_MS }]);
    await limits.finishMany([{ key: 'k', holder: 'h' }], 24 * HOUR_MS);
    expect(await keys()).toEqual({ 'shop:lovage:finished:k': ['string', about(24 * HOUR_MS)] });
    expect(await raw.get('shop:lovage:finished:k')).toBe('h');
  });

  test('of a rate live until it rests, those of its reservations an hour longer than the last of them', async () => {
    const ask = (ids: string[], intervalMs: number) =>
      limits.reserveMany(ids.map((id) => ({ key: 'r', id, intervalMs, burst: 1 })));
    await ask(['a'], HOUR_MS);
    expect(await keys()).toEqual({ 'shop:lovage:rate:r': ['hash', about(HOUR_MS)] });
    await ask(['b', 'c'], HOUR_MS);
    const reserved = ['zset', about(3 * HOUR_MS)];
    expect(await keys()).toEqual({
      'shop:lovage:rate:r': ['hash', about(3 * HOUR_MS)],
      'shop:lovage:reserved:r': reserved,
    });
    // A faster rate does not shorten the life of what was reserved before.
    await ask(['d'], HOUR_MS / 10);
    expect(await keys()).toEqual({
      'shop:lovage:rate:r': ['hash', about((4 * HOUR_MS) / 10)],
      'shop:lovage:reserved:r': reserved,
    });
  });

  test('do not keep reservations that nobody came for', async () => {
    const now = Date.now();
    await raw.zadd('shop:lovage:reserved:r', now - HOUR_MS - 60_000, 'lost', now - HOUR_MS + 60_000, 'late');
    await limits.reserveMany([{ key: 'r', id: 'x', intervalMs: 1000, burst: 1 }]);
    expect(await raw.zrange('shop:lovage:reserved:r', '0', '-1')).toEqual(['late']);
  });

  test('that hold something else are named as such', async () => {
    await raw.set('shop:lovage:claim:k', 'a text');
    await expect(limits.claimMany([{ key: 'k', holder: 'h', leaseMs: 1000 }])).rejects.toThrow(StoreCorruptError);
  });
});

test('a rate in Lua is the same as in TypeScript', async () => {
  const random = (max: number) => Math.floor(Math.random() * max);
  for (let i = 0; i < 300; i++) {
    await raw.flushall();
    // Half hours beside whole ones: a millisecond more or less decides nothing.
    const moment = () => Date.now() + (random(20) - 10) * HOUR_MS + HOUR_MS / 2;
    const before = { next: moment(), taken: moment(), intervalMs: HOUR_MS * (1 + random(4)) };
    const known = random(4) > 0;
    const reserved = random(2) > 0 ? moment() : undefined;
    const rate = { intervalMs: HOUR_MS * (1 + random(4)), burst: 1 + random(3) };
    const { next, taken, intervalMs } = before;
    if (known) await raw.hset('shop:lovage:rate:r', { next, taken, interval: intervalMs });
    if (reserved !== undefined) await raw.zadd('shop:lovage:reserved:r', reserved, 'a');
    const now = Date.now();
    const kept = reserved !== undefined && reserved > now - HOUR_MS ? reserved : undefined;
    const expected = askRate(known ? before : undefined, kept, rate, now);
    const [wait = 0] = await limits.reserveMany([{ key: 'r', id: 'a', ...rate }]);
    const told = JSON.stringify({ before: known && before, reserved, rate, now, expected, wait });
    const near = (a: number, b: number) => Math.abs(a - b) < 60_000;
    expect(wait > 0, told).toBe(expected.moment > now);
    expect(near(wait, Math.max(0, expected.moment - now)), told).toBe(true);
    const after = await raw.hgetall('shop:lovage:rate:r');
    // A rate that rests has no key.
    const { next: nextNow = now, taken: takenNow = now } = after;
    const atLeastNow = (time: number) => Math.max(time, now);
    expect(near(atLeastNow(Number(nextNow)), atLeastNow(expected.state.next)), told).toBe(true);
    expect(near(atLeastNow(Number(takenNow)), atLeastNow(expected.state.taken)), told).toBe(true);
    const place = await raw.zscore('shop:lovage:reserved:r', 'a');
    expect(place !== null, told).toBe(expected.moment > now);
    if (place !== null) expect(near(Number(place), expected.moment), told).toBe(true);
  }
});

test('workers go on with claims when Redis has no memory left', async () => {
  await using full = await startRedis({ args: ['--maxmemory-policy', 'noeviction'] });
  const other = redisBackend(full.url);
  await other.start();
  const claims = [{ key: 'k', holder: 'h', leaseMs: HOUR_MS }];
  const admin = new Redis(full.url);
  try {
    await admin.config('SET', 'maxmemory', '1mb');
    await expect(admin.set('x', 'y')).rejects.toThrow(/OOM/);
    expect(await other.limits?.claimMany(claims)).toEqual([{ granted: true }]);
    expect(await other.limits?.renewMany(claims, HOUR_MS)).toEqual([]);
    expect(await other.limits?.finishMany(claims, HOUR_MS)).toEqual([]);
    await other.limits?.releaseMany(claims);
    expect(await other.limits?.reserveMany([{ key: 'r', id: 'a', intervalMs: HOUR_MS, burst: 1 }])).toEqual([0]);
  } finally {
    admin.disconnect();
    await other.stop();
  }
});
