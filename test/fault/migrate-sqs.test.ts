import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { runMigration } from '../../scripts/migration/run.ts';
import { sqliteBroker } from '../../src/brokers/sqlite.ts';
import { sqsBroker } from '../../src/brokers/sqs.ts';
import type { Broker } from '../../src/contracts/broker.ts';
import { StoreError } from '../../src/errors.ts';
import { migrate } from '../../src/migrate/migrate.ts';
import { namedMessage } from '../../src/testing/message.ts';
import { startAwsProxy } from '../support/aws-proxy.ts';
import type { Crash } from '../support/crashing-broker.ts';
import { override } from '../support/override.ts';
import { type SqsServer, startSqs } from '../support/sqs-server.ts';

let server: SqsServer;
beforeAll(async () => {
  server = await startSqs();
});
afterAll(() => server[Symbol.asyncDispose]());

let folder = '';
let runs = 0;
const open: Broker[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-migrate-'));
  runs += 1;
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

const sqsUrl = () => `${server.url}&create_missing=true&queue_name_prefix=m${runs}-`;
const sqliteUrl = () => `sqlite://${join(folder, 'tasks.db')}`;
const journal = () => join(folder, 'journal.db');

async function fill(broker: Broker, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, i) => `m${i}`);
  assert.deepEqual(await broker.publishMany(ids.map((id) => ({ queue: 'celery', message: namedMessage(id) }))), []);
  return ids.sort();
}

/** The ids of all messages of a broker, taken out for good. */
async function drain(broker: Broker): Promise<string[]> {
  const consumer = await broker.consume(['celery']);
  const ids: string[] = [];
  for (let empty = 0; empty < 2; ) {
    const some = await consumer.receive(100, 1000, new AbortController().signal);
    empty = some.length > 0 ? 0 : empty + 1;
    ids.push(...some.map(({ message }) => String(message.properties.correlation_id)));
    if (some.length > 0) assert.deepEqual(await consumer.ackMany(some), []);
  }
  await consumer.close();
  return ids.sort();
}

const run = (from: Broker, to: Broker) =>
  migrate({ from, to, queues: ['celery'], journal: journal(), leaseMs: 3000, signal: new AbortController().signal });

async function killed(from: string, to: string, crash: Crash): Promise<void> {
  const program = fileURLToPath(new URL('../support/migrate-process.ts', import.meta.url));
  const child = spawn(process.execPath, [program, from, to, journal(), JSON.stringify(crash)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const [, signal] = await once(child, 'close');
  assert.equal(signal, 'SIGKILL', `it ended by itself: ${(await said).join('')}`);
}

test.each<Crash>([
  { at: 'destination', method: 'publishMany', when: 'before', call: 2 },
  { at: 'destination', method: 'publishMany', when: 'after', call: 2 },
])('killed $when it sends a batch to SQS: nothing is lost, nothing doubled', async (crash) => {
  const from = await started(sqliteBroker(sqliteUrl()));
  const ids = await fill(from, 1300);
  await killed(sqliteUrl(), sqsUrl(), crash);
  const to = await started(sqsBroker(sqsUrl()));
  expect(await run(from, to)).toMatchObject({ done: true, moved: 1300, left: [] });
  expect(await drain(to)).toEqual(ids);
});

test.each<Crash>([
  { at: 'source', method: 'receive', when: 'after', call: 3 },
  { at: 'source', method: 'ackMany', when: 'before', call: 3 },
  { at: 'source', method: 'ackMany', when: 'after', call: 3 },
])('killed $when $method at an SQS source: nothing is lost, nothing doubled', async (crash) => {
  const from = await started(sqsBroker(sqsUrl()));
  const ids = await fill(from, 200);
  await killed(sqsUrl(), sqliteUrl(), crash);
  const to = await started(sqliteBroker(sqliteUrl()));
  expect(await run(from, to)).toMatchObject({ done: true, moved: 200, left: [] });
  expect(await drain(to)).toEqual(ids);
  expect(await drain(from)).toEqual([]);
});

test('answers of SQS that are lost on their way double nothing', async () => {
  await using proxy = await startAwsProxy(server.port);
  const from = await started(sqliteBroker(sqliteUrl()));
  const ids = await fill(from, 1000);
  const to = await started(
    sqsBroker(
      `sqs://test:test@127.0.0.1:${proxy.port}//?is_secure=false&create_missing=true&queue_name_prefix=m${runs}-`,
    ),
  );
  proxy.fail('SendMessageBatch', { lose: true }, { rate: 0.1 });
  proxy.fail('SendMessageBatch', { error: 'ServiceUnavailable', status: 503 }, { rate: 0.1 });
  expect(await run(from, to)).toMatchObject({ done: true, moved: 1000 });
  expect(proxy.faults).toBeGreaterThan(5);
  proxy.heal();
  expect(await drain(to)).toEqual(ids);
});

test('a queue that is not there is told before anything is taken', async () => {
  const from = await started(sqliteBroker(sqliteUrl()));
  const ids = await fill(from, 3);
  await from.publishMany([{ queue: 'mail', message: namedMessage('mail') }]);
  await from.declareMany([{ name: 'empty' }]);
  const to = await started(sqsBroker(`${server.url}&queue_name_prefix=m${runs}-`));
  const creating = await started(sqsBroker(sqsUrl()));
  await creating.declareMany([{ name: 'celery' }]);
  const options = { from, to, journal: journal(), signal: new AbortController().signal };
  await expect(migrate({ ...options, queues: ['celery', 'empty', 'mail'] })).rejects.toThrow(
    /queue 'mail' .* does not exist: run `lovage setup`/,
  );
  expect(await from.countMany(['celery'])).toEqual([{ ready: 3, inFlight: 0, delayed: 0, dead: 0 }]);
  expect(await migrate({ ...options, queues: ['celery', 'empty'] })).toMatchObject({ done: true, moved: 3 });
  expect(await drain(creating)).toEqual(ids);
});

test('the one answer of a small batch that is lost doubles nothing', async () => {
  await using proxy = await startAwsProxy(server.port);
  const from = await started(sqliteBroker(sqliteUrl()));
  const ids = await fill(from, 5);
  const url = `sqs://test:test@127.0.0.1:${proxy.port}//?is_secure=false&create_missing=true&queue_name_prefix=m${runs}-`;
  const to = await started(sqsBroker(url));
  proxy.fail('SendMessageBatch', { lose: true }, { times: 1 });
  expect(await run(from, to)).toMatchObject({ done: true, moved: 5 });
  expect(proxy.faults).toBe(1);
  expect(await drain(to)).toEqual(ids);
});

test('what a FIFO queue refuses stays in the journal with the reason', async () => {
  const from = await started(sqliteBroker(sqliteUrl()));
  await fill(from, 3);
  const report = await run(from, await started(sqsBroker(`${sqsUrl()}&fifo=true`)));
  expect(report).toMatchObject({ done: false, moved: 0 });
  expect(report.notSent.map(({ trouble }) => trouble).join()).toMatch(/group/i);
});

/** A move to a FIFO queue that was cut off: all has arrived, and no answer has come. */
async function cutOffOnItsWayToFifo() {
  const from = await started(sqliteBroker(sqliteUrl()));
  const ids = await fill(from, 3);
  const to = await started(sqsBroker(`${sqsUrl()}&fifo=true&default_group=all`));
  const mute = override<Broker>(to, {
    publishMany: async (batch) => {
      await to.publishMany(batch);
      return batch.map((_, index) => ({ index, error: new StoreError('no answer') }));
    },
  });
  expect(await run(from, mute)).toMatchObject({ done: false, moved: 0 });
  return { from, to, ids };
}

test('a move to a FIFO queue that is taken up within four minutes doubles nothing', async () => {
  const { from, to, ids } = await cutOffOnItsWayToFifo();
  expect(await run(from, to)).toMatchObject({ done: true, moved: 3 });
  expect(await drain(to)).toEqual(ids);
});

test('a move to a FIFO queue that is taken up later is decided by hand', async () => {
  const { from, to, ids } = await cutOffOnItsWayToFifo();
  const now = Date.now;
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + 300_000);
  try {
    await expect(run(from, to)).rejects.toThrow(/FIFO queue, and cannot be looked through.*--resend/);
  } finally {
    clock.mockRestore();
  }
  const again = { from, to, queues: ['celery'], journal: journal(), resend: true };
  expect(await migrate({ ...again, signal: new AbortController().signal })).toMatchObject({ done: true, moved: 3 });
  // Only because the five minutes have not really passed.
  expect(await drain(to)).toEqual(ids);
});

test('lovage migrate from Redis to SQS, killed twice and started again: 0 lost, 0 doubled', async () => {
  const outcome = await runMigration({ tasks: 6000, kills: 2, log: () => {} });
  expect(outcome).toMatchObject({ lost: 0, doubled: 0, strange: 0, leftAtSource: 0, delayed: 600 });
  expect(outcome.answer).toMatchObject({ done: true, moved: 6000 });
}, 300_000);
