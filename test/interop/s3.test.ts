/** Results in S3, as Celery's own backend has them: each side reads the other's. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { s3Backend } from '../../src/backends/s3.ts';
import type { ResultBackend } from '../../src/contracts/backend.ts';
import { decodeResult } from '../../src/wire/result.ts';
import { record } from '../support/dynamodb-shop.ts';
import { PythonClient } from '../support/python.ts';
import { type S3Server, startS3 } from '../support/s3-server.ts';

let server: S3Server;
let python: PythonClient;
let backend: ResultBackend;

beforeAll(async () => {
  server = await startS3();
  await server.makeBucket('results/of/shop');
  const settings = {
    s3_bucket: 'results',
    s3_base_path: 'of/shop/',
    s3_region: 'us-east-1',
    s3_endpoint_url: server.endpoint,
    s3_access_key_id: 'test',
    s3_secret_access_key: 'test',
  };
  python = await PythonClient.start({ url: 's3://', settings });
  // The same settings, as the application reads them.
  backend = s3Backend('s3://', {
    bucket: 'results',
    basePath: 'of/shop/',
    region: 'us-east-1',
    endpointUrl: server.endpoint,
    accessKeyId: 'test',
    secretAccessKey: 'test',
  });
  await backend.start();
});
afterAll(async () => {
  await backend.stop();
  await python[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test('what Python stores is read', async () => {
  await python.run("app.backend.store_result('a', {'grüße': [1, None]}, 'SUCCESS')");
  const [got] = await backend.fetchMany(['a']);
  expect(decodeResult(got?.document ?? '', { serializer: 'json' })).toMatchObject({
    taskId: 'a',
    state: 'SUCCESS',
    result: { grüße: [1, null] },
  });
});

test('what is stored here is read by Python', async () => {
  expect(await backend.storeMany([record('b', 'SUCCESS', { grüße: [1, null] })], 60_000)).toEqual([]);
  expect(await python.outcome('b')).toMatchObject({ state: 'SUCCESS', value: { grüße: [1, null] } });
});

test('a SUCCESS of Python stays', async () => {
  await python.run("app.backend.store_result('c', 'python', 'SUCCESS')");
  expect(await backend.storeMany([record('c', 'STARTED'), record('c', 'FAILURE', 'ours')])).toEqual([]);
  expect(await python.outcome('c')).toMatchObject({ state: 'SUCCESS', value: 'python' });
});

test('what Python forgets is gone', async () => {
  await backend.storeMany([record('d', 'SUCCESS')]);
  await python.run("result('d').forget()");
  expect(await backend.fetchMany(['d'])).toEqual([undefined]);
});
