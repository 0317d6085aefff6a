import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { sqsBroker } from '../../src/brokers/sqs.ts';
import type { SqsOptions } from '../../src/stores/sqs/url.ts';
import type { BrokerFixture } from '../../src/testing/broker-world.ts';
import { type SqsServer, startSqs } from './sqs-server.ts';

/** A stand-in for the tests of this file, and a store of its own for each law. */
export function sqsFixture(options: SqsOptions): () => Promise<BrokerFixture> {
  let server: SqsServer;
  beforeAll(async () => {
    server = await startSqs();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  return async () => {
    const queueNamePrefix = `${randomUUID().slice(0, 8)}-`;
    return {
      create: () => sqsBroker(server.url, { ...options, queueNamePrefix, createMissing: true }),
      cleanup: async () => {},
      // SQS counts in seconds.
      leaseMs: 1000,
    };
  };
}
