/** Lovage on Redis, as a peer of the side-by-side harness, which starts the Redis and empties it between runs. */
import { lovagePeer } from './_lovage.ts';

await lovagePeer({
  peer: 'lovage-redis',
  broker: 'redis',
  variants: {
    c100: {
      concurrency: 100,
      described: { workloads: ['w1', 'w2', 'w4', 'w5', 'w6', 'w7'], sleepConcurrency: 100, cores: 1 },
    },
    c10: {
      concurrency: 10,
      described: { workloads: ['w1', 'w2', 'w5'], sleepConcurrency: 10, cores: 1, note: 'all defaults' },
    },
    processes2: {
      concurrency: 2,
      pool: 'processes',
      described: { workloads: ['w3'], cores: 2, note: '2 child processes' },
    },
    threads2: {
      concurrency: 2,
      pool: 'threads',
      described: { workloads: ['w3'], cores: 2, note: '2 worker threads' },
    },
  },
  url: () => `redis://127.0.0.1:${process.env.BENCH_REDIS_PORT ?? '6391'}/0`,
});
