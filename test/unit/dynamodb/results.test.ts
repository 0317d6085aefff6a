import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { zstdCompressSync } from 'node:zlib';
import { GetItemCommand, PutItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ResultBackend } from '../../../src/contracts/backend.ts';
import { MessageTooLargeError } from '../../../src/errors.ts';
import { celeryKey } from '../../../src/stores/dynamodb/items.ts';
import { decodeResult } from '../../../src/wire/result.ts';
import { DynamodbShop, record } from '../../support/dynamodb-shop.ts';
import { type S3Server, startS3 } from '../../support/s3-server.ts';

interface Vector {
  readonly id: { readonly S: string };
  readonly result: { readonly B_base64: string; readonly decoded_utf8: string };
  readonly timestamp: { readonly N: string };
}

const file = new URL('../../vectors/celery526_dynamodb_items.json', import.meta.url);
const vectors: readonly Vector[] = JSON.parse(readFileSync(file, 'utf8')).items;

let shop: DynamodbShop;
let table: string;
let backend: ResultBackend;

beforeAll(async () => {
  shop = await DynamodbShop.open();
});
beforeEach(async () => {
  table = await shop.table();
  backend = await shop.backend(table);
  shop.proxy.reset();
});
afterAll(() => shop[Symbol.asyncDispose]());

const python = (taskId: string) => `b'celery-task-meta-${taskId}'`;

/** As Celery stores a result. */
async function celeryStores(taskId: string, document: string, more: Record<string, { N: string }> = {}): Promise<void> {
  const Item = {
    id: { S: python(taskId) },
    result: { B: Buffer.from(document) },
    timestamp: { N: String(Date.now() / 1000) },
    ...more,
  };
  await shop.raw.send(new PutItemCommand({ TableName: table, Item }));
}

async function item(id: string) {
  return (await shop.raw.send(new GetItemCommand({ TableName: table, Key: { id: { S: id } } }))).Item;
}

const text = ({ document }: { document: string | Uint8Array } = { document: '' }) => document as string;

describe('results of Celery in DynamoDB', () => {
  test('there are as many items as were captured', () => expect(vectors.length).toBe(16));

  test('are read bit for bit', async () => {
    for (const { id, result, timestamp } of vectors) {
      const Item = { id, timestamp, result: { B: Buffer.from(result.B_base64, 'base64') } };
      await shop.raw.send(new PutItemCommand({ TableName: table, Item }));
    }
    const ids = vectors.map(({ result }) => JSON.parse(result.decoded_utf8).task_id as string);
    const got = await backend.fetchMany(ids);
    for (const [i, { result }] of vectors.entries()) {
      const { task_id: taskId, status: state } = JSON.parse(result.decoded_utf8);
      expect(got[i]).toEqual({ taskId, state, document: result.decoded_utf8 });
    }
  });

  test('are read under the key that Celery meant, too', async () => {
    const { taskId, state, document } = record('clean', 'SUCCESS');
    const Item = { id: { S: 'celery-task-meta-clean' }, result: { B: Buffer.from(text({ document })) } };
    await shop.raw.send(new PutItemCommand({ TableName: table, Item }));
    expect(await backend.fetchMany(['clean'])).toEqual([{ taskId, state, document }]);
    await backend.forgetMany(['clean']);
    expect(await backend.fetchMany(['clean'])).toEqual([undefined]);
  });

  test('are written under the same keys and attributes', async () => {
    for (const { id, result, timestamp } of vectors) {
      const { task_id: taskId, status: state } = JSON.parse(result.decoded_utf8);
      await backend.storeMany([{ taskId, state, document: result.decoded_utf8 }], 60_500);
      const ours = await item(id.S);
      expect(Buffer.from(ours?.result?.B ?? []).toString('base64')).toBe(result.B_base64);
      expect(ours?.timestamp?.N).toMatch(/^\d+(\.\d+)?$/);
      expect(Number(ours?.timestamp?.N)).toBeGreaterThan(Number(timestamp.N) - 1e9);
      expect(Number(ours?.ttl?.N)).toBe(Math.ceil(Number(ours?.until?.N) / 1000));
      // Whole seconds, and never too early.
      const kept = Number(ours?.ttl?.N) - Number(ours?.timestamp?.N);
      expect(kept).toBeGreaterThan(60.49);
      expect(kept).toBeLessThan(61.51);
    }
  });

  test.each([
    ['plain-1', "b'celery-task-meta-plain-1'"],
    ['ü', "b'celery-task-meta-\\xc3\\xbc'"],
    ["it's", 'b"celery-task-meta-it\'s"'],
    [`both ' and "`, `b'celery-task-meta-both \\' and "'`],
    ['a\\b\n\t\r\0', "b'celery-task-meta-a\\\\b\\n\\t\\r\\x00'"],
  ])('the id %j has the key that Python makes of it', (taskId, key) => expect(celeryKey(taskId)).toBe(key));

  test('a SUCCESS of Python stays, whatever comes later; what is less final gives way', async () => {
    for (const state of ['SUCCESS', 'FAILURE', 'STARTED'])
      await celeryStores(state, text(record(state, state, 'python')));
    for (const later of ['STARTED', 'FAILURE']) {
      await backend.storeMany(['SUCCESS', 'FAILURE', 'STARTED'].map((id) => record(id, later, 'ours')));
      const got = await backend.fetchMany(['SUCCESS', 'FAILURE', 'STARTED']);
      const ours = later === 'STARTED' ? [false, false, true] : [false, true, true];
      expect(got.map((one) => text(one).includes('"ours"'))).toEqual(ours);
    }
  });

  test('what Python has stored over ours counts as it is', async () => {
    await backend.storeMany([record('a', 'STARTED')]);
    await celeryStores('a', text(record('a', 'SUCCESS', 'python')));
    expect(await backend.storeMany([record('a', 'FAILURE', 'ours')])).toEqual([]);
    expect(text((await backend.fetchMany(['a']))[0])).toContain('python');
  });

  test('an item whose ttl is over is not read, though DynamoDB still has it, and gives way', async () => {
    const ttl = { N: String(Math.floor(Date.now() / 1000) - 5) };
    await celeryStores('old', text(record('old', 'SUCCESS')), { ttl });
    expect(await backend.fetchMany(['old'])).toEqual([undefined]);
    await backend.storeMany([record('old', 'STARTED', 'anew')]);
    expect(text((await backend.fetchMany(['old']))[0])).toContain('anew');
  });

  test('ttl_seconds of the URL wins over the time that the application says', async () => {
    const other = await shop.backend(table, { ttlSeconds: 1000 });
    await other.storeMany([record('a', 'SUCCESS')], 60_000);
    const ours = await item(python('a'));
    expect(Number(ours?.ttl?.N) - Date.now() / 1000).toBeGreaterThan(900);
  });
});

test('an id that is too long for a key fails alone, and is not there for who asks', async () => {
  const long = 'x'.repeat(3000);
  const failures = await backend.storeMany([record('a', 'SUCCESS'), record(long, 'SUCCESS'), record('b', 'SUCCESS')]);
  expect(failures.map(({ index }) => index)).toEqual([1]);
  const got = await backend.fetchMany(['a', long, 'b']);
  expect(got.map((one) => one?.state)).toEqual(['SUCCESS', undefined, 'SUCCESS']);
  await backend.forgetMany([long, 'a']);
});

describe('a result costs', () => {
  test('one write, whatever is in its way of states, and nothing else', async () => {
    const records = Array.from({ length: 200 }, (_, i) => record(`t${i}`, 'SUCCESS'));
    await backend.storeMany(records, 60_000);
    expect(Object.fromEntries(shop.proxy.counts)).toEqual({ PutItem: 200 });
    shop.proxy.reset();
    await backend.storeMany([record('a', 'STARTED'), record('a', 'SUCCESS'), record('a', 'STARTED')]);
    expect(Object.fromEntries(shop.proxy.counts)).toEqual({ PutItem: 1 });
  });

  test('two hundredths of a request where a hundred are fetched: under either key', async () => {
    await backend.storeMany(Array.from({ length: 200 }, (_, i) => record(`t${i}`, 'SUCCESS')));
    shop.proxy.reset();
    await backend.fetchMany(Array.from({ length: 200 }, (_, i) => `t${i}`));
    expect(Object.fromEntries(shop.proxy.counts)).toEqual({ BatchGetItem: 4 });
  });
});

describe('a result that is too large for an item', () => {
  const data = randomBytes(1_500_000).toString('base64');

  test('lies in pieces in the table; Python reads where', async () => {
    await backend.storeMany([record('large', 'SUCCESS', data)], 60_000);
    const [got] = await backend.fetchMany(['large']);
    expect(decodeResult(text(got), { serializer: 'json' }).result).toBe(data);
    const ours = await item(python('large'));
    const notice = JSON.parse(Buffer.from(ours?.result?.B ?? []).toString());
    expect(notice).toMatchObject({
      status: 'SUCCESS',
      task_id: 'large',
      result: [expect.any(String), { s3BucketName: table }],
    });
    const { Items = [] } = await shop.raw.send(new ScanCommand({ TableName: table }));
    expect(Items.length).toBeGreaterThan(3);
    expect(Items.filter(({ ttl }) => ttl === undefined)).toEqual([]);
  });

  test.each([
    ['damaged', '#1', randomBytes(100), undefined],
    ["somebody else's", '#0', zstdCompressSync(Buffer.from(text(record('large', 'SUCCESS', 'other')))), '1'],
    ['incomplete', '#0', randomBytes(100), '9'],
  ])('and is %s fails whoever reads it, and says so', async (_, place, bytes, count) => {
    await backend.storeMany([record('large', 'SUCCESS', data), record('small', 'SUCCESS')]);
    const name = (await item(python('large')))?.blob?.M?.key?.S;
    const Item = {
      id: { S: `lovage-blob-${name}${place}` },
      data: { B: bytes },
      ...(count && { count: { N: count } }),
    };
    await shop.raw.send(new PutItemCommand({ TableName: table, Item }));
    const [large, small] = await backend.fetchMany(['large', 'small']);
    const { state, result } = decodeResult(text(large), { serializer: 'json' });
    expect({ state, result }).toMatchObject({ state: 'FAILURE', result: { exc_type: 'StoreCorruptError' } });
    expect(small?.state).toBe('SUCCESS');
  });

  test('lies in S3 where that was said', async () => {
    const s3: S3Server = await startS3();
    await s3.makeBucket('large');
    const largeResults = `s3://large/results?endpoint_url=${encodeURIComponent(s3.endpoint)}&region=us-east-1`;
    const other = await shop.backend(table, { largeResults });
    await other.storeMany([record('large', 'SUCCESS', data)]);
    const [got] = await other.fetchMany(['large']);
    expect(decodeResult(text(got), { serializer: 'json' }).result).toBe(data);
    const { Items = [] } = await shop.raw.send(new ScanCommand({ TableName: table }));
    expect(Items.length).toBe(1);
    // Who was not told of the bucket fails, and says what to do.
    expect(text((await backend.fetchMany(['large']))[0])).toContain('largeResults');
    await other.stop();
    await s3[Symbol.asyncDispose]();
  });

  test('beyond 16 MB fails alone, and says what to do', async () => {
    const huge = { ...record('huge', 'SUCCESS'), document: new Uint8Array(16 * 1024 * 1024 + 1) };
    const [failure] = await backend.storeMany([record('a', 'SUCCESS'), huge]);
    expect(failure).toMatchObject({ index: 1, error: expect.any(MessageTooLargeError) });
    expect(failure?.error.message).toContain('largeResults');
  });
});
