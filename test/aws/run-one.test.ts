import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { startAwsProxy } from '../support/aws-proxy.ts';
import { Yard } from '../support/ecs-yard.ts';
import { until } from '../support/workplace.ts';

const root = join(import.meta.dirname, '..', '..');
const run = promisify(execFile);

/** Runs the command line by hand, where a container would be. */
async function lovage(yard: Yard, args: readonly string[], env: Record<string, string> = {}) {
  const command = [join(root, 'src/cli/main.ts'), '-A', join(root, 'test/support/ecs-app.ts'), ...args];
  const options = { env: { ...process.env, ...yard.env, ...env }, timeout: 60_000 };
  return run(process.execPath, command, options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
}

describe('lovage run-one', () => {
  test('skips what another container runs, what has finished, and what nobody knows', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    const result = await yard.tasks.work.delay('mine', 4_000);
    await yard.invoke(yard.dispatcher(), await yard.receive('jobs'));
    await until(() => yard.notes().includes('begin mine 1'), 30_000);
    const other = await lovage(yard, ['run-one', '--job', result.id, '--start', '1']);
    expect(other).toMatchObject({ code: 0, stdout: expect.stringMatching(/already running \(ecs\/.*skipped/) });
    await result.get({ timeout: 60 });
    await until(() => [...yard.aws.ecs.tasks.values()].every(({ status }) => status === 'STOPPED'));
    expect(await lovage(yard, ['run-one', '--job', result.id])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('already finished: skipped'),
    });
    expect(await lovage(yard, ['run-one', '--json', '--job', 'unknown'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('no such record: nothing to run'),
    });
    expect(yard.notes()).toEqual(['begin mine 1', 'end mine 1']);
  });

  test.each([
    ['no message', {}, /expected LOVAGE_JOB, or LOVAGE_SQS_RECEIPT and LOVAGE_SQS_MESSAGE/],
    ['a start that is none', { LOVAGE_JOB: 'x', LOVAGE_JOB_START: 'first' }, /expected a whole number, got 'first'/],
    [
      'a receipt that is none',
      { LOVAGE_SQS_RECEIPT: '{}', LOVAGE_SQS_MESSAGE: '' },
      /expected what ecsDispatcher writes/,
    ],
  ])('says what is wrong where it is given %s', async (_, env, message) => {
    await using yard = await Yard.open();
    const { code, stderr } = await lovage(yard, ['run-one'], env);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  test('ends a job at its time limit: that is its failure, and it does not run again', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    const command = [process.execPath, '-e', 'setInterval(() => {}, 1e3)'];
    yard.aws.ecs.registerTaskDefinition({ family: 'idle', awsvpc: true, container: { name: 'app', command } });
    const result = await yard.tasks.work.delay('endless', 60_000);
    await yard.invoke(yard.dispatcher({ taskDefinition: 'idle' }), await yard.receive('jobs'));
    // In place of the container, which has the same claim.
    const line = ['run-one', '--job', result.id, '--time-limit', '1'];
    expect(await lovage(yard, line)).toMatchObject({ code: 0, stdout: 'done\n' });
    await expect(result.get({ timeout: 10 })).rejects.toThrow(/time limit/i);
    expect(await lovage(yard, line)).toMatchObject({ code: 0, stdout: expect.stringContaining('already finished') });
    expect(yard.notes()).toEqual(['begin endless 1']);
  });

  test('reconciles by hand', async () => {
    await using yard = await Yard.open();
    expect(await lovage(yard, ['reconcile'])).toMatchObject({
      code: 0,
      stdout: '0 jobs under way, 0 given back, 0 failed\n',
    });
  });
});

describe("mode 'receipt'", () => {
  test('leaves a message in SQS while it runs, and deletes it last', async () => {
    await using yard = await Yard.open({ lease: 6 });
    await yard.queue('jobs');
    // Longer than a lease: it is renewed.
    const result = await yard.tasks.work.delay('borrowed', 8_000);
    const handler = yard.dispatcher({ mode: 'receipt' });
    const records = await yard.receive('jobs');
    const failures = records.map(({ messageId }) => ({ itemIdentifier: messageId }));
    expect(await yard.invoke(handler, records)).toEqual({ batchItemFailures: failures });
    await until(() => yard.notes().includes('begin borrowed 1'), 30_000);
    expect(await yard.depth('jobs')).toBe(1);
    expect(await result.get({ timeout: 60 })).toBe('borrowed done');
    await until(async () => (await yard.depth('jobs')) === 0);
    expect(yard.notes()).toEqual(['begin borrowed 1', 'end borrowed 1']);
  });

  test('needs no application in the function', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await yard.sendRaw('jobs', '{"que_id": 7}');
    const result = await yard.tasks.work.delay('dropped in', 0);
    const handler = yard.dispatcher({ app: undefined, mode: 'receipt', broker: `${yard.sqs.url}&create_missing=true` });
    await using _ = yard.poll('jobs', handler);
    expect(await result.get({ timeout: 60 })).toBe('dropped in done');
    const { deadLetters } = await yard.app.broker();
    await until(async () => (await deadLetters.list({ queue: 'jobs' })).length === 1);
    expect(yard.thrown).toEqual([]);
  });

  test('starts a message again whose container was killed, and counts its receives', async () => {
    await using yard = await Yard.open({ lease: 4 });
    await yard.queue('jobs');
    const result = await yard.tasks.work.delay('twice', 1_500);
    await using _ = yard.poll('jobs', yard.dispatcher({ mode: 'receipt' }));
    await until(() => yard.notes().includes('begin twice 1'), 30_000);
    const [task] = yard.aws.ecs.tasks.values();
    yard.aws.ecs.killTask(task?.arn ?? '');
    expect(await result.get({ timeout: 60 })).toBe('twice done');
    expect(yard.notes()).toEqual(['begin twice 1', 'begin twice 2', 'end twice 2']);
  });

  test('never runs two jobs of one FIFO group at once', async () => {
    await using yard = await Yard.open();
    await yard.queue('ordered.fifo', { FifoQueue: 'true' });
    for (const name of ['a', 'b', 'c']) await yard.tasks.ordered.delay(name);
    await using _ = yard.poll('ordered.fifo', yard.dispatcher());
    await until(() => yard.notes().length === 6, 60_000);
    expect(yard.notes()).toEqual(['begin a', 'end a', 'begin b', 'end b', 'begin c', 'end c']);
    await until(async () => (await yard.depth('ordered.fifo')) === 0);
  });

  test('is the only one for a FIFO queue: a batch keeps its order, whatever its first message comes to', async () => {
    await using yard = await Yard.open();
    await yard.queue('ordered.fifo', { FifoQueue: 'true' });
    await yard.tasks.ordered.delay('a');
    const [record] = await yard.receive('ordered.fifo');
    if (!record) return expect.fail('nothing came');
    const second = { ...record, messageId: 'second' };
    yard.aws.fail({ action: 'RunTask', answer: { error: 'ThrottlingException', message: 'Rate exceeded' } });
    const both = { batchItemFailures: [{ itemIdentifier: record.messageId }, { itemIdentifier: 'second' }] };
    expect(await yard.dispatcher()({ Records: [record, second] })).toEqual(both);
    expect(yard.aws.inputs('RunTask')).toHaveLength(1);
    expect(await yard.dispatcher({ mode: 'claim' })({ Records: [record, second] })).toEqual(both);
  });

  test('sends to the dead letters what does not fit into overrides', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await yard.tasks.work.delay('x'.repeat(8_000), 0);
    expect(await yard.invoke(yard.dispatcher({ mode: 'receipt' }), await yard.receive('jobs'))).toEqual({
      batchItemFailures: [],
    });
    const { deadLetters } = await yard.app.broker();
    const [letter] = await deadLetters.list({ queue: 'jobs' });
    expect(letter?.reason).toMatch(/RunTask takes 8192: use mode 'claim'/);
    expect(yard.aws.ecs.tasks.size).toBe(0);
  });

  test('runs nothing with a receipt that has expired, says so, and keeps nobody else from it', async () => {
    await using yard = await Yard.open();
    const QueueUrl = await yard.queue('jobs');
    const result = await yard.tasks.work.delay('late', 0);
    const [record] = await yard.receive('jobs');
    if (!record) return expect.fail('nothing came');
    // Meanwhile it is somebody else's: each receive has a receipt of its own.
    await yard.show(record);
    const [again] = await yard.receive('jobs');
    const receipt = { queue: 'jobs', url: QueueUrl, id: record.messageId, at: Date.now(), attempt: 1, attributes: {} };
    await using proxy = await startAwsProxy(yard.sqs.port);
    const invalid = { entries: () => true, code: 'ReceiptHandleIsInvalid', senderFault: true };
    proxy.fail('ChangeMessageVisibilityBatch', invalid);
    const env = (handle = '') => ({
      TEST_BROKER: yard.sqs.url.replace(`:${yard.sqs.port}/`, `:${proxy.port}/`),
      LOVAGE_SQS_MESSAGE: record.body,
      LOVAGE_SQS_RECEIPT: JSON.stringify({ ...receipt, handle }),
    });
    expect(await lovage(yard, ['run-one'], env(record.receiptHandle))).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('its receipt has expired: skipped'),
    });
    expect(yard.notes()).toEqual([]);
    proxy.heal();
    expect(await lovage(yard, ['run-one'], env(again?.receiptHandle))).toMatchObject({ code: 0, stdout: 'done\n' });
    expect(await result.get({ timeout: 10 })).toBe('late done');
  });

  test('gives a message back before the 12 hours of SQS are over', async () => {
    await using yard = await Yard.open({ lease: 2 });
    await yard.queue('jobs');
    await yard.tasks.work.delay('endless', 60_000);
    const [record] = await yard.receive('jobs');
    if (!record) return expect.fail('nothing came');
    // As if it had been received nearly 12 hours ago.
    const at = String(Date.now() - 43_190_000 + 8_000);
    const old = { ...record, attributes: { ...record.attributes, ApproximateFirstReceiveTimestamp: at } };
    await yard.dispatcher({ mode: 'receipt', startTimeout: 30 })({ Records: [old] });
    const [task] = yard.aws.ecs.tasks.values();
    await until(() => task?.status === 'STOPPED', 60_000);
    expect(yard.notes()).toEqual(['begin endless 1']);
    // A copy, with 12 hours of its own.
    expect(await yard.depth('jobs')).toBe(1);
  });
});
