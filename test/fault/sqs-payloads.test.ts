import { randomBytes } from 'node:crypto';
import { CreateBucketCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { sqsBroker } from '../../src/brokers/sqs.ts';
import { testMessage } from '../../src/testing/message.ts';
import { SqsShop } from '../support/sqs-shop.ts';
import { until } from '../support/workplace.ts';

const never = new AbortController().signal;

/** A shop with a bucket, on the same stand-in. */
async function withBucket() {
  const shop = await SqsShop.open();
  const { endpoint } = shop.server;
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const s3 = new S3Client({ endpoint, region: 'us-east-1', credentials, forcePathStyle: true });
  await s3.send(new CreateBucketCommand({ Bucket: 'payloads' }));
  const payloadStore = `s3://payloads/large?endpoint_url=${encodeURIComponent(endpoint)}`;
  const keys = async () =>
    ((await s3.send(new ListObjectsV2Command({ Bucket: 'payloads' }))).Contents ?? []).map(({ Key = '' }) => Key);
  return {
    shop,
    s3,
    payloadStore,
    keys,
    async [Symbol.asyncDispose]() {
      s3.destroy();
      await shop[Symbol.asyncDispose]();
    },
  };
}

test('a large message goes through the bucket, bit for bit, and is removed from there after its ack', async () => {
  await using place = await withBucket();
  const { shop, payloadStore, keys } = place;
  const broker = sqsBroker(shop.url, { createMissing: true, payloadStore });
  await broker.start();
  const body = new Uint8Array(randomBytes(3 * 1024 * 1024));
  const message = testMessage({ body, contentType: 'application/data', contentEncoding: 'binary' });
  expect(await broker.publishMany([{ queue: 'q', message }])).toEqual([]);
  const [lying] = shop.lying('q');
  const [name, pointer] = JSON.parse(lying?.body ?? '[]');
  const [key] = await keys();
  // As the extended clients of AWS have it.
  expect(name).toBe('software.amazon.payloadoffloading.PayloadS3Pointer');
  expect(pointer).toEqual({ s3BucketName: 'payloads', s3Key: key });
  expect(Number(lying?.messageAttributes.ExtendedPayloadSize?.StringValue)).toBeGreaterThan(body.byteLength);
  const consumer = await broker.consume(['q']);
  const [first] = await consumer.receive(1, 10_000, never);
  expect(Buffer.from(first?.message.body ?? []).equals(body)).toBe(true);
  expect(await consumer.releaseMany([first as never])).toEqual([]);
  const [again] = await consumer.receive(1, 10_000, never);
  expect(Buffer.from(again?.message.body ?? []).equals(body)).toBe(true);
  expect(await consumer.ackMany([again as never])).toEqual([]);
  expect(await keys()).toEqual([]);
  await broker.stop();
});

test('what fits when it is compressed needs no bucket, and runs', async () => {
  await using place = await withBucket();
  const { shop, payloadStore, keys } = place;
  const app = shop.app({ payloadStore });
  const text = 'many times the same '.repeat(50_000);
  await app.sendTask('tasks.note', [text]);
  expect(await keys()).toEqual([]);
  await shop.worker(app);
  await shop.noted(1);
  expect(shop.notes[0] === text).toBe(true);
});

test('a body that was damaged or removed is a dead letter with that reason, and the others run', async () => {
  await using place = await withBucket();
  const { shop, s3, payloadStore, keys } = place;
  const app = shop.app({ payloadStore });
  const large = () => randomBytes(400_000).toString('base64');
  await app.sendTask('tasks.note', [large()]);
  const [key] = await keys();
  await s3.send(new PutObjectCommand({ Bucket: 'payloads', Key: key, Body: 'something else' }));
  await app.sendTask('tasks.note', ['small']);
  await shop.worker(app);
  await shop.noted(1);
  const broker = await app.broker();
  const letter = await until(async () => (await broker.deadLetters.list({ queue: 'celery' }))[0]);
  expect(letter.reason).toMatch(/not what was sent .*SHA-256 differs/);
  expect(shop.notes).toEqual(['small']);
});

test('a worker without the store says what it lacks, and keeps the message', async () => {
  await using place = await withBucket();
  const { shop, payloadStore } = place;
  await shop.app({ payloadStore }).sendTask('tasks.note', [randomBytes(400_000).toString('base64')]);
  const app = shop.app();
  const worker = await shop.worker(app);
  const broker = await app.broker();
  const letter = await until(async () => (await broker.deadLetters.list({ queue: 'celery' }))[0]);
  expect(letter.reason).toMatch(/give its option payloadStore/);
  await worker.stop();
  const able = await shop.app({ payloadStore }).broker();
  expect(await able.deadLetters.retryMany([letter.id])).toBe(1);
  await shop.worker(shop.app({ payloadStore }));
  await shop.noted(1);
});

test('without a store a message that is too large is refused, and told of both ways out', async () => {
  await using shop = await SqsShop.open();
  const error = await shop
    .app()
    .sendTask('tasks.note', [randomBytes(600_000).toString('base64')])
    .catch((e) => e);
  expect(error).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
});

test('a payload store that is none is refused', () => {
  expect(() => sqsBroker('sqs://', { payloadStore: 'file:///tmp' })).toThrow(/expected s3:\/\/bucket\/prefix/);
});
