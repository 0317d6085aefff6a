/** Messages that are too large for SQS, on their way through dispatcher and container: their bodies lie in a store. */
import { randomBytes } from 'node:crypto';
import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { encodeBody } from '../../src/stores/sqs/messages.ts';
import { encodeTask } from '../../src/wire/protocol.ts';
import { type AwsProxy, startAwsProxy } from '../support/aws-proxy.ts';
import { startAwsServer } from '../support/aws-server/server.ts';
import { startDynamodb } from '../support/dynamodb-server.ts';
import { Yard, type YardOptions } from '../support/ecs-yard.ts';
import { SqsServer, startSqs } from '../support/sqs-server.ts';
import { until } from '../support/workplace.ts';

/** SQS and S3 behind a proxy that keeps in mind what was asked for. */
class WatchedSqs extends SqsServer {
  readonly proxy: AwsProxy;

  constructor(real: SqsServer, proxy: AwsProxy) {
    super(real.server);
    this.proxy = proxy;
  }

  override get port(): number {
    return this.proxy.port;
  }
}

/** A yard with a bucket for large payloads. */
async function open(options: YardOptions = {}) {
  const real = await startSqs();
  const proxy = await startAwsProxy(real.port);
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const s3 = new S3Client({ endpoint: real.endpoint, region: 'us-east-1', credentials, forcePathStyle: true });
  for (const Bucket of ['payloads', 'foreign']) await s3.send(new CreateBucketCommand({ Bucket }));
  const payloads = `s3://payloads/large?endpoint_url=${encodeURIComponent(proxy.endpoint)}&region=us-east-1`;
  const aws = await startAwsServer({ bootMs: options.bootMs ?? 0 });
  const yard = new Yard(new WatchedSqs(real, proxy), aws, { payloads, ...options });
  onTestFinished(async () => {
    s3.destroy();
    await yard[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });
  await yard.queue('jobs');
  const keys = async (Bucket = 'payloads') =>
    ((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []).map(({ Key = '' }) => Key);
  return { yard, s3, proxy, keys };
}

const large = (size = 1_500_000) => randomBytes(size / 2).toString('hex');
const modes = ['claim', 'receipt'] as const;

/** What containers were told, in characters. */
const overrides = (yard: Yard) => yard.aws.inputs('RunTask').map(({ overrides: told }) => JSON.stringify(told).length);

describe('a large message', () => {
  test.each(modes)("in mode '%s' runs, and its body goes when its message has gone, and not before", async (mode) => {
    const { yard, proxy, keys } = await open();
    const data = large();
    const result = await yard.tasks.weigh.delay(data, 1_000);
    const [key] = await keys();
    const handler = yard.dispatcher({ mode });
    const records = await yard.receive('jobs');
    await yard.invoke(handler, records);
    await until(() => yard.notes().includes('begin 1'), 30_000);
    // In mode 'claim' Lambda has deleted the message: then the job is what needs the body.
    expect(await yard.depth('jobs')).toBe(mode === 'claim' ? 0 : 1);
    expect(await keys()).toEqual([key]);
    expect(await result.get({ timeout: 60 })).toBe(data.length);
    await until(async () => (await keys()).length === 0);
    expect(await yard.depth('jobs')).toBe(0);
    const asked = proxy.sent.map(({ action }) => action);
    const removed = asked.findLastIndex((action) => action === 'POST' || action === 'DELETE');
    expect(asked.findLastIndex((action) => action.startsWith('DeleteMessage'))).toBeLessThan(removed);
    expect(Math.max(...overrides(yard))).toBeLessThan(8_192);
    expect(yard.notes()).toEqual(['begin 1', `end ${data.length}`]);
    expect(yard.thrown).toEqual([]);
  });

  test.each(modes)("in mode '%s' whose copy comes when all is over is deleted, and is no dead letter", async (mode) => {
    const { yard, keys } = await open();
    const result = await yard.tasks.weigh.delay(large(), 0);
    const handler = yard.dispatcher({ mode });
    const records = await yard.receive('jobs');
    await yard.invoke(handler, records);
    await result.get({ timeout: 60 });
    await until(async () => (await keys()).length === 0);
    for (const late of [records, records.map((record) => ({ ...record, messageId: 'another' }))])
      expect(await yard.invoke(handler, late)).toEqual({ batchItemFailures: [] });
    const { deadLetters } = await yard.app.broker();
    expect(await deadLetters.list({ queue: 'jobs' })).toEqual([]);
    expect(yard.aws.ecs.tasks.size).toBe(1);
  });

  test('whose body is in a table of DynamoDB runs in both modes', async () => {
    await using dynamodb = await startDynamodb();
    const payloads = await dynamodb.makeTable('payloads');
    const backend = await dynamodb.makeTable('results');
    const { yard } = await open({ payloads, backend });
    const data = large();
    for (const mode of modes) {
      const result = await yard.tasks.weigh.delay(data, 0);
      await yard.invoke(yard.dispatcher({ mode }), await yard.receive('jobs'));
      expect(await result.get({ timeout: 60 })).toBe(data.length);
    }
    expect(Math.max(...overrides(yard))).toBeLessThan(8_192);
  });

  test('goes back to its queue with its body where it was when its container is killed', async () => {
    const { yard, keys } = await open();
    await using _ = yard.poll('jobs', yard.dispatcher());
    await using _events = yard.reconcile();
    const data = large();
    const result = await yard.tasks.weigh.delay(data, 1_500);
    const [key] = await keys();
    await until(() => yard.notes().includes('begin 1'), 30_000);
    yard.aws.ecs.killTask([...yard.aws.ecs.tasks.keys()][0] ?? '');
    await until(() => yard.notes().includes('begin 2'), 60_000);
    expect(await keys()).toEqual([key]);
    expect(await result.get({ timeout: 60 })).toBe(data.length);
    await until(async () => (await keys()).length === 0);
    expect(yard.thrown).toEqual([]);
  });

  test('is a dead letter with its body where it was when its container cannot start', async () => {
    const { yard, keys } = await open();
    const container = { name: 'app', command: ['/no/such/program'] };
    yard.aws.ecs.registerTaskDefinition({ family: 'broken', awsvpc: true, container });
    const result = await yard.tasks.weigh.delay(large(), 0);
    const [key] = await keys();
    await using _events = yard.reconcile({ maxFailedStarts: 1 });
    await yard.invoke(yard.dispatcher({ taskDefinition: 'broken' }), await yard.receive('jobs'));
    await expect(result.get({ timeout: 60 })).rejects.toThrow(/failed to start/);
    const { deadLetters } = await yard.app.broker();
    const [letter] = await until(async () => {
      const letters = await deadLetters.list({ queue: 'jobs' });
      return letters.length > 0 && letters;
    });
    expect(letter?.message.headers.id).toBe(result.id);
    expect(await keys()).toEqual([key]);
    // Put back from there, it has all that it had.
    await deadLetters.retryMany([letter?.id ?? '']);
    await yard.invoke(yard.dispatcher(), await yard.receive('jobs'));
    await until(() => yard.notes().includes('end 1500000'), 60_000);
  });

  test.each(modes)("in mode '%s' whose body is lost on the way fails, and is a dead letter", async (mode) => {
    const { yard, s3, keys } = await open({ bootMs: 1_500 });
    const result = await yard.tasks.weigh.delay(large(), 0);
    await yard.invoke(yard.dispatcher({ mode }), await yard.receive('jobs'));
    const Objects = (await keys()).map((Key) => ({ Key }));
    await s3.send(new DeleteObjectsCommand({ Bucket: 'payloads', Delete: { Objects } }));
    const { deadLetters } = await yard.app.broker();
    const [letter] = await until(async () => {
      const letters = await deadLetters.list({ queue: 'jobs' });
      return letters.length > 0 && letters;
    }, 60_000);
    expect(letter?.reason).toMatch(/is not there any more/);
    expect(yard.notes()).toEqual([]);
    if (mode === 'claim') await expect(result.get({ timeout: 60 })).rejects.toThrow(/is not there any more/);
  });

  test.each(modes)("of an extended client of AWS runs in mode '%s': a bucket of its own, and no hash", async (mode) => {
    const { yard, s3, keys } = await open();
    const { message } = yard.app.preparer.call(
      'ecs.weigh',
      ['x'.repeat(300_000), 0],
      { taskId: `foreign-${mode}` },
      undefined,
    );
    const body = encodeBody(encodeTask(message, { serializer: 'json' }), 'jobs', { options: {} });
    await s3.send(new PutObjectCommand({ Bucket: 'foreign', Key: 'a-b-c', Body: body }));
    const pointer = ['software.amazon.payloadoffloading.PayloadS3Pointer', { s3BucketName: 'foreign', s3Key: 'a-b-c' }];
    await yard.client.send(
      new SendMessageCommand({
        QueueUrl: await yard.queue('jobs'),
        MessageBody: JSON.stringify(pointer),
        MessageAttributes: { ExtendedPayloadSize: { DataType: 'Number', StringValue: String(body.length) } },
      }),
    );
    await yard.invoke(yard.dispatcher({ mode }), await yard.receive('jobs'));
    expect(await yard.app.result(`foreign-${mode}`).get({ timeout: 60 })).toBe(300_000);
    await until(async () => (await keys('foreign')).length === 0);
  });
});

test('a message that is too long for what a container can be told goes through the store, also from a FIFO queue', async () => {
  const { yard, keys } = await open();
  await yard.queue('ordered.fifo', { FifoQueue: 'true' });
  await yard.tasks.ordered.delay(large(7_000));
  expect(await keys()).toHaveLength(1);
  await using _ = yard.poll('ordered.fifo', yard.dispatcher());
  await until(() => yard.notes().length === 2, 60_000);
  expect(Math.max(...overrides(yard))).toBeLessThan(8_192);
  await until(async () => (await keys()).length === 0);
});
