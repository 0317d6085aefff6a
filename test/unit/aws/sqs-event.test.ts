import { describe, expect, test } from 'vitest';
import { groupsOf, messageOf, receivedAt, recordsOf, type SqsRecord } from '../../../src/aws/dispatch/sqs-event.ts';
import { readTaskEnd } from '../../../src/aws/job/task-end.ts';

/** As in the documentation of Lambda. */
const record: SqsRecord = {
  messageId: '059f36b4-87a3-44ab-83d2-661975830a7d',
  receiptHandle: 'AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...',
  body: 'Test message.',
  attributes: {
    ApproximateReceiveCount: '1',
    SentTimestamp: '1545082649183',
    SenderId: 'AIDAIENQZJOLO23YVJ4VO',
    ApproximateFirstReceiveTimestamp: '1545082649185',
  },
  messageAttributes: { k: { stringValue: 'v', binaryValue: null, dataType: 'String' } },
  eventSource: 'aws:sqs',
  eventSourceARN: 'arn:aws:sqs:us-east-2:123456789012:my-queue',
};

describe('an event of SQS', () => {
  test('is read as Lambda writes it: in lower camel case', () => {
    expect(recordsOf({ Records: [record] })).toEqual([record]);
    expect(messageOf(record)).toMatchObject({
      MessageId: record.messageId,
      Body: 'Test message.',
      Attributes: { ApproximateReceiveCount: '1' },
      MessageAttributes: { k: { DataType: 'String', StringValue: 'v' } },
    });
  });

  test.each([
    ['nothing', undefined],
    ['a text', 'Records'],
    ['an event of S3', { Records: [{ eventSource: 'aws:s3', s3: {} }] }],
    ['SQS itself', { Records: [{ ...record, messageId: undefined, MessageId: 'x' }] }],
    ['a schedule', { source: 'aws.events', detail: {} }],
  ])('is not %s', (_, event) => {
    expect(recordsOf(event)).toBeUndefined();
  });

  test('tells when it was received, rather too early than too late', () => {
    expect(receivedAt(record, 1_545_082_649_500)).toBe(1_545_082_649_185);
    const second = { ...record, attributes: { ...record.attributes, ApproximateReceiveCount: '2' } };
    expect(receivedAt(second, 1_545_082_649_500)).toBe(1_545_082_644_500);
  });

  test('of a FIFO queue keeps the order of each group; other records are each for themselves', () => {
    const fifo = (messageId: string, MessageGroupId: string) => ({
      ...record,
      messageId,
      eventSourceARN: `${record.eventSourceARN}.fifo`,
      attributes: { MessageGroupId },
    });
    const groups = groupsOf([fifo('1', 'a'), fifo('2', 'b'), fifo('3', 'a'), { ...record, messageId: '4' }]);
    expect(groups.map((group) => group.map(({ messageId }) => messageId))).toEqual([['1', '3'], ['2'], ['4']]);
  });
});

describe('the end of an ECS task', () => {
  test.each([
    ['SpotInterruption', true, 'free'],
    ['TerminationNotice', true, 'free'],
    ['InfrastructureHealth', false, 'free'],
    ['TaskFailedToStart', false, 'failedStart'],
    ['EssentialContainerExited', false, 'failedStart'],
    ['EssentialContainerExited', true, 'died'],
    ['UserInitiated', true, 'stopped'],
    ['', true, 'died'],
  ] as const)('by %s, where its container had shown itself: %s, is %s', (stopCode, wasSeen, kind) => {
    expect(readTaskEnd({ stopCode }, wasSeen).kind).toBe(kind);
  });

  test('says why: reason, exit status, lack of memory', () => {
    const end = readTaskEnd(
      {
        stopCode: 'EssentialContainerExited',
        stoppedReason: 'Essential container in task exited',
        containers: [
          { name: 'sidecar', exitCode: 0 },
          { name: 'app', exitCode: 137, reason: 'OutOfMemoryError: Container killed due to memory usage' },
        ],
      },
      true,
    );
    expect(end.exitCode).toBe(137);
    expect(end.reason).toContain('OutOfMemoryError');
    expect(end.reason).toContain("container 'app' exited with 137");
  });
});
