/** Where Lovage is measured, and what it is measured against. */
export const targets = {
  sqlite: 'broker and results in one file, producer and worker in two processes',
  memory: 'producer and worker in one process',
  redis: 'broker and results on a private Redis, producer and worker in two processes',
  floor: 'no Lovage: bare ioredis that does the least with the same messages, on a private Redis',
} as const;
export type Target = keyof typeof targets;

/** Those that need a `redis-server`. */
export const onRedis: readonly Target[] = ['redis', 'floor'];
