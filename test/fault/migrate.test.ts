import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { redisBroker } from '../../src/brokers/redis.ts';
import { sqliteBroker } from '../../src/brokers/sqlite.ts';
import type { Broker } from '../../src/contracts/broker.ts';
import { StoreError } from '../../src/errors.ts';
import { type MigrateReport, migrate } from '../../src/migrate/migrate.ts';
import { namedMessage } from '../../src/testing/message.ts';
import type { Crash } from '../support/crashing-broker.ts';
import { override } from '../support/override.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';

const LATER_MS = 3600_000;
const READY = 1200;
const PARKED = 700;

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis({ args: ['--databases', '64'] });
});
afterAll(() => server[Symbol.asyncDispose]());

let folder = '';
const open: Broker[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-migrate-'));
});
afterEach(async () => {
  for (const broker of open.splice(0)) await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function started(broker: Broker): Promise<Broker> {
  open.push(broker);
  await broker.start();
  return broker;
}

let database = 0;
const redisUrl = () => `${server.url.slice(0, -1)}${database++}`;
const sqliteUrl = (name: string) => `sqlite://${join(folder, name)}`;
const journal = () => join(folder, 'journal.db');

async function fill(broker: Broker): Promise<string[]> {
  const ids = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
  const ready = ids('r', READY);
  const parked = ids('p', PARKED);
  const mail = ids('m', 10);
  assert.deepEqual(
    await broker.publishMany([
      ...ready.map((id, i) => ({ queue: 'celery', message: namedMessage(id, i % 2 === 0 ? 0 : 6) })),
      ...parked.map((id, i) => ({ queue: 'celery', message: namedMessage(id), delayMs: LATER_MS + i })),
      ...mail.map((id) => ({ queue: 'mail', message: namedMessage(id) })),
    ]),
    [],
  );
  return [...ready, ...parked, ...mail];
}

/** The ids of all messages of a broker, taken out for good. */
async function drain(broker: Broker): Promise<string[]> {
  const ids: string[] = [];
  for (const queue of ['celery', 'mail']) {
    for (const { message, dueAt } of (await broker.parked?.list(queue, 1e6)) ?? []) {
      assert.ok(dueAt > Date.now() + LATER_MS / 2);
      ids.push(String(message.properties.correlation_id));
    }
    const consumer = await broker.consume([queue]);
    for (;;) {
      const some = await consumer.receive(1000, 1, new AbortController().signal);
      if (some.length === 0) break;
      ids.push(...some.map(({ message }) => String(message.properties.correlation_id)));
      assert.deepEqual(await consumer.ackMany(some), []);
    }
    await consumer.close();
  }
  return ids.sort();
}

const run = (from: Broker, to: Broker, more: { resend?: boolean } = {}): Promise<MigrateReport> =>
  migrate({
    from,
    to,
    queues: ['celery', 'mail'],
    journal: journal(),
    leaseMs: 3000,
    signal: new AbortController().signal,
    ...more,
  });

/** Runs it in a process that kills itself. */
async function killed(from: string, to: string, crash: Crash): Promise<void> {
  const program = fileURLToPath(new URL('../support/migrate-process.ts', import.meta.url));
  const child = spawn(process.execPath, [program, from, to, journal(), JSON.stringify(crash)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const [, signal] = await once(child, 'close');
  assert.equal(signal, 'SIGKILL', `it ended by itself: ${(await said).join('')}`);
}

const crashes: Crash[] = [
  { at: 'source', method: 'receive', when: 'after', call: 2 },
  { at: 'source', method: 'ackMany', when: 'before', call: 2 },
  { at: 'source', method: 'ackMany', when: 'after', call: 2 },
  { at: 'source', method: 'takeMany', when: 'before', call: 2 },
  { at: 'source', method: 'takeMany', when: 'after', call: 2 },
  { at: 'destination', method: 'publishOnce', when: 'before', call: 2 },
  { at: 'destination', method: 'publishOnce', when: 'after', call: 2 },
  { at: 'destination', method: 'publishMany', when: 'before', call: 2, plain: true },
  { at: 'destination', method: 'publishMany', when: 'after', call: 2, plain: true },
];

describe.each(['redis to sqlite', 'sqlite to redis'])('a migration from %s', (direction) => {
  test.each(crashes.map((crash) => [`${crash.when} ${crash.method} of the ${crash.at}`, crash] as const))(
    'that is killed %s loses and doubles nothing when it runs again',
    async (_, crash) => {
      const urls = [redisUrl(), sqliteUrl('tasks.db')];
      const [fromUrl = '', toUrl = ''] = direction === 'redis to sqlite' ? urls : urls.reverse();
      const make = (url: string) => (url.startsWith('redis') ? redisBroker(url) : sqliteBroker(url));
      const from = await started(make(fromUrl));
      const ids = await fill(from);
      await killed(fromUrl, toUrl, crash);
      const to = await started(make(toUrl));
      // A store that cannot tell copies is one in both runs.
      const plain = crash.plain ? override<Broker>(to, { publishOnce: undefined as never }) : to;
      let report = await run(from, plain);
      expect(report).toMatchObject({ done: true, moved: ids.length, unsure: 0, notSent: [], left: [] });
      expect(await drain(to)).toEqual(ids.toSorted());
      expect(await drain(from)).toEqual([]);
      report = await run(from, plain);
      expect(report).toMatchObject({ done: true, moved: 0 });
    },
  );
});

test('order and priorities are kept, and what is parked is parked until the same time', async () => {
  const from = await started(redisBroker(redisUrl()));
  const to = await started(sqliteBroker(sqliteUrl('tasks.db')));
  await fill(from);
  const before = await from.parked?.list('celery', 3);
  expect(await run(from, to)).toMatchObject({ done: true, moved: READY + PARKED + 10 });
  const after = await to.parked?.list('celery', 3);
  expect(after?.map(({ message }) => message.properties.correlation_id)).toEqual(['p0', 'p1', 'p2']);
  const late = after?.map(({ dueAt }, i) => Math.round((dueAt - (before?.[i]?.dueAt ?? 0)) / 1000));
  expect(late).toEqual([0, 0, 0]);
  const consumer = await to.consume(['celery']);
  const ready = await consumer.receive(1000, 1, new AbortController().signal);
  const ids = ready.map(({ message }) => message.properties.correlation_id);
  const even = Array.from({ length: READY / 2 }, (_, i) => `r${2 * i}`);
  const odd = Array.from({ length: 1000 - READY / 2 }, (_, i) => `r${2 * i + 1}`);
  expect(ids).toEqual([...even, ...odd]);
});

test('a task that a Celery producer sent with an eta is parked at the destination', async () => {
  const from = await started(redisBroker(redisUrl()));
  const to = await started(sqliteBroker(sqliteUrl('tasks.db')));
  const message = namedMessage('eta');
  const eta = new Date(Date.now() + LATER_MS).toISOString().replace('Z', '+00:00');
  await from.publishMany([{ queue: 'celery', message: { ...message, headers: { ...message.headers, eta } } }]);
  expect(await run(from, to)).toMatchObject({ done: true, moved: 1 });
  const [parked] = (await to.parked?.list('celery', 1)) ?? [];
  expect(parked?.dueAt).toBeCloseTo(Date.parse(eta), -2);
});

test('two messages that are alike in everything stay two', async () => {
  const from = await started(redisBroker(redisUrl()));
  const to = await started(sqliteBroker(sqliteUrl('tasks.db')));
  const message = namedMessage('twin');
  await from.publishMany([1, 2].map(() => ({ queue: 'celery', message })));
  const plain = override<Broker>(to, {
    publishOnce: undefined as never,
    publishMany: async (batch) => {
      await to.publishMany(batch.slice(0, 1));
      return batch.slice(1).map((_, i) => ({ index: i + 1, error: new StoreError('no answer') }));
    },
  });
  // The second is sent again until the look through the queue finds two.
  expect(await run(from, plain)).toMatchObject({ done: true, moved: 2 });
  expect(await drain(to)).toEqual(['twin', 'twin']);
});

test('an acknowledgement whose answer is lost neither loses nor doubles a message', async () => {
  const from = await started(redisBroker(redisUrl()));
  const to = await started(sqliteBroker(sqliteUrl('tasks.db')));
  const ids = await fill(from);
  for (const done of [true, false]) {
    const cut = override<Broker>(from, {
      async consume(queues, options) {
        const consumer = await from.consume(queues, options);
        return override(consumer, {
          async ackMany(deliveries) {
            if (done) await consumer.ackMany(deliveries);
            throw new StoreError('the connection was lost');
          },
        });
      },
    });
    await expect(run(cut, to)).rejects.toThrow('the connection was lost');
  }
  expect(await run(from, to)).toMatchObject({ done: true, moved: ids.length });
  expect(await drain(to)).toEqual(ids.toSorted());
});

test('what is too large for the destination stays where it is, and all else is moved', async () => {
  const from = await started(redisBroker(redisUrl()));
  const to = await started(sqliteBroker(sqliteUrl('tasks.db')));
  const small = override<Broker>(to, { features: { ...to.features, maxMessageBytes: 1000 } });
  const large = { ...namedMessage('large'), body: new Uint8Array(2000) };
  await from.publishMany([
    { queue: 'celery', message: large },
    { queue: 'celery', message: { ...large, properties: { correlation_id: 'late' } }, delayMs: LATER_MS },
    { queue: 'celery', message: namedMessage('small') },
    { queue: 'celery', message: namedMessage('parked'), delayMs: 2 * LATER_MS },
  ]);
  const report = await run(from, small);
  expect(report).toMatchObject({ done: false, moved: 2, tooLarge: 2 });
  expect(report.left).toEqual([{ queue: 'celery', ready: 1, inFlight: 0, delayed: 1, dead: 0 }]);
  expect(await drain(from)).toEqual(['large', 'late']);
});

test('what cannot be decided is not decided while a worker has messages of that queue', async () => {
  const from = await started(redisBroker(redisUrl()));
  const to = await started(sqliteBroker(sqliteUrl('tasks.db')));
  await from.publishMany([{ queue: 'celery', message: namedMessage('a') }]);
  await to.publishMany([{ queue: 'celery', message: namedMessage('b') }]);
  const worker = await to.consume(['celery']);
  const [held] = await worker.receive(1, 1000, new AbortController().signal);
  assert.ok(held);
  const mute = override<Broker>(to, {
    publishOnce: undefined as never,
    publishMany: async (batch) => {
      await to.publishMany(batch);
      return batch.map((_, index) => ({ index, error: new StoreError('no answer') }));
    },
  });
  await expect(run(from, mute)).rejects.toThrow(/Stop the workers of that queue and run again.*--resend/);
  await worker.ackMany([held]);
  expect(await run(from, mute)).toMatchObject({ done: true, moved: 1 });
  expect(await drain(to)).toEqual(['a']);
});

test('only one migration works with a journal, and a journal is of one pair of brokers', async () => {
  const from = await started(redisBroker(redisUrl()));
  const to = await started(sqliteBroker(sqliteUrl('tasks.db')));
  const other = await started(sqliteBroker(sqliteUrl('other.db')));
  await fill(from);
  const gate = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const slow = override<Broker>(to, {
    publishOnce: async (...args) => {
      asked.resolve();
      await gate.promise;
      return to.publishOnce?.(...args) ?? false;
    },
  });
  const stopping = new AbortController();
  const first = migrate({ from, to: slow, queues: ['celery'], journal: journal(), signal: stopping.signal });
  await asked.promise;
  await expect(run(from, to)).rejects.toMatchObject({ code: 'STORE_LOCKED' });
  stopping.abort();
  gate.resolve();
  expect(await first).toMatchObject({ done: false });
  await expect(run(from, other)).rejects.toThrow(/is the journal of a migration from .* to .*tasks.db/);
  expect(await run(from, to)).toMatchObject({ done: true });
});

test('a broker is not moved into itself, nor out of the memory of this process', async () => {
  const from = await started(sqliteBroker(sqliteUrl('tasks.db')));
  await expect(run(from, from)).rejects.toThrow(/source and destination are the same/);
});
