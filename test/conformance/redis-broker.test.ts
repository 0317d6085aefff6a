import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { redisBroker } from '../../src/brokers/redis.ts';
import { brokerConformance } from '../../src/testing/index.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server[Symbol.asyncDispose]());

brokerConformance({ describe, test }, async () => {
  const globalKeyprefix = `${randomUUID().slice(0, 8)}:`;
  let made = 0;
  // Brokers of the same options would share one connection: each gets its own.
  return {
    create: () => redisBroker(server.url, { globalKeyprefix, socketTimeout: 10 + made++ }),
    cleanup: async () => {},
  };
});
