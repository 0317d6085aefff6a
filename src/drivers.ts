import type { Drivers } from './app/connections.ts';

const redisBroker = async () => (await import('./brokers/redis.ts')).redisBroker;
const redisBackend = async () => (await import('./backends/redis.ts')).redisBackend;

/** URL schemes and the drivers behind them: the one place that names drivers. Nothing is loaded until a URL asks for it. */
export const drivers: Drivers = {
  brokers: {
    memory: async () => (await import('./brokers/memory.ts')).memoryBroker,
    redis: redisBroker,
    'redis+socket': redisBroker,
    rediss: redisBroker,
    sentinel: redisBroker,
    sqlite: async () => (await import('./brokers/sqlite.ts')).sqliteBroker,
    sqs: async () => (await import('./brokers/sqs.ts')).sqsBroker,
  },
  backends: {
    dynamodb: async () => (await import('./backends/dynamodb.ts')).dynamodbBackend,
    memory: async () => (await import('./backends/memory.ts')).memoryBackend,
    redis: redisBackend,
    'redis+socket': redisBackend,
    rediss: redisBackend,
    s3: async () => (await import('./backends/s3.ts')).s3Backend,
    sentinel: redisBackend,
    sqlite: async () => (await import('./backends/sqlite.ts')).sqliteBackend,
  },
  ownBackend: async () => (await import('./backends/memory.ts')).ownMemoryBackend,
};
