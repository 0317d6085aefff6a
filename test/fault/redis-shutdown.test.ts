import { expect, test } from 'vitest';
import { startRedis } from '../support/redis-server.ts';
import { rounds, signalOrdeal, sortedNotes } from '../support/signal-ordeal.ts';
import { Workplace } from '../support/workplace.ts';

test.each(['async', 'processes'] as const)(
  `${rounds} workers on Redis get SIGTERM at random moments with their process group, and tasks run once: nothing is lost, nothing runs twice, with the pool %s`,
  { timeout: 300_000 },
  async (pool) => {
    await using redis = await startRedis();
    await using place = new Workplace(redis.url);
    const trial = {
      task: 'tasks.napOnce',
      signal: 'SIGTERM',
      wholeGroup: () => true,
      ...(pool === 'processes' && { pool }),
    } as const;
    const { endings, ended } = await signalOrdeal(place, trial);
    expect(endings).toEqual(Array.from({ length: rounds }, () => 'ended 0'));
    expect(sortedNotes(place, 'end')).toEqual(ended);
    expect(sortedNotes(place, 'begin').length).toBe(ended.length);
  },
);

test(`${rounds} workers on Redis are killed at random moments: nothing is lost`, { timeout: 180_000 }, async () => {
  await using redis = await startRedis();
  await using place = new Workplace(`${redis.url}?leaseTimeout=1`);
  const half = (round: number) => round % 2 === 0;
  const { endings, ended } = await signalOrdeal(place, { task: 'tasks.nap', signal: 'SIGKILL', wholeGroup: half });
  expect(endings).toEqual(Array.from({ length: rounds }, () => undefined));
  expect(new Set(sortedNotes(place, 'end'))).toEqual(new Set(ended));
});
