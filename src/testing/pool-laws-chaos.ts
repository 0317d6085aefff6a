import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import type { Pool, PoolJob } from '../contracts/pool.ts';
import type { PoolRequest } from './pool-tasks.ts';
import type { PoolLaw, PoolWorld, TestPoolOptions } from './pool-world.ts';

/** Everything at once, in an order that is the same in each run. */
export const chaosLaws: readonly PoolLaw[] = (
  [
    ['', {}],
    [', with jobs sent ahead', { lookAhead: 2 }],
    [', with children of few tasks', { lookAhead: 1, maxTasksPerChild: 7 }],
  ] as const
).map(([what, options], seed) => ({
  name: `whatever comes in whatever order, each job ends once and all slots come back${what}`,
  needs: ({ features }) => seed === 0 || features.isolation !== 'none',
  check: (world) => chaos(world, options, seed + 1),
}));

async function chaos(world: PoolWorld, options: Partial<TestPoolOptions>, seed: number): Promise<void> {
  const random = randomNumbers(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const pool = await world.open({ slots: 3, ...options });
  const { kill, isolation } = world.features;
  const ids: string[] = [];
  const submit = () => {
    const id = String(ids.length);
    ids.push(id);
    return makeJob(id, random(), isolation);
  };
  while (ids.length < 200) {
    const dice = random();
    if (dice < 0.6) pool.submit(Array.from({ length: 1 + Math.floor(random() * 6) }, submit));
    else if (dice < 0.75) pool.cancel(pick(ids) ?? '', new RangeError('soft'));
    else if (dice < 0.85 && kill) pool.cancel(pick(ids) ?? '', new RangeError('hard'), 'hard');
    else if (dice < 0.9) pool.resize(1 + Math.floor(random() * 4));
    else await setTimeout(random() * 20);
    assertExact(pool, ids.length - world.ended.length);
  }
  await pool.drained();
  assert.deepEqual(
    world.ended.map(({ id }) => Number(id)).toSorted((a, b) => a - b),
    ids.map(Number),
  );
  world.assertIdle(pool);
}

function makeJob(id: string, dice: number, isolation: 'none' | 'heap' | 'process'): PoolJob<PoolRequest> {
  if (dice < 0.5) return { id, request: { do: 'return', value: id } };
  if (dice < 0.6) return { id, request: { do: 'wait', ms: 5 } };
  if (dice < 0.7) return { id, request: { do: 'wait' }, softTimeLimitMs: 10 };
  if (dice < 0.8) return { id, request: { do: 'ignore', ms: 30 }, timeLimitMs: 10 };
  if (dice < 0.94 || isolation === 'none') return { id, request: { do: 'throw', message: id } };
  if (dice < 0.96) return { id, request: { do: 'spin' }, timeLimitMs: 20 };
  if (dice < 0.98) return { id, request: { do: 'crash', message: id } };
  return { id, request: isolation === 'process' ? { do: 'kill' } : { do: 'exit', code: 1 } };
}

/** Outcomes are told at the end of a turn, so there may be fewer unfinished jobs than it seems, never more. */
function assertExact({ running, waiting, free, slots }: Pool<PoolRequest>, unfinished: number): void {
  assert.ok(running >= 0 && waiting >= 0 && running + waiting <= unfinished);
  assert.ok(free === 0 || free <= slots - running - waiting);
}

/** Numbers from 0 to 1, the same for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}
