import { expect, test } from 'vitest';
import { creationAttributes, parkedRequests } from '../../../src/stores/sqs/setup.ts';
import { sqsLocation } from '../../../src/stores/sqs/url.ts';

const DAY_MS = 24 * 3600 * 1000;

test('what a parked task costs grows with each hop', () => {
  const standard = { hopMs: 900_000, isFifo: false };
  expect(parkedRequests(900_000, standard)).toBe(0);
  expect(parkedRequests(900_001, standard)).toBe(3);
  expect(parkedRequests(DAY_MS, standard)).toBe(285);
  expect(parkedRequests(DAY_MS, { hopMs: 900_000, isFifo: true })).toBe(6);
});

test('queues are created with the longest retention, and with what the configuration says', () => {
  const location = sqsLocation('sqs://', {
    region: 'eu-west-1',
    visibility_timeout: 60,
    'sqs-creation-attributes': { KmsMasterKeyId: 'alias/x', DelaySeconds: 0 },
  });
  expect(creationAttributes(location, 'q')).toEqual({
    VisibilityTimeout: '60',
    MessageRetentionPeriod: '1209600',
    KmsMasterKeyId: 'alias/x',
    DelaySeconds: '0',
  });
  expect(creationAttributes(location, 'q.fifo')).toMatchObject({
    FifoQueue: 'true',
    DeduplicationScope: 'messageGroup',
  });
  expect(creationAttributes(location, 'q-dead.fifo')).not.toHaveProperty('DeduplicationScope');
});
