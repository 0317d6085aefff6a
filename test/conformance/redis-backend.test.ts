import { afterAll, beforeAll, describe, test } from 'vitest';
import { redisBackend } from '../../src/backends/redis.ts';
import { backendConformance } from '../../src/testing/index.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server[Symbol.asyncDispose]());

backendConformance({ describe, test }, async () => {
  const module = new URL('../../src/backends/redis.ts', import.meta.url).href;
  const recipe = { module, factory: 'redisBackend', args: [server.url] };
  let made = 0;
  // Stores of the same options would share their connections: every other one gets its own.
  const create = () => redisBackend(server.url, { clientName: `suite${made++ % 2}` });
  return { create, cleanup: async () => {}, recipe };
});
