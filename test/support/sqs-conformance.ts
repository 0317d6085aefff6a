import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { sqsBroker } from '../../src/brokers/sqs.ts';
import type { SqsOptions } from '../../src/stores/sqs/url.ts';
import { brokerConformance } from '../../src/testing/index.ts';
import { type SqsServer, startSqs } from './sqs-server.ts';

/** All laws for brokers, on one kind of queues. A file for each kind: the laws mostly wait, since SQS counts in seconds. */
export function sqsConformance(kind: string, options: SqsOptions): void {
  let server: SqsServer;
  beforeAll(async () => {
    server = await startSqs();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  describe(kind, () => {
    brokerConformance({ describe, test }, async () => {
      const queueNamePrefix = `${randomUUID().slice(0, 8)}-`;
      return {
        create: () => sqsBroker(server.url, { ...options, queueNamePrefix, createMissing: true }),
        cleanup: async () => {},
        leaseMs: 1000,
      };
    });
  });
}
