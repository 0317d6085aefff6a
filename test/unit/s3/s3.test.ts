import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { s3Backend } from '../../../src/backends/s3.ts';
import type { ResultBackend } from '../../../src/contracts/backend.ts';
import { ConfigError, isPassing, StoreAccessError, StoreMissingError } from '../../../src/errors.ts';
import { dynamodbBlobs } from '../../../src/stores/dynamodb/blobs.ts';
import { s3Blobs } from '../../../src/stores/s3/blobs.ts';
import { s3Location } from '../../../src/stores/s3/url.ts';
import { type AwsProxy, startAwsProxy } from '../../support/aws-proxy.ts';
import { startDynamodb } from '../../support/dynamodb-server.ts';
import { record } from '../../support/dynamodb-shop.ts';
import { type S3Server, startS3 } from '../../support/s3-server.ts';
import { needs, setUp } from '../../support/set-up.ts';

const file = new URL('../../vectors/celery526_s3_objects.json', import.meta.url);
const vectors: readonly { readonly Key: string; readonly Body: string }[] = JSON.parse(readFileSync(file, 'utf8'));

let server: S3Server;
let proxy: AwsProxy;
let raw: S3Client;
let backend: ResultBackend;
let folders = 0;
let folder = '';

beforeAll(async () => {
  server = await startS3();
  proxy = await startAwsProxy(Number(new URL(server.endpoint).port));
  await server.makeBucket('results');
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  raw = new S3Client({ endpoint: server.endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
});
beforeEach(async () => {
  folders += 1;
  folder = `folder${folders}`;
  backend = s3Backend(url(`results/${folder}`));
  await backend.start();
  proxy.heal();
  proxy.reset();
  return () => backend.stop();
});
afterAll(async () => {
  raw.destroy();
  await proxy[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const url = (place: string) =>
  `s3://test:test@${place}?endpoint_url=${encodeURIComponent(proxy.endpoint)}&region=us-east-1&request_timeout=2`;

describe('an S3 URL', () => {
  test('has a bucket and a path, or takes both as Celery has them', () => {
    expect(s3Location('s3://results/of/shop')).toMatchObject({ bucket: 'results', basePath: 'of/shop/' });
    expect(s3Location('s3://', { bucket: 'results', base_path: '/base/' })).toMatchObject({ basePath: '/base/' });
    const keys = s3Location('s3://', { bucket: 'b-1', access_key_id: 'A', secret_access_key: 'S' });
    expect(keys.address.keys).toEqual({ accessKeyId: 'A', secretAccessKey: 'S' });
  });

  test.each([
    ['s3://', /expected a bucket/],
    ['s3://Bucket', /name of a bucket/],
    ['s3://results?expire_days=soon', /expireDays.*whole number/],
    ['s3://results?bukket=x', /did you mean 'bucket'/],
    ['http://results', /s3:\/\/bucket/],
  ])('%s is refused', (wrong, message) => {
    expect(() => s3Location(wrong)).toThrow(ConfigError);
    expect(() => s3Location(wrong)).toThrow(message);
  });
});

describe('results of Celery in S3', () => {
  test('are read bit for bit, and written under the same keys', async () => {
    for (const { Key, Body } of vectors) await raw.send(new PutObjectCommand({ Bucket: 'results', Key, Body }));
    const other = s3Backend(url('results').replace('?', '?base_path=/base/&'));
    await other.start();
    const wanted = vectors.map(({ Body }) => {
      const { task_id: taskId, status: state } = JSON.parse(Body);
      return { taskId, state, document: Body };
    });
    expect(await other.fetchMany(wanted.map(({ taskId }) => taskId))).toEqual(wanted);
    for (const one of wanted) expect(await backend.storeMany([one])).toEqual([]);
    const { Contents = [] } = await raw.send(new ListObjectsV2Command({ Bucket: 'results', Prefix: `${folder}/` }));
    expect(Contents.map(({ Key }) => Key)).toEqual(vectors.map(({ Key }) => Key.replace('/base/', `${folder}/`)));
    const stored = await raw.send(new GetObjectCommand({ Bucket: 'results', Key: Contents[0]?.Key }));
    expect(await stored.Body?.transformToString()).toBe(vectors[0]?.Body);
    await other.stop();
  });
});

describe('a result costs', () => {
  test('one request to be stored, and no other', async () => {
    await backend.storeMany(
      Array.from({ length: 50 }, (_, i) => record(`t${i}`, 'SUCCESS')),
      60_000,
    );
    expect(Object.fromEntries(proxy.counts)).toEqual({ PUT: 50 });
  });

  test('little while a thousand are waited for: they are looked for in listings', async () => {
    const ids = Array.from({ length: 1000 }, (_, i) => `t${i}`);
    await backend.storeMany([record('t5', 'SUCCESS'), record('t999', 'FAILURE')]);
    proxy.reset();
    const told: string[] = [];
    const stop = await backend.watch(ids, (records) => void told.push(...records.map(({ taskId }) => taskId)));
    await new Promise(setImmediate);
    expect(told.sort()).toEqual(['t5', 't999']);
    // One listing, and what it found.
    expect(proxy.total).toBe(3);
    await stop();
  });
});

describe('setting up a bucket', () => {
  const kinds = async (place: string) =>
    (await s3Backend(url(place)).setup?.plan(needs))?.map(({ kind, state }) => `${kind} ${state}`);

  test('shows what is missing, makes it, and does nothing twice', async () => {
    expect(await kinds('fresh')).toEqual(['bucket missing', 'lifecycle rule missing', 'lifecycle rule missing']);
    await setUp(s3Backend(url('fresh')).setup);
    expect(await kinds('fresh')).toEqual(['bucket exists', 'lifecycle rule exists', 'lifecycle rule exists']);
    // Another path has a rule of its own; the first ones stay.
    await setUp(s3Backend(url('fresh/path')).setup);
    expect(await kinds('fresh/path')).toEqual(['bucket exists', 'lifecycle rule exists']);
    expect(await kinds('fresh')).toEqual(['bucket exists', 'lifecycle rule exists', 'lifecycle rule exists']);
    const checks = await s3Backend(url('fresh')).diagnose?.(needs);
    expect(checks?.checks.map(({ verdict }) => verdict)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok']);
  });

  test('refuses a store that ignores conditions', async () => {
    const careless = await startS3({ conditions: false });
    await expect(careless.makeBucket('results')).rejects.toThrow(/ignores If-None-Match/);
    await careless[Symbol.asyncDispose]();
  });

  test('tells each role what it must be allowed', async () => {
    const worker = await s3Backend('s3://results/path').setup?.permissions('worker', needs);
    expect(worker).toEqual([
      { action: 's3:ListBucket', resource: 'arn:aws:s3:::results' },
      { action: 's3:GetObject', resource: 'arn:aws:s3:::results/path/*' },
      { action: 's3:PutObject', resource: 'arn:aws:s3:::results/path/*' },
      { action: 's3:DeleteObject', resource: 'arn:aws:s3:::results/path/*' },
    ]);
  });
});

describe('what fails', () => {
  test('because there is no such bucket names the command', async () => {
    const nowhere = s3Backend(url('nowhere'));
    await nowhere.start();
    const [failure] = await nowhere.storeMany([record('a', 'SUCCESS')]);
    expect(failure?.error).toBeInstanceOf(StoreMissingError);
    expect(failure?.error.message).toMatch(
      /bucket 'nowhere' of s3:\/\/test:\*\*@nowhere.* does not exist: lovage setup/,
    );
    await expect(nowhere.fetchMany(['a'])).rejects.toThrow('lovage setup');
    await nowhere.stop();
  });

  test('by silence or a broken connection can be tried again, and changes nothing that was done', async () => {
    proxy.fail('PUT', { silence: true }, { times: 1 });
    proxy.fail('PUT', { lose: true }, { times: 1 });
    for (let attempt = 0; attempt < 2; attempt++) {
      const [failure] = await backend.storeMany([record('a', 'SUCCESS', 'first')]);
      expect(isPassing(failure?.error as Error)).toBe(true);
    }
    expect(await backend.storeMany([record('a', 'SUCCESS', 'second')])).toEqual([]);
    expect(String((await backend.fetchMany(['a']))[0]?.document)).toContain('first');
  });

  test('has a chord that was told of one more member wait for that one once', async () => {
    const { joins } = backend;
    await joins?.setSize('j', 1);
    proxy.fail('PUT', { lose: true }, { times: 1 });
    await expect(joins?.grow('j', 'more')).rejects.toThrow();
    expect(await joins?.grow('j', 'more')).toEqual({ count: 0, size: 2 });
  });

  test('because access is denied names action, objects and the line of the policy', async () => {
    proxy.fail('PUT', { error: 'AccessDenied', status: 403 });
    const [failure] = await backend.storeMany([record('a', 'SUCCESS')]);
    expect(failure?.error).toBeInstanceOf(StoreAccessError);
    expect(failure?.error.message).toContain(
      `"Action": ["s3:PutObject"], "Resource": "arn:aws:s3:::results/${folder}/*"`,
    );
  });
});

describe('large payloads', () => {
  test.each(['s3', 'dynamodb'])(
    'come back whole from %s, are replaced and removed, and are not there when they never were',
    async (kind) => {
      const dynamodb = kind === 'dynamodb' ? await startDynamodb() : undefined;
      const store = dynamodb ? dynamodbBlobs(await dynamodb.makeTable('blobs')) : s3Blobs(url(`results/${folder}`));
      await store.start();
      const blobs = [1, 700_000, 3_000_000].map((size, i) => ({ name: `2026-01-01/b${i}`, data: randomBytes(size) }));
      const places = blobs.map(({ name }) => store.place(name));
      expect(await store.putMany(blobs)).toEqual([]);
      const got = await store.getMany([...places, store.place('never')]);
      expect(got.map((data, i) => data && Buffer.compare(data, blobs[i]?.data ?? Buffer.alloc(0)))).toEqual([
        0,
        0,
        0,
        undefined,
      ]);
      expect(await store.putMany([{ name: '2026-01-01/b2', data: Buffer.from('short') }])).toEqual([]);
      expect(String((await store.getMany([store.place('2026-01-01/b2')]))[0])).toBe('short');
      expect(await store.removeMany([...places, store.place('never')])).toEqual([]);
      expect(await store.getMany(places)).toEqual([undefined, undefined, undefined]);
      await store.stop();
      await dynamodb?.[Symbol.asyncDispose]();
    },
  );
});

test.each([
  ['eu-west-1', 'aws'],
  ['cn-north-1', 'aws-cn'],
  ['us-gov-west-1', 'aws-us-gov'],
])('policies name a bucket in %s by its part of AWS, %s', async (region, partition) => {
  const permissions = await s3Backend('s3://results/celery', { region }).setup?.permissions('worker', needs);
  expect(new Set(permissions?.map(({ resource }) => resource))).toEqual(
    new Set([`arn:${partition}:s3:::results`, `arn:${partition}:s3:::results/celery/*`]),
  );
});

test('doctor finds a store that ignores the conditions of writes, and leaves nothing there', async () => {
  await using lax = await startS3({ conditions: false });
  const url = `s3://test:test@lax?endpoint_url=${encodeURIComponent(lax.endpoint)}&region=us-east-1`;
  const steps = (await s3Backend(url).setup?.plan(needs)) ?? [];
  // The bucket alone: the rule is not made where conditions are ignored.
  await steps[0]?.apply?.();
  const { checks } = (await s3Backend(url).diagnose?.(needs)) ?? { checks: [] };
  expect(checks.find(({ what }) => what === 'bucket lax: conditions')).toMatchObject({ verdict: 'problem' });
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const looking = new S3Client({ endpoint: lax.endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
  expect((await looking.send(new ListObjectsV2Command({ Bucket: 'lax' }))).KeyCount ?? 0).toBe(0);
  looking.destroy();
});
