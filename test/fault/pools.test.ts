import { describe, expect, test } from 'vitest';
import { childIds, residentBytesOf } from '../../src/util/memory.ts';
import { until, Workplace } from '../support/workplace.ts';

const timeout = { timeout: 60 };
const mib = 1024 ** 2;
/** A child that was left over has more than 10 MiB, and five are killed. */
const boundBytes = 55 * mib;

/** What a worker has with its children. */
const resident = (pid: number) => [pid, ...childIds(pid)].reduce((sum, one) => sum + residentBytesOf(one), 0);

describe.each(['threads', 'processes'] as const)('a worker whose tasks run in %s', (pool) => {
  const env = { TEST_APP: 'pools', TEST_POOL: pool, TEST_MAIN_POOL: pool, TEST_CONCURRENCY: '2' };

  test('kills endless loops at their hard limit while 1,000 other tasks go on: slots and memory are back afterwards', {
    timeout: 120_000,
  }, async () => {
    await using place = new Workplace();
    const worker = await place.worker(env);
    const pid = worker.pid ?? 0;
    const endless = () => place.app.sendTask('pool.forever');
    const killed = (loop: Awaited<ReturnType<typeof endless>>) =>
      expect(loop.get(timeout)).rejects.toThrow(/TimeLimitExceeded|time limit/i);
    const others = async (count: number) =>
      Promise.all(
        (
          await place.app.sendMany(
            'pool.effect',
            Array.from({ length: count }, (_, i) => [`${i}`]),
          )
        ).map((result) => result.get(timeout)),
      );
    const bothSlots = () =>
      until(async () => {
        const naps = await place.app.sendMany<string>('pool.nap', [[500], [500]]);
        return new Set(await Promise.all(naps.map((nap) => nap.get(timeout)))).size === 2;
      }, 30_000);
    // Once before it is measured, so that everything is loaded.
    await Promise.all([killed(await endless()), others(300)]);
    await bothSlots();
    const before = resident(pid);
    const rounds = Array.from({ length: 5 }, async () => {
      const loop = await endless();
      await Promise.all([killed(loop), others(200)]);
    });
    await Promise.all(rounds);
    expect(place.notes().filter((line) => line.startsWith('effect ')).length).toBe(1_300);
    await bothSlots();
    if (pool === 'processes') await until(() => childIds(pid).length === 2);
    await until(() => resident(pid) < before + boundBytes, 30_000);
    if (process.env.TEST_FIGURES)
      console.log(`${pool}: ${Math.round(before / mib)} MiB, then ${Math.round(resident(pid) / mib)} MiB`);
  });
});

test('the queue behind a task that always kills its process waits for none of its deliveries', {
  timeout: 120_000,
}, async () => {
  await using place = new Workplace('?visibilityTimeout=4');
  await place.worker({ TEST_APP: 'pools', TEST_POOL: 'processes', TEST_MAIN_POOL: 'processes', TEST_CONCURRENCY: '2' });
  const crash = await place.app.sendTask('pool.die', ['again']);
  const deaths = () => place.notes().filter((line) => line === 'died again').length;
  // It is delivered three times; each time a hundred tasks are behind it, and have ended before it comes again.
  for (const turn of [1, 2, 3]) {
    await until(() => deaths() === turn, 30_000);
    const behind = await place.app.sendMany(
      'pool.effect',
      Array.from({ length: 100 }, (_, i) => [`${turn}-${i}`]),
    );
    await Promise.all(behind.map((result) => result.get(timeout)));
    expect(deaths()).toBe(turn);
  }
  await expect(crash.get(timeout)).rejects.toThrow(/delivered 4 times/);
});
